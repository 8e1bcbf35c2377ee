"""Rows of a check: raw pieces of a journal table as columns, with the place of each row.

Only the canonical form is read: a row of another form is found here, before
anything is made of it. Rows are then taken so many at a time, as columns together
with the bytes that they came from, which are what a batch's hash is over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ledger.columns import MalformedRows, TransferColumns, uuid_pairs
from ledger.journal_tables import BATCH_COLUMNS
from ledger.rows import (
    ACCOUNT_COLUMNS,
    EXPIRY_COLUMNS,
    FAILED_COLUMNS,
    TRANSFER_FIXED,
    TRANSFER_OPTIONAL,
    WIDTHS,
)

Array = npt.NDArray[Any]
Columns = dict[str, Array]
Decoded = TypeVar("Decoded", Columns, TransferColumns)

_WIRE: dict[str, Any] = {
    "q": (">i8", np.int64), "i": (">i4", np.int32), "h": (">i2", np.int16), "16s": ("V16", None),
    "32s": ("V32", "V32"),
}  # fmt: skip
"""How a value is sent, and how a column holds it; None for pairs of halves."""
_NULL = b"\xff\xff\xff\xff"


@dataclass(frozen=True)
class Layout:
    """Columns of a table with their kinds; the last ones may be NULL."""

    columns: tuple[str, ...]
    fixed: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """One row, every length in its place."""
        parts = [len(self.columns).to_bytes(2, "big")]
        parts += [
            re.escape(width.to_bytes(4, "big")) + b".{%d}" % width for width in self._widths(self.fixed)
        ]
        for width in self._widths(self.optional):
            parts.append(b"(?:%s|%s.{%d})" % (_NULL, re.escape(width.to_bytes(4, "big")), width))
        return re.compile(b"".join(parts), re.DOTALL)

    @cached_property
    def fixed_size(self) -> int:
        """Bytes of a row before its first optional column."""
        return 2 + sum(4 + width for width in self._widths(self.fixed))

    @staticmethod
    def _widths(kinds: tuple[str, ...]) -> list[int]:
        return [width_of(kind) for kind in kinds]


def width_of(kind: str) -> int:
    """Bytes of a value of that kind."""
    return 32 if kind == "32s" else WIDTHS[kind]


ACCOUNTS = Layout(ACCOUNT_COLUMNS, ("i", "16s", "q", "i", "h", "h"), ("16s", "q", "i"))
EXPIRIES = Layout(EXPIRY_COLUMNS, ("q",) * 10 + ("i", "i", "h"))
FAILED = Layout(FAILED_COLUMNS, ("16s", "q"))
BATCHES = Layout(BATCH_COLUMNS, ("q",) * 4 + ("i",) * 4 + ("32s",))

_TRANSFER_SIZE = 2 + sum(4 + WIDTHS[kind] for kind in TRANSFER_FIXED) + 4 * len(TRANSFER_OPTIONAL)


@dataclass(slots=True)
class Taken(Generic[Decoded]):
    """Some rows: their columns, their bytes, and where each of them begins and the last one ends."""

    count: int
    columns: Decoded
    data: memoryview
    starts: npt.NDArray[np.int64]

    def part(self, first: int, last: int) -> Taken[Decoded]:
        """Rows ``first`` to ``last``, that one not included."""
        starts = self.starts[first : last + 1]
        data = self.data[starts[0] : starts[-1]]
        return Taken(last - first, part_of(self.columns, first, last), data, starts - starts[0])


class RowStream(Generic[Decoded]):
    """The rows of a table in order, taken so many at a time."""

    def __init__(self, decoded: Iterator[Taken[Decoded]], empty: Taken[Decoded]) -> None:
        self._decoded: Iterator[Taken[Decoded]] = decoded
        self._rows: Taken[Decoded] = empty
        self._at = 0
        self.taken = 0
        """Rows that were given out."""

    def take(self, count: int) -> Taken[Decoded]:
        """The next ``count`` rows, or as many as there are; ``MalformedRows`` where one is wrong.

        Its index counts from the first row of the table.
        """
        parts = [self._rows.part(self._at, self._rows.count)]
        there = parts[0].count
        while there < count and (piece := next(self._decoded, None)) is not None:
            parts.append(piece)
            there += piece.count
        if len(parts) > 1:
            self._rows, self._at = join(parts), 0
        first, last = self._at, min(self._at + max(count, 0), self._rows.count)
        self._at = last
        self.taken += last - first
        return self._rows.part(first, last)

    @property
    def is_at_end(self) -> bool:
        """Whether every row was taken."""
        while self._at == self._rows.count:
            piece = next(self._decoded, None)
            if piece is None:
                return True
            self._rows, self._at = piece, 0
        return False


def part_of(columns: Decoded, first: int, last: int) -> Decoded:
    """Rows ``first`` to ``last`` of these columns, that one not included."""
    if isinstance(columns, TransferColumns):
        return columns.part(first, last)
    return {name: values[first:last] for name, values in columns.items()}


def join(parts: list[Taken[Decoded]]) -> Taken[Decoded]:
    """All rows, one part after the other; at least one part."""
    filled = [part for part in parts if part.count]
    if len(filled) <= 1:
        return filled[0] if filled else parts[0]
    every: list[Any] = [part.columns for part in filled]
    if isinstance(every[0], TransferColumns):
        columns: Any = TransferColumns.join(every)
    else:
        columns = {name: np.concatenate([each[name] for each in every]) for name in every[0]}
    starts, at = [np.zeros(1, np.int64)], 0
    for part in filled:
        starts.append(part.starts[1:] + at)
        at += len(part.data)
    data = memoryview(b"".join([part.data for part in filled]))
    return Taken(sum(part.count for part in filled), columns, data, np.concatenate(starts))


def transfer_rows(pieces: Iterator[bytes]) -> RowStream[TransferColumns]:
    """A segment's transfers."""
    empty = Taken(0, TransferColumns.empty(), memoryview(b""), np.zeros(1, np.int64))
    return RowStream(_decode_transfers(pieces), empty)


def table_rows(layout: Layout, pieces: Iterator[bytes]) -> RowStream[Columns]:
    """The rows of any other table; optional columns are 0 where they are NULL."""
    return RowStream(_decode_table(layout, pieces), decode_rows(layout, b""))


def _decode_transfers(pieces: Iterator[bytes]) -> Iterator[Taken[TransferColumns]]:
    seen = 0
    for data in pieces:
        try:
            columns = TransferColumns.decode(data)
        except MalformedRows as error:
            raise MalformedRows(seen + error.index) from None
        seen += len(columns)
        yield Taken(len(columns), columns, memoryview(data), transfer_starts(columns))


def transfer_starts(columns: TransferColumns) -> npt.NDArray[np.int64]:
    """Where each row's canonical bytes begin, and where the last one's end."""
    patterns, masks = columns.patterns()
    starts = np.zeros(len(columns) + 1, np.int64)
    if len(patterns) == 1:
        return np.arange(len(columns) + 1, dtype=np.int64) * _size_of(patterns[0])
    lengths = np.zeros(len(columns), np.int64)
    for pattern in patterns:
        lengths[masks == pattern] = _size_of(pattern)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _size_of(pattern: int) -> int:
    return _TRANSFER_SIZE + sum(WIDTHS[kind] for n, kind in enumerate(TRANSFER_OPTIONAL) if pattern >> n & 1)


def _decode_table(layout: Layout, pieces: Iterator[bytes]) -> Iterator[Taken[Columns]]:
    seen = 0
    for data in pieces:
        try:
            rows = decode_rows(layout, data)
        except MalformedRows as error:
            raise MalformedRows(seen + error.index) from None
        seen += rows.count
        yield rows


def decode_rows(layout: Layout, data: bytes) -> Taken[Columns]:
    """The rows that have these bytes; ``MalformedRows`` for any others."""
    starts = _row_starts(layout, data)
    count = len(starts) - 1
    padded = np.append(np.frombuffer(data, np.uint8), np.zeros(16, np.uint8))
    columns: Columns = {}
    at = starts[:-1] + 2
    for name, kind in zip(layout.columns, layout.fixed, strict=False):
        columns[name] = _values(padded, at + 4, kind)
        at = at + 4 + width_of(kind)
    for name, kind in zip(layout.columns[len(layout.fixed) :], layout.optional, strict=True):
        there = padded[at] != _NULL[0]
        values = _values(padded, np.where(there, at + 4, at), kind)
        values[~there] = 0
        # 0 is stored as NULL and nothing else: a zero that is there is not canonical.
        zeros = there & ~(values.any(axis=1) if values.ndim == 2 else values != 0)
        if zeros.any():
            raise MalformedRows(int(np.argmax(zeros)))
        columns[name] = values
        at = at + 4 + np.where(there, width_of(kind), 0)
    return Taken(count, columns, memoryview(data), starts)


def _row_starts(layout: Layout, data: bytes) -> npt.NDArray[np.int64]:
    if not layout.optional and len(data) % layout.fixed_size == 0:
        count = len(data) // layout.fixed_size
        if _is_framed(layout, data, count):
            return np.arange(count + 1, dtype=np.int64) * layout.fixed_size
    ends = [0]
    for found in layout.pattern.finditer(data):
        if found.start() != ends[-1]:
            break
        ends.append(found.end())
    if ends[-1] != len(data):
        raise MalformedRows(len(ends) - 1)
    return np.array(ends, np.int64)


def _is_framed(layout: Layout, data: bytes, count: int) -> bool:
    """Whether every row has each length in its place, where all columns are there."""
    raw = np.frombuffer(data, np.uint8).reshape(count, layout.fixed_size)
    if (raw[:, :2] != _bytes(len(layout.columns).to_bytes(2, "big"))).any():
        return False
    at = 2
    for kind in layout.fixed:
        if (raw[:, at : at + 4] != _bytes(width_of(kind).to_bytes(4, "big"))).any():
            return False
        at += 4 + width_of(kind)
    return True


def _bytes(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _values(raw: npt.NDArray[np.uint8], at: npt.NDArray[np.int64], kind: str) -> Array:
    width = width_of(kind)
    values = raw[at[:, None] + np.arange(width)]
    wire, native = _WIRE[kind]
    column: Array = values.ravel().view(wire)
    return uuid_pairs(column) if native is None else column.astype(native)
