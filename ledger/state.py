"""State: what the engine holds in memory, and nothing that is not in the journal.

Accounts with their four counters, the pending transfers that are still alive,
and the last timestamps. It can be dropped at any time and rebuilt by replay;
the normal start does just that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.accounts import Accounts
from ledger.contract import AccountFlags
from ledger.pendings import Pendings

CLOSED = int(AccountFlags.CLOSED)
"""The one account flag that changes after creation."""


@dataclass(slots=True)
class State:
    """Everything that decides the next event, apart from old transfers' ids."""

    accounts: Accounts = field(default_factory=Accounts)
    """Every account."""
    pendings: Pendings = field(default_factory=Pendings)
    """Pending transfers that are neither posted, voided nor expired, by id."""
    last_timestamp: int = 0
    """Highest timestamp ever given out; the next one is above it."""
    last_account_timestamp: int = 0
    """Highest timestamp of a stored account, imported or not."""
    last_transfer_timestamp: int = 0
    """Highest timestamp of a stored transfer, imported or not."""

    def take_timestamp(self, now_ns: int, count: int) -> int:
        """The batch timestamp for ``count`` events: strictly above all before it."""
        self.last_timestamp = max(now_ns, self.last_timestamp + count)
        return self.last_timestamp

    def flush(self) -> None:
        """Write what the exact function changed into the columns, before they are read."""
        self.accounts.flush()
        self.pendings.flush(self.accounts.index.get_one)
