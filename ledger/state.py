"""State: what the engine holds in memory, and nothing that is not in the journal.

Accounts with their four counters, the pending transfers that are still alive,
and the last timestamps. It can be dropped at any time and rebuilt by replay;
the normal start does just that.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from ledger.accounts import Accounts
from ledger.contract import SECOND_NS, AccountFlags, Transfer, TransferPendingStatus

CLOSED = int(AccountFlags.CLOSED)
"""The one account flag that changes after creation."""


@dataclass(slots=True)
class StoredTransfer:
    """A transfer that exists, and what became of it if it is a pending one."""

    transfer: Transfer
    status: TransferPendingStatus = TransferPendingStatus.NONE

    @property
    def expires_at(self) -> int:
        """When its reservation ends, in nanoseconds; 0 means never."""
        return self.transfer.timestamp + self.transfer.timeout * SECOND_NS if self.transfer.timeout else 0


@dataclass(slots=True)
class State:
    """Everything that decides the next event, apart from old transfers' ids."""

    accounts: Accounts = field(default_factory=Accounts)
    """Every account."""
    pendings: dict[int, StoredTransfer] = field(default_factory=dict)
    """Pending transfers that are neither posted, voided nor expired, by id."""
    expiries: list[tuple[int, int, int]] = field(default_factory=list)
    """Heap of (expires_at, timestamp, id); entries of resolved ones are skipped."""
    last_timestamp: int = 0
    """Highest timestamp ever given out; the next one is above it."""
    last_account_timestamp: int = 0
    """Highest timestamp of a stored account, imported or not."""
    last_transfer_timestamp: int = 0
    """Highest timestamp of a stored transfer, imported or not."""

    def add_pending(self, stored: StoredTransfer) -> None:
        """Hold a pending transfer, and remember when it expires."""
        transfer = stored.transfer
        self.pendings[transfer.id] = stored
        if transfer.timeout:
            heapq.heappush(self.expiries, (stored.expires_at, transfer.timestamp, transfer.id))

    def pop_due(self, now_ns: int) -> StoredTransfer | None:
        """The next live pending transfer whose time is over, in order of expiry."""
        while self.expiries and self.expiries[0][0] <= now_ns:
            _, timestamp, transfer_id = heapq.heappop(self.expiries)
            stored = self.pendings.get(transfer_id)
            if _is_live(stored, timestamp):
                return stored
        return None

    def next_expiry(self) -> int | None:
        """When the next live reservation ends, in nanoseconds; None when none will."""
        while self.expiries:
            expires_at, timestamp, transfer_id = self.expiries[0]
            if _is_live(self.pendings.get(transfer_id), timestamp):
                return expires_at
            heapq.heappop(self.expiries)
        return None

    def take_timestamp(self, now_ns: int, count: int) -> int:
        """The batch timestamp for ``count`` events: strictly above all before it."""
        self.last_timestamp = max(now_ns, self.last_timestamp + count)
        return self.last_timestamp


def _is_live(stored: StoredTransfer | None, timestamp: int) -> bool:
    # An id that was rolled back and created again has two entries in the heap;
    # only the one with the timestamp of the transfer that exists counts.
    return (
        stored is not None
        and stored.status == TransferPendingStatus.PENDING
        and stored.transfer.timestamp == timestamp
    )
