"""Archived transfers: what is known of detached segments, and their rows from the files.

A detached segment keeps its seal, its id filter and its marks in the database; its
rows are in a file. So the journal still knows which ids it may hold, and a question
that needs one of its rows is answered from the file where the process has the
directory, and refused with ``SegmentArchived`` where it has not; never answered as
if the rows had not been. Detached are always the oldest segments, and only while
no engine holds the lock: what a session reads here once stays so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from foundation.errors import NUGPayError
from ledger.columns import TransferColumns
from ledger.connection import Connection
from ledger.contract import BATCH_MAX, Transfer, TransferFlags, TransferPendingStatus
from ledger.id_filter import HEADER_SIZE, IDFilter, stored_key, stored_range
from ledger.interface import SegmentArchived
from ledger.sealed_rows import resolution_of
from ledger.stored_transfer import StoredTransfer
from ledger.transfer_views import transfer_at

_PENDING = int(TransferFlags.PENDING)
_MASK64 = 2**64 - 1

FOUND_KEPT = 4 * BATCH_MAX
"""So many transfers that were found in files are remembered: deciding a request asks several times."""

SELECT_DETACHED = (
    "SELECT a.number, s.first_timestamp, s.last_timestamp, a.file_sha256, a.rows_sha256, a.event = 'dropped'"
    " FROM (SELECT DISTINCT ON (number) * FROM ledger_archive ORDER BY number, entry DESC) a"
    " JOIN ledger_seal s USING (number) WHERE a.event <> 'attached' ORDER BY a.number"
)
"""What :meth:`Detached.of` reads."""


@dataclass(slots=True, frozen=True)
class Detached:
    """A segment whose rows are not among the sealed ones."""

    number: int
    first_timestamp: int
    last_timestamp: int
    file_sha256: str
    rows_sha256: str
    is_dropped: bool
    """Whether only the file has its rows."""

    @classmethod
    def of(cls, row: Any) -> Detached:
        """From a row of ``SELECT_DETACHED``."""
        return cls(row[0], row[1], row[2], bytes(row[3]).hex(), bytes(row[4]).hex(), row[5])


def load_detached(connection: Connection) -> list[Detached]:
    """All detached segments, oldest first."""
    return [Detached.of(row) for row in connection.execute(SELECT_DETACHED).fetchall()]


def overlapping(detached: Iterable[Detached], low: int, high: int) -> Detached | None:
    """The newest of them that has a part of a range of timestamps."""
    for segment in sorted(detached, key=lambda segment: -segment.number):
        if segment.first_timestamp <= high and segment.last_timestamp >= low:
            return segment
    return None


class SegmentFinder(Protocol):
    """Finds rows in the files of archived segments; see ``ledger.parquet.segment_finder``."""

    def find(self, segment: Detached, column: str, values: Collection[int]) -> TransferColumns:
        """The rows whose column has one of these values; ``NUGPayError`` where the file is not right."""


def find_rows(
    files: SegmentFinder | None, segment: Detached, column: str, values: Collection[int]
) -> TransferColumns:
    """Rows of a detached segment; ``SegmentArchived`` where there is no file to look at."""
    if files is None:
        raise SegmentArchived(segment.number)
    try:
        return files.find(segment, column, values)
    except NUGPayError as error:
        raise SegmentArchived(segment.number, f"and its file is of no use: {error}") from error


SELECT_FILTER_HEADERS = (
    f"SELECT substring(data FOR {HEADER_SIZE}) FROM ledger_id_filter WHERE number = %s ORDER BY part"
)
SELECT_FILTER = "SELECT data FROM ledger_id_filter WHERE number = %s ORDER BY part"
"""What a :class:`DetachedFilter` is made of."""


class DetachedFilter:
    """Says which ids a detached segment may have.

    Made of its headers; the pieces themselves, eight bytes for each of the segment's
    ids, are needed once an id falls into their range, which time-ordered ones do not.
    """

    def __init__(self, headers: Collection[bytes]) -> None:
        self._ranges = [stored_range(header) for header in headers]
        self._filter: IDFilter | None = None

    def needs_pieces(self, ids: Collection[int]) -> bool:
        """Whether these ids can be judged only when the pieces are there."""
        return self._filter is None and bool(self._near(ids))

    def load(self, pieces: Collection[bytes]) -> None:
        """Take the pieces."""
        self._filter = IDFilter(stored_key(next(iter(pieces)))) if pieces else None
        for piece in pieces:
            assert self._filter is not None
            self._filter.add_stored(piece[:HEADER_SIZE], partial(bytes, piece))

    def _near(self, ids: Collection[int]) -> list[int]:
        """The ids in the range of a piece; without any piece all of them."""
        if not self._ranges:
            return list(ids)
        return [i for i in ids if any(low <= i >> 64 <= high for low, high in self._ranges)]

    def suspects(self, ids: Collection[int]) -> list[int]:
        """The ids that the segment may have; without a stored filter all of them."""
        listed = self._near(ids)
        if self._filter is None or not listed:
            return listed
        low = np.array([i & _MASK64 for i in listed], np.uint64)
        high = np.array([i >> 64 for i in listed], np.uint64)
        return [listed[n] for n in np.flatnonzero(self._filter.may_contain(low, high))]


def transfers_of(columns: TransferColumns, accounts: dict[int, int]) -> list[Transfer]:
    """Rows in the contract's numbers; ``accounts`` has the ids of their slots."""
    slots = np.array(sorted(accounts), np.int64)
    ids = np.array([[accounts[s] & _MASK64, accounts[s] >> 64] for s in slots.tolist()], np.uint64)
    arrays = dict(columns.arrays)
    for side in ("debit_account", "credit_account"):
        arrays[side] = np.searchsorted(slots, arrays[side])
    placed = TransferColumns(len(columns), arrays)
    return [transfer_at(placed, index, ids) for index in range(len(columns))]


def slots_in(columns: TransferColumns) -> list[int]:
    """The slots of the accounts that these rows name."""
    both = np.concatenate([columns["debit_account"], columns["credit_account"]])
    slots: list[int] = np.unique(both).tolist()
    return slots


class ArchivedTransfers:
    """Single transfers of detached segments, for a session of the engine."""

    def __init__(self, connection: Connection, files: SegmentFinder | None) -> None:
        self._connection = connection
        self._files = files
        self._filters: dict[int, DetachedFilter] = {}
        self._found: dict[int, Transfer] = {}

    @cached_property
    def segments(self) -> list[Detached]:
        """The detached segments, as of the first time that somebody asked."""
        return load_detached(self._connection)

    def find_transfers(self, ids: Collection[int]) -> list[StoredTransfer]:
        """The transfers with these ids; a pending one shows as such."""
        found = {i: self._found[i] for i in ids if i in self._found}
        missing = set(ids) - found.keys()
        for segment in self.segments:
            suspects = self._filter_of(segment.number, missing).suspects(missing)
            if suspects:
                rows = find_rows(self._files, segment, "id", suspects)
                found |= {t.id: t for t in transfers_of(rows, self._accounts(slots_in(rows)))}
                missing -= found.keys()
        self._found |= found
        if len(self._found) > FOUND_KEPT:
            self._found = found
        return [StoredTransfer(t, _status(t.flags)) for t in found.values()]

    def find_statuses(self, timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """What became of pending transfers that nothing younger has resolved."""
        missing, found = set(timestamps), dict[int, TransferPendingStatus]()
        for segment in self.segments:
            # A post or void is younger than its pending transfer.
            wanted = [t for t in missing if t < segment.last_timestamp]
            if wanted:
                rows = find_rows(self._files, segment, "pending_timestamp", wanted)
                pending, flags = rows["pending_timestamp"].tolist(), rows["flags"].tolist()
                found |= {t: resolution_of(flag) for t, flag in zip(pending, flags, strict=True)}
                missing -= found.keys()
        return found

    def find_timestamps(self, timestamps: Collection[int]) -> set[int]:
        """Which of these are timestamps of transfers."""
        found: set[int] = set()
        for segment in self.segments:
            wanted = [t for t in timestamps if segment.first_timestamp <= t <= segment.last_timestamp]
            if wanted:
                found |= set(find_rows(self._files, segment, "timestamp", wanted)["timestamp"].tolist())
        return found

    def _filter_of(self, number: int, ids: Collection[int]) -> DetachedFilter:
        """The filter of a segment, with what it needs to judge these ids."""
        if number not in self._filters:
            self._filters[number] = DetachedFilter(self._bytes(SELECT_FILTER_HEADERS, number))
        if self._filters[number].needs_pieces(ids):
            self._filters[number].load(self._bytes(SELECT_FILTER, number))
        return self._filters[number]

    def _bytes(self, statement: str, number: int) -> list[bytes]:
        rows: Any = self._connection.execute(statement, (number,), binary=True).fetchall()
        return [bytes(row[0]) for row in rows]

    def _accounts(self, slots: list[int]) -> dict[int, int]:
        rows: Any = self._connection.execute(
            "SELECT slot, id FROM ledger_account WHERE slot = ANY(%s)", (slots,), binary=True
        ).fetchall()
        return {row[0]: row[1].int for row in rows}


def _status(flags: int) -> TransferPendingStatus:
    return TransferPendingStatus.PENDING if flags & _PENDING else TransferPendingStatus.NONE
