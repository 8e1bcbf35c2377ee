"""Storage of the queries: what they ask of the place where the journal is kept.

The reading side of ``ledger.storage``. PostgreSQL's is ``ledger.queries.sql_session``;
the simulator has one in memory. Histories, searches, statements and balances as of
a time know no other way to what is stored, and none of them says how it is found.

Whatever is asked for is sealed (or never changes): rows of the tail are in memory,
and are no business of a session. A range of timestamps has both its ends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.archived import Detached
from ledger.columns import TransferColumns
from ledger.contract import Transfer, TransferPendingStatus
from ledger.draft_rows import Counters
from ledger.history_marks import MarkPart
from ledger.queries.questions import TransferCriteria
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED


@dataclass(slots=True, frozen=True)
class SealedRange:
    """Where a sealed segment lies, and how much it holds."""

    number: int
    first_timestamp: int
    last_timestamp: int
    transfer_count: int


@dataclass(slots=True, frozen=True)
class Pointers:
    """Where the histories of a transfer's two accounts go on; 0 for nowhere."""

    debit_account: int
    debit_previous: int
    credit_previous: int

    def previous(self, slot: int) -> int:
        """For one of the two accounts."""
        return self.debit_previous if self.debit_account == slot else self.credit_previous


@dataclass(slots=True, frozen=True)
class Expiry:
    """A pending transfer's time was over: both accounts after its release."""

    timestamp: int
    pending_timestamp: int
    debit_after: Counters
    credit_after: Counters
    debit_account: int
    credit_account: int
    flags: int

    @property
    def sides(self) -> tuple[tuple[int, Counters, bool], tuple[int, Counters, bool]]:
        """Slot, counters and whether it is closed, of the debit and the credit account."""
        return (
            (self.debit_account, self.debit_after, bool(self.flags & DEBIT_CLOSED)),
            (self.credit_account, self.credit_after, bool(self.flags & CREDIT_CLOSED)),
        )


@dataclass(slots=True, frozen=True)
class WrittenBatch:
    """A batch that holds transfers."""

    sequence: int
    timestamp: int
    transfer_last: int
    """Timestamp of its last transfer."""


class ReadSession(Protocol):
    """A session that only reads; ``psycopg.OperationalError`` when it is lost."""

    async def transfers_at(self, timestamps: Sequence[int]) -> TransferColumns:
        """The sealed transfers of these timestamps, oldest first; others are left out."""

    async def transfers_by_id(self, ids: Collection[int]) -> list[Transfer]:
        """The sealed transfers with these ids."""

    async def transfers_between(
        self,
        low: int,
        high: int,
        any_of: Sequence[TransferCriteria],
        slots: Mapping[int, int],
        *,
        newest_first: bool,
        limit: int,
    ) -> TransferColumns:
        """The first sealed transfers of a range that an alternative may hold for, in order; all without any.

        ``slots`` has the accounts that the alternatives name. What has become of a
        pending transfer is not looked at: any that is one may be meant.
        """

    async def walk(self, slot: int, head: int, *, oldest: int, steps: int) -> TransferColumns:
        """An account's sealed transfers, newest first, along their pointers from the one at ``head``.

        Ends after so many steps, or with the first transfer whose predecessor is
        older than ``oldest``; empty where there is no transfer at ``head``.
        """

    async def pointers_at(self, timestamps: Collection[int]) -> dict[int, Pointers]:
        """Where the histories go on at the sealed transfers of these timestamps."""

    async def resolutions_of(self, pending_timestamps: Collection[int]) -> TransferColumns:
        """The sealed posts and voids of the pending transfers of these timestamps."""

    async def statuses_of(self, pending_timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """What expiries and sealed segments made of the pending transfers of these timestamps."""

    async def expired_at(self, pending_timestamps: Collection[int]) -> dict[int, int]:
        """When the time of the pending transfers of these timestamps was over, where it was."""

    async def expiries_between(
        self, low: int, high: int, *, slots: Collection[int] | None = None, limit: int | None = None
    ) -> list[Expiry]:
        """The first expiries of a range, in order; of all accounts or of those in these slots."""

    async def seals_between(self, low: int, high: int, limit: int | None = None) -> list[SealedRange]:
        """The first sealed segments that have a part of a range, oldest first; detached ones among them."""

    async def last_seal_from(self, timestamp: int) -> SealedRange | None:
        """The newest sealed segment that begins at a time or before it."""

    async def detached(self) -> list[Detached]:
        """The sealed segments whose rows are not there, oldest first."""

    async def id_filter(self, number: int) -> list[bytes]:
        """The pieces of a segment's id filter, in order."""

    async def id_filter_headers(self, number: int) -> list[bytes]:
        """The first ``HEADER_SIZE`` bytes of each of them: which ids it may hold."""

    async def marks(self, parts: Collection[int], first: int, last: int) -> list[MarkPart]:
        """These parts of the marks of the segments ``first`` to ``last``, newest segment first."""

    async def marks_of(self, slot: int, first: int, last: int) -> list[int]:
        """All marks of one account in the segments ``first`` to ``last``, oldest first."""

    async def slots_of(self, account_ids: Collection[int]) -> dict[int, int]:
        """The slots of the accounts that exist, by id."""

    async def newest_sequence(self) -> int:
        """Number of the newest batch, 0 when there is none."""

    async def batch_from(self, sequence: int) -> WrittenBatch | None:
        """The first batch with transfers from that number on."""

    async def first_hash(self) -> bytes | None:
        """The hash of the first batch; None when there is none."""
