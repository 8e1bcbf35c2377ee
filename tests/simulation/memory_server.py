"""Memory server: a database server that exists in memory, and holds what PostgreSQL would.

Batches in their canonical bytes, segments and their seals, pieces of the id filter,
the checkpoint, and who holds the lock. A session that was cut may linger: until the
server has noticed, it keeps the lock and may still finish the commit it was sent.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psycopg

from ledger.archive import Head
from ledger.columns import TransferColumns
from ledger.contract import TransferPendingStatus
from ledger.history_marks import MarkPart
from ledger.journal import Batch
from ledger.segments import Seal, Segment
from ledger.stored_transfer import StoredTransfer
from ledger.tail import rows_between
from ledger.transfer_views import transfer_at
from tests.simulation.faults import Faults
from tests.simulation.journal_rows import (
    accounts_from,
    columns_of,
    expiries_from,
    failed_from,
    marks_from,
)

if TYPE_CHECKING:
    from tests.simulation.memory_session import MemorySession

PENDING, VOID = 2, 8


class Violation(AssertionError):
    """The engine did what it must never do."""


@dataclass
class StoredSegment:
    """One table of transfers."""

    number: int
    first_sequence: int
    parts: list[TransferColumns] = field(default_factory=list)
    """Decoded from each batch's bytes."""
    seal: Seal | None = None
    rows: TransferColumns = field(default_factory=TransferColumns.empty)
    """All of them, once sealed."""
    marks: list[MarkPart] = field(default_factory=list)
    """Of its accounts' histories."""

    def as_segment(self) -> Segment:
        """As the catalog shows it."""
        return Segment(self.number, self.first_sequence, self.seal)

    @cached_property
    def as_tuples(self) -> list[tuple[int, ...]]:
        """A sealed segment's rows as the contract's numbers."""
        lists = columns_of(self.rows)
        return list(zip(*(column or repeat(0, len(self.rows)) for column in lists), strict=True))

    def rows_between(self, low: int, high: int) -> range:
        """Numbers of the rows of a time, both ends included."""
        start, stop = rows_between(self.rows["timestamp"], low, high)
        return range(start, stop)


Place = tuple[StoredSegment, int]
"""Where a sealed row is: segment, and number in it."""


class KnownIDs:
    """Every id that was ever stored, of transfers and failed ones, as (low, high) pairs."""

    def __init__(self) -> None:
        self._pairs = np.zeros((1024, 2), np.uint64)
        self._count = 0

    @property
    def pairs(self) -> npt.NDArray[np.uint64]:
        """All of them, in the order in which they came."""
        return self._pairs[: self._count]

    def add(self, pairs: npt.NDArray[np.uint64]) -> None:
        """Remember these too."""
        end = self._count + len(pairs)
        if end > len(self._pairs):
            self._pairs = np.concatenate([self.pairs, np.zeros((end, 2), np.uint64)])
        self._pairs[self._count : end] = pairs
        self._count = end


class MemoryServer:
    """What all sessions share."""

    def __init__(self, random: Random, faults: Faults, stored: Callable[[Batch], TransferColumns]) -> None:
        self.faults = faults
        self.lock: MemorySession | None = None
        self.heads: list[Head] = []
        self.batch_rows: list[tuple[int, int, int]] = []
        """Sequence, timestamp and last transfer of each batch."""
        self.accounts: list[tuple[Any, ...]] = []
        self.account_ids = np.zeros((0, 2), np.uint64)
        self.slots: dict[int, int] = {}
        """By account id."""
        self.expiries: list[tuple[int, ...]] = []
        self.expired: dict[int, int] = {}
        """When each pending transfer's time was over, by its timestamp."""
        self.failed: dict[int, int] = {}
        self.ids = KnownIDs()
        self.segments: list[StoredSegment] = [StoredSegment(1, 1)]
        self.by_id: dict[int, Place] = {}
        """Sealed rows, as the indexes of their tables would find them."""
        self.by_timestamp: dict[int, Place] = {}
        self.resolved: dict[int, Place] = {}
        """Posts and voids by their pending transfers' timestamps."""
        self.prepared = 1
        """Highest number of a table that exists."""
        self.indexed: set[int] = set()
        self.id_filters: dict[tuple[int, int], bytes] = {}
        self.checkpoint: tuple[int, bytes] | None = None
        self._random = random
        self._stored = stored
        self._lingering: list[MemorySession] = []

    @property
    def head(self) -> Head:
        """The newest batch."""
        return self.heads[-1] if self.heads else Head()

    def end(self, session: MemorySession, *, linger: bool) -> None:
        """A session is over for its client; for the server perhaps later."""
        if session.has_ended:
            return
        session.has_ended = True
        if linger or session.late is not None:
            self._lingering.append(session)
        elif self.lock is session:
            self.lock = None

    def notice(self) -> None:
        """The server notices that sessions are gone, and ends what they were doing."""
        for session in self._lingering:
            if session.late is not None:
                is_stored = self._random.random() < 0.5
                self.faults.note(f"append.late:{'stored' if is_stored else 'lost'}")
                if is_stored:
                    self.store(session, session.late)
                session.late = None
            if self.lock is session:
                self.lock = None
        self._lingering = []

    def store(self, session: MemorySession, batch: Batch) -> None:
        """The commit: from here on the batch is durable."""
        if self.lock is not session:
            raise Violation(f"batch {batch.head.sequence} was sent without the lock")
        if batch.head.sequence != len(self.heads) + 1:
            raise psycopg.errors.UniqueViolation(f"batch {batch.head.sequence} is there")
        self._check_hash(batch)
        if batch.opens_segment:
            if batch.segment > self.prepared:
                raise Violation(f"there is no table for segment {batch.segment}")
            self.segments.append(StoredSegment(batch.segment, batch.head.sequence))
        if batch.segment != self.segments[-1].number:
            raise Violation(f"segment {batch.segment} is not the open one")
        columns = self._stored(batch)
        if len(columns):
            self.segments[-1].parts.append(columns)
            self.ids.add(columns["id"])
        self._keep_accounts(batch)
        self.expiries += expiries_from(batch.expiries)
        self.expired.update((row[1], row[0]) for row in self.expiries[len(self.expired) :])
        failed = failed_from(batch.failed)
        if failed:
            self.failed.update(failed)
            self.ids.add(np.array([(i & 2**64 - 1, i >> 64) for i, _ in failed], np.uint64))
        self.heads.append(batch.head)
        self.batch_rows.append((batch.head.sequence, batch.head.timestamp, batch.transfer_last or 0))

    def _keep_accounts(self, batch: Batch) -> None:
        new = accounts_from(batch.accounts)
        if new:
            self.accounts += new
            self.slots.update((row[1], row[0]) for row in new)
            ids = np.array([(row[1] & 2**64 - 1, row[1] >> 64) for row in new], np.uint64)
            self.account_ids = np.concatenate([self.account_ids, ids])

    def _check_hash(self, batch: Batch) -> None:
        numbers = struct.pack(
            "!qqqqiiii", batch.head.sequence, batch.head.timestamp, batch.transfer_first or 0,
            batch.transfer_last or 0, batch.account_count, batch.transfer_count, batch.expiry_count,
            batch.failed_count,
        )  # fmt: skip
        rows = batch.accounts + batch.expiries + batch.transfers + batch.failed
        if hashlib.sha256(self.head.hash + numbers + rows).digest() != batch.head.hash:
            raise Violation(f"batch {batch.head.sequence} does not have the hash of what is in it")

    def attach(self, number: int, seal: Seal, id_filter: list[bytes], marks: bytes) -> None:
        """Seal a segment: all or nothing. Twice is an error, as PostgreSQL's is."""
        segment = self.segments[number - 1]
        if segment.seal is not None:
            raise psycopg.errors.WrongObjectType(f"segment {number} is already a partition")
        if number not in self.indexed:
            raise Violation(f"segment {number} is sealed without its indexes")
        rows = TransferColumns.join(segment.parts)
        timestamps = rows["timestamp"].tolist()
        counted = (timestamps[0], timestamps[-1], len(rows))
        if (seal.first_timestamp, seal.last_timestamp, seal.transfer_count) != counted:
            raise Violation(f"segment {number} holds {counted}, its seal says {seal}")
        following = self.segments[number].first_sequence if number < len(self.segments) else None
        if following is None or seal.last_sequence != following - 1:
            raise Violation(f"segment {number} ends before batch {following}, its seal says {seal}")
        segment.rows = rows
        self._index(segment, timestamps)
        for part, data in enumerate(id_filter):
            self.id_filters[number, part] = data
        segment.marks = marks_from(marks)
        segment.seal = seal

    def _index(self, segment: StoredSegment, timestamps: list[int]) -> None:
        rows = segment.rows
        before = len(self.by_id), len(self.by_timestamp)
        for number, (low, high) in enumerate(rows["id"].tolist()):
            self.by_id[high << 64 | low] = segment, number
        for number, timestamp in enumerate(timestamps):
            self.by_timestamp[timestamp] = segment, number
        if (len(self.by_id), len(self.by_timestamp)) != tuple(count + len(rows) for count in before):
            raise Violation(f"segment {segment.number} holds an id or a timestamp twice")
        for number, timestamp in enumerate(rows["pending_timestamp"].tolist()):
            if timestamp:
                self.resolved[timestamp] = segment, number

    def sealed(self) -> list[StoredSegment]:
        """Sealed segments."""
        return [segment for segment in self.segments if segment.seal is not None]

    def find_transfers(self, ids: Collection[int]) -> list[StoredTransfer]:
        """Transfers of sealed segments."""
        found = []
        for segment, row in (self.by_id[i] for i in ids if i in self.by_id):
            transfer = transfer_at(segment.rows, row, self.account_ids)
            is_pending = transfer.flags & PENDING
            status = TransferPendingStatus.PENDING if is_pending else TransferPendingStatus.NONE
            found.append(StoredTransfer(transfer, status))
        return found

    def find_statuses(self, timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """What expiries and sealed segments made of pending transfers."""
        found = {}
        for timestamp in timestamps:
            if timestamp in self.resolved:
                segment, row = self.resolved[timestamp]
                is_void = int(segment.rows["flags"][row]) & VOID
                found[timestamp] = TransferPendingStatus.VOIDED if is_void else TransferPendingStatus.POSTED
        return found | {t: TransferPendingStatus.EXPIRED for t in timestamps if t in self.expired}
