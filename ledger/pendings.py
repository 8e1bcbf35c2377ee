"""Pendings: the pending transfers that are still alive, as columns and as objects.

A vectorised step adds and resolves thousands at once, in columns; the exact
function works on one object at a time. A live pending transfer is in one of the
two: an object that was asked for leaves the columns, and ``flush`` brings all
objects back into them before the next vectorised step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.columns import TransferColumns
from ledger.contract import SECOND_NS, Transfer, TransferPendingStatus
from ledger.expiry_queue import ExpiryQueue
from ledger.rows import CONTRACT_FLAGS
from ledger.slot_map import ABSENT, SlotMap
from ledger.stored_transfer import StoredTransfer

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

COMPACT_MIN = 65_536
"""Fewer dead rows are not worth moving the live ones."""

_MASK64 = 2**64 - 1

_COLUMNS: tuple[tuple[str, type[np.generic], int], ...] = (
    ("id", np.uint64, 2),
    ("debit_account_id", np.uint64, 2),
    ("credit_account_id", np.uint64, 2),
    ("user_data_128", np.uint64, 2),
    ("amount", np.int64, 1),
    ("timestamp", np.int64, 1),
    ("user_data_64", np.uint64, 1),
    ("debit_account", np.int32, 1),
    ("credit_account", np.int32, 1),
    ("user_data_32", np.uint32, 1),
    ("timeout", np.uint32, 1),
    ("ledger", np.uint32, 1),
    ("code", np.uint16, 1),
    ("flags", np.uint16, 1),
)
"""Name, type and width; ``debit_account`` and ``credit_account`` are slots."""
_COLUMN_KINDS = {name: kind for name, kind, _ in _COLUMNS}


class Pendings:
    """Live pending transfers by id; iterates over the ids of those that exist."""

    def __init__(self) -> None:
        self.expiries = ExpiryQueue()
        self._objects: dict[int, StoredTransfer] = {}
        self._index = SlotMap(self, _ids_of)
        self._rows = 0
        self._live = 0
        """Rows of the columns that are alive."""
        self._alive = np.zeros(0, bool)
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._grow(1024)

    def __len__(self) -> int:
        return self._live + len(self._objects)

    def __contains__(self, transfer_id: int) -> bool:
        return transfer_id in self._objects or self._row_of(transfer_id) != ABSENT

    def __iter__(self) -> Iterator[int]:
        yield from self._objects
        for row in np.flatnonzero(self._alive[: self._rows]).tolist():
            low, high = self._columns["id"][row].tolist()
            yield high << 64 | low

    def get(self, transfer_id: int) -> StoredTransfer | None:
        """The live pending transfer with this id, as an object that may be changed."""
        stored = self._objects.get(transfer_id)
        if stored is not None or not self._live:
            return stored
        row = self._row_of(transfer_id)
        if row == ABSENT:
            return None
        stored = StoredTransfer(self._transfer(row), TransferPendingStatus.PENDING)
        self._alive[row] = False
        self._live -= 1
        self._objects[transfer_id] = stored
        return stored

    def add(self, stored: StoredTransfer) -> None:
        """Hold a pending transfer, and remember when it expires."""
        self._objects[stored.transfer.id] = stored
        if stored.transfer.timeout:
            self.expiries.add(stored.expires_at, stored.transfer.timestamp, stored.transfer.id)

    def restore(self, stored: StoredTransfer) -> None:
        """Hold one again whose resolution is taken back; its expiry is still remembered."""
        self._objects[stored.transfer.id] = stored

    def remove(self, transfer_id: int) -> None:
        """Let go of one that is resolved or taken back; one that is not there does no harm."""
        if self._objects.pop(transfer_id, None) is None:
            row = self._row_of(transfer_id)
            if row != ABSENT:
                self._alive[row] = False
                self._live -= 1

    def is_live(self, transfer_id: int, timestamp: int) -> bool:
        """Whether this very pending transfer is alive.

        An id that was rolled back and created again has another timestamp.
        """
        stored = self._objects.get(transfer_id)
        if stored is not None:
            return stored.transfer.timestamp == timestamp
        row = self._row_of(transfer_id)
        return row != ABSENT and int(self._columns["timestamp"][row]) == timestamp

    def pop_due(self, now_ns: int) -> StoredTransfer | None:
        """The next live one whose time is over, in order of expiry."""
        while (due := self.expiries.pop_due(now_ns)) is not None:
            timestamp, transfer_id = due
            if self.is_live(transfer_id, timestamp):
                return self.get(transfer_id)
        return None

    def next_expiry(self) -> int | None:
        """When the next live reservation ends, in nanoseconds; None when none will."""
        while (first := self.expiries.peek()) is not None:
            expires_at, timestamp, transfer_id = first
            if self.is_live(transfer_id, timestamp):
                return expires_at
            self.expiries.pop_due(expires_at)
        return None

    def flush(self, slot_of: Any) -> None:
        """Bring all objects into the columns; ``slot_of`` gives an account id's slot."""
        if not self._objects:
            return
        transfers = [stored.transfer for stored in self._objects.values()]
        columns: dict[str, npt.NDArray[Any]] = {}
        for name, kind, width in _COLUMNS:
            if name in ("debit_account", "credit_account"):
                values = [slot_of(getattr(t, f"{name}_id")) for t in transfers]
            else:
                values = [getattr(t, name) for t in transfers]
            columns[name] = _pairs(values) if width == 2 else np.array(values, kind)
        self._objects = {}
        self._append(len(transfers), columns)

    def add_columns(self, count: int, columns: dict[str, npt.NDArray[Any]]) -> None:
        """Hold many at once, none of which was held before, and remember when they expire."""
        self._append(count, columns)
        timed = np.flatnonzero(columns["timeout"])
        if len(timed):
            timestamps = columns["timestamp"][timed]
            expires_at = timestamps + columns["timeout"][timed].astype(np.int64) * SECOND_NS
            self.expiries.add_many(expires_at, timestamps, columns["id"][timed])

    def find(self, low: U64, high: U64) -> I64:
        """Rows of the live ones with these ids, ``ABSENT`` elsewhere; after ``flush``."""
        rows = self._index.get(low, high).astype(np.int64)
        rows[(rows != ABSENT) & ~self._alive[rows]] = ABSENT
        return rows

    def values(self, name: str) -> npt.NDArray[Any]:
        """A column, by row; longer than the rows that are there."""
        return self._columns[name]

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The live ones, as :meth:`add_columns` takes them; after ``flush``."""
        live = np.flatnonzero(self._alive[: self._rows])
        return {name: values[live] for name, values in self._columns.items()}

    def resolve(self, rows: I64) -> None:
        """Let go of these rows: they are posted or voided."""
        self._alive[rows] = False
        self._live -= len(rows)

    @property
    def nbytes(self) -> int:
        """Memory of columns and index."""
        return sum(values.nbytes for values in self._columns.values()) + self._index.nbytes

    def _row_of(self, transfer_id: int) -> int:
        row = self._index.get_one(transfer_id)
        return row if row != ABSENT and self._alive[row] else ABSENT

    def _append(self, count: int, columns: dict[str, npt.NDArray[Any]]) -> None:
        if self._rows + count > len(self._alive):
            self._make_room(count)
        low = np.ascontiguousarray(columns["id"][:, 0])
        high = np.ascontiguousarray(columns["id"][:, 1])
        # An id comes back when its object does, or when the chain that created it
        # first was rolled back: it takes its old row.
        rows = self._index.get(low, high).astype(np.int64)
        fresh = np.flatnonzero(rows == ABSENT)
        rows[fresh] = np.arange(self._rows, self._rows + len(fresh))
        for name, values in columns.items():
            self._columns[name][rows] = values
        self._index.insert(low[fresh], high[fresh], rows[fresh].astype(np.int32))
        self._alive[rows] = True
        self._rows += len(fresh)
        self._live += count

    def _make_room(self, count: int) -> None:
        if self._rows - self._live >= max(COMPACT_MIN, self._live):
            self._compact()
        if self._rows + count > len(self._alive):
            self._grow(2 * (self._rows + count))

    def _compact(self) -> None:
        live = np.flatnonzero(self._alive[: self._rows])
        for values in self._columns.values():
            values[: len(live)] = values[live]
        self._rows = len(live)
        self._alive[:] = False
        self._alive[: self._rows] = True
        self._index = SlotMap(self, _ids_of, max(1024, self._rows))
        ids = self._columns["id"][: self._rows]
        low, high = np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1])
        self._index.insert(low, high, np.arange(self._rows, dtype=np.int32))

    def _grow(self, capacity: int) -> None:
        for name, kind, width in _COLUMNS:
            grown = np.zeros((capacity, width) if width > 1 else capacity, kind)
            if self._rows:
                grown[: self._rows] = self._columns[name][: self._rows]
            self._columns[name] = grown
        alive = np.zeros(capacity, bool)
        alive[: self._rows] = self._alive[: self._rows]
        self._alive = alive

    def _transfer(self, row: int) -> Transfer:
        columns = self._columns

        def wide(name: str) -> int:
            low, high = columns[name][row].tolist()
            return int(high) << 64 | int(low)

        return Transfer(
            wide("id"), wide("debit_account_id"), wide("credit_account_id"), int(columns["amount"][row]), 0,
            wide("user_data_128"), int(columns["user_data_64"][row]), int(columns["user_data_32"][row]),
            int(columns["timeout"][row]), int(columns["ledger"][row]), int(columns["code"][row]),
            int(columns["flags"][row]), int(columns["timestamp"][row]),
        )  # fmt: skip


def as_pendings(columns: TransferColumns, account_ids: U64) -> dict[str, npt.NDArray[Any]]:
    """Pending transfers as :meth:`Pendings.add_columns` takes them, from their journal rows."""
    held: dict[str, npt.NDArray[Any]] = {
        name: columns[name] for name in ("id", "user_data_128", "amount", "timestamp")
    }
    held |= {name: columns[name] for name in ("debit_account", "credit_account")}
    held |= {f"{side}_account_id": account_ids[columns[f"{side}_account"]] for side in ("debit", "credit")}
    for name, kind in _COLUMN_KINDS.items():
        if name not in held:
            held[name] = np.ascontiguousarray(columns[name]).view(kind)
    # Whether the accounts were closed after the row is not the transfer's.
    held["flags"] = held["flags"] & CONTRACT_FLAGS
    return held


def _ids_of(held: Pendings) -> U64:
    return held.values("id")


def _pairs(values: list[int]) -> U64:
    return np.array([(value & _MASK64, value >> 64) for value in values], np.uint64).reshape(-1, 2)
