"""Tenure: holding the lock, and with it everything that deciding needs.

Begins with the advisory lock and ends with the session that holds it. What is
loaded under the lock (state, ids, head) is all that was ever acknowledged: the
lock is free only when the session that held it before has ended, and with it
any COMMIT it was working on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.id_filter import IDFilter
from ledger.journal import Head, Journal
from ledger.recovery import load_head, load_ids, load_state
from ledger.state import State


@dataclass(slots=True)
class Tenure:
    """One engine's time as the writer."""

    journal: Journal
    """Its session holds the lock and commits."""
    lookups: Journal
    """A second session, for looking up ids while the first one commits."""
    head: Head
    """The newest batch that is decided; the next one follows it."""
    state: State
    ids: IDFilter

    def close(self) -> None:
        """End both sessions, and with them the lock."""
        self.journal.close()
        self.lookups.close()


def begin(url: str, open_journal: Callable[[str], Journal], wait: Callable[[], bool]) -> Tenure | None:
    """Connect, take the lock, load; None when ``wait`` says to give up.

    ``wait`` is called between two asks for a lock that another engine holds.
    Raises ``psycopg.OperationalError`` when the database does not answer.
    """
    journal = open_journal(url)
    try:
        while not journal.try_lock():
            if wait():
                journal.close()
                return None
        head = load_head(journal.connection)
        state = load_state(journal.connection, head)
        ids = load_ids(journal.connection)
        return Tenure(journal, Journal.open(url), head, state, ids)
    except BaseException:
        journal.close()
        raise
