"""Tenure: holding the lock, and with it everything that deciding needs.

Begins with the advisory lock and ends with the session that holds it. What is
loaded under the lock (state, tail, ids, head) is all that was ever acknowledged:
the lock is free only when the session that held it before has ended, and with it
any COMMIT it was working on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.archive import Head
from ledger.checkpoints import Checkpoint
from ledger.draft import Draft
from ledger.id_filter import IDFilter
from ledger.journal import Batch, seal
from ledger.recovery import Recovery
from ledger.sealing import Sealing
from ledger.segments import SEGMENT_ROWS
from ledger.state import State
from ledger.storage import JournalSession
from ledger.tail import Tail

CHECKPOINT_ACCOUNTS = 1
"""A checkpoint is due after so many transfers for each account, and never before a segment is full.

It costs some 40 bytes an account, a transfer some 200: so it is never more than a
fifth of what is written, and a start replays little more than the open segment.
"""


@dataclass(slots=True)
class Tenure:
    """One engine's time as the writer."""

    journal: JournalSession
    """Its session holds the lock and commits."""
    lookups: JournalSession
    """A second session, for looking up ids while the first one commits."""
    head: Head
    """The newest batch that is decided; the next one follows it."""
    state: State
    tail: Tail
    ids: IDFilter
    sealing: Sealing
    segment_rows: int
    segment: int
    """Where the next batch's transfers go."""
    rows_in_segment: int
    rows_since_checkpoint: int
    opens_segment: bool = False
    """Whether the next batch is the first of its segment."""

    @property
    def opens_next(self) -> bool:
        """Whether the next batch opens a segment, so that the one before can be sealed."""
        is_full = self.rows_in_segment >= self.segment_rows
        return self.opens_segment or (is_full and self.sealing.is_prepared(self.segment + 1))

    def open_segment_if_full(self) -> None:
        """Let the next batch open the next segment; called before anything of it is decided."""
        if self.opens_next and not self.opens_segment:
            self.segment += 1
            self.rows_in_segment = 0
            self.opens_segment = True
            self.ids.begin(self.segment, self.segment_rows)

    def seal_batch(self, draft: Draft) -> Batch:
        """Number and encode a decided draft; the next one follows it."""
        batch = seal(
            self.head,
            draft,
            self.state.last_timestamp,
            segment=self.segment,
            opens_segment=self.opens_segment,
        )  # fmt: skip
        self.head, self.opens_segment = batch.head, False
        self.rows_in_segment += batch.transfer_count
        self.rows_since_checkpoint += batch.transfer_count
        return batch

    def take_checkpoint(self, batch: Batch) -> Checkpoint | None:
        """A copy of the state after a batch that was just decided, when one is due."""
        due = max(self.segment_rows, CHECKPOINT_ACCOUNTS * self.state.accounts.stored)
        if not batch.opens_segment or self.rows_since_checkpoint < due:
            return None
        self.rows_since_checkpoint = 0
        return Checkpoint.of(self.state, batch.head.sequence, batch.head.timestamp)

    def close(self) -> None:
        """End all sessions, and with them the lock."""
        self.sealing.stop()
        self.journal.close()
        self.lookups.close()


def begin(
    open_session: Callable[[], JournalSession],
    start_sealing: Callable[[Tail, IDFilter], Sealing],
    wait: Callable[[], bool],
    segment_rows: int = SEGMENT_ROWS,
) -> Tenure | None:
    """Connect, take the lock, load; None when ``wait`` says to give up.

    ``wait`` is called between two asks for a lock that another engine holds.
    Raises ``psycopg.OperationalError`` when the database does not answer.
    """
    journal = open_session()
    try:
        while not journal.try_lock():
            if wait():
                journal.close()
                return None
        lookups = open_session()
    except BaseException:
        journal.close()
        raise
    try:
        head = journal.archive.head()
        # What is read later, such as a stored piece of the id filter, goes through
        # the second session, which is never in the middle of a commit. The first has
        # nothing to do yet: it reads the tail meanwhile.
        loaded = Recovery(lookups.archive, head, segment_rows, beside=journal.archive).load()
        open_segment = loaded.tail.open
        loaded.ids.begin(open_segment.number, segment_rows)
        return Tenure(
            journal, lookups, head, loaded.state, loaded.tail, loaded.ids,
            start_sealing(loaded.tail, loaded.ids), segment_rows,
            open_segment.number, len(open_segment), loaded.rows_replayed,
        )  # fmt: skip
    except BaseException:
        journal.close()
        lookups.close()
        raise
