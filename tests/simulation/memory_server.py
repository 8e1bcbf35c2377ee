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
from itertools import repeat
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg

from ledger.archive import Head
from ledger.columns import TransferColumns
from ledger.contract import TransferPendingStatus
from ledger.journal import Batch
from ledger.segments import Seal, Segment
from ledger.stored_transfer import StoredTransfer
from ledger.transfer_views import transfer_at
from tests.simulation.faults import Faults
from tests.simulation.journal_rows import (
    accounts_from,
    columns_of,
    expiries_from,
    failed_from,
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
    by_id: dict[int, int] = field(default_factory=dict)
    by_timestamp: dict[int, int] = field(default_factory=dict)
    as_tuples: list[tuple[int, ...]] = field(default_factory=list)
    resolved: dict[int, int] = field(default_factory=dict)
    """Row of the post or void by its pending transfer's timestamp."""

    def as_segment(self) -> Segment:
        """As the catalog shows it."""
        return Segment(self.number, self.first_sequence, self.seal)


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
        self.expiries: list[tuple[int, ...]] = []
        self.expired: set[int] = set()
        self.failed: dict[int, int] = {}
        self.segments: list[StoredSegment] = [StoredSegment(1, 1)]
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
        self._keep_accounts(batch)
        self.expiries += expiries_from(batch.expiries)
        self.expired.update(row[1] for row in self.expiries[len(self.expired) :])
        self.failed.update(failed_from(batch.failed))
        self.heads.append(batch.head)
        self.batch_rows.append((batch.head.sequence, batch.head.timestamp, batch.transfer_last or 0))

    def _keep_accounts(self, batch: Batch) -> None:
        new = accounts_from(batch.accounts)
        if new:
            self.accounts += new
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

    def attach(self, number: int, seal: Seal, id_filter: list[bytes]) -> None:
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
        lists = columns_of(rows)
        segment.as_tuples = list(zip(*(column or repeat(0, len(rows)) for column in lists), strict=True))
        segment.by_id = {high << 64 | low: n for n, (low, high) in enumerate(rows["id"].tolist())}
        segment.by_timestamp = {timestamp: n for n, timestamp in enumerate(timestamps)}
        if len(segment.by_id) != len(rows):
            raise Violation(f"segment {number} holds an id twice")
        resolves = rows["pending_timestamp"].tolist()
        segment.resolved = {timestamp: n for n, timestamp in enumerate(resolves) if timestamp}
        for part, data in enumerate(id_filter):
            self.id_filters[number, part] = data
        segment.seal = seal

    def sealed(self) -> list[StoredSegment]:
        """Sealed segments."""
        return [segment for segment in self.segments if segment.seal is not None]

    def find_transfers(self, ids: Collection[int]) -> list[StoredTransfer]:
        """Transfers of sealed segments."""
        found = []
        for segment in self.sealed():
            for transfer_id in ids:
                row = segment.by_id.get(transfer_id)
                if row is not None:
                    transfer = transfer_at(segment.rows, row, self.account_ids)
                    is_pending = transfer.flags & PENDING
                    status = TransferPendingStatus.PENDING if is_pending else TransferPendingStatus.NONE
                    found.append(StoredTransfer(transfer, status))
        return found

    def find_statuses(self, timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """What expiries and sealed segments made of pending transfers."""
        found = {}
        for segment in self.sealed():
            for timestamp in timestamps:
                row = segment.resolved.get(timestamp)
                if row is not None:
                    is_void = int(segment.rows["flags"][row]) & VOID
                    found[timestamp] = (
                        TransferPendingStatus.VOIDED if is_void else TransferPendingStatus.POSTED
                    )
        return found | {t: TransferPendingStatus.EXPIRED for t in timestamps if t in self.expired}
