"""Rows of a check: raw pieces of a journal table as columns, with the place of each row.

Only the canonical form is read: a row of another form is found here, before
anything is made of it. Rows are then taken so many at a time, as columns together
with the bytes that they came from, which are what a batch's hash is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ledger.checks.row_layouts import Columns, Layout, decode_rows
from ledger.columns import MalformedRows, TransferColumns, empty_column
from ledger.rows import TRANSFER_COLUMNS, TRANSFER_FIXED, TRANSFER_OPTIONAL, WIDTHS

Decoded = TypeVar("Decoded", Columns, TransferColumns)

_TRANSFER_SIZE = 2 + sum(4 + WIDTHS[kind] for kind in TRANSFER_FIXED) + 4 * len(TRANSFER_OPTIONAL)

_FIXED_SIZE = 2 + sum(4 + WIDTHS[kind] for kind in TRANSFER_FIXED)
_LENGTHS_AT = list(accumulate((4 + WIDTHS[kind] for kind in TRANSFER_FIXED[:-1]), initial=2))
_ROW_MARKS = [(at + 3, WIDTHS[kind]) for at, kind in zip(_LENGTHS_AT, TRANSFER_FIXED, strict=True)]
"""Offsets in a row of the last bytes of its fixed lengths, and what stands there."""

LENGTHS_MAX = 64
"""Rows of more lengths than these are not sorted out."""


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
    return RowStream(_decode_table(layout, pieces), _rows_of(layout, b""))


def _decode_transfers(pieces: Iterator[bytes]) -> Iterator[Taken[TransferColumns]]:
    seen = 0
    for data in pieces:
        try:
            columns = decode_transfers(data)
        except MalformedRows as error:
            raise MalformedRows(seen + error.index) from None
        seen += len(columns)
        yield Taken(len(columns), columns, memoryview(data), transfer_starts(columns))


def decode_transfers(data: bytes) -> TransferColumns:
    """What ``TransferColumns.decode`` gives, several times as fast where rows differ.

    Rows that are alike are decoded at once; so they are sorted out by their
    length first, by where rows seem to begin. Whatever is not right by that is
    left to the strict way, which decides.
    """
    raw = np.frombuffer(data, np.uint8)
    if _seem_alike(raw):
        return TransferColumns.decode(data)
    starts = _likely_starts(raw)
    lengths = np.diff(np.append(starts, len(raw)))
    sizes = np.unique(lengths).tolist()
    if not 1 < len(sizes) <= LENGTHS_MAX or starts[0] != 0:
        return TransferColumns.decode(data)
    groups = []
    for size in sizes:
        rows = np.flatnonzero(lengths == size)
        try:
            # As whole items they are gathered much faster than byte by byte.
            windows = np.ndarray((len(raw) - size + 1,), f"V{size}", data, strides=(1,))
            alike = TransferColumns.decode(windows[starts[rows]].tobytes())
        except MalformedRows:
            return TransferColumns.decode(data)
        if len(alike) != len(rows):
            return TransferColumns.decode(data)
        groups.append((rows, alike))
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in TRANSFER_COLUMNS:
        if any(name in alike.arrays for _, alike in groups):
            arrays[name] = empty_column(name, len(starts))
            for rows, alike in groups:
                if name in alike.arrays:
                    arrays[name][rows] = alike.arrays[name]
    return TransferColumns(len(starts), arrays)


def _seem_alike(raw: npt.NDArray[np.uint8]) -> bool:
    """Whether rows as long as the first one fill these bytes."""
    size = _FIXED_SIZE
    for _ in TRANSFER_OPTIONAL:
        length = int.from_bytes(raw[size : size + 4].tobytes(), "big", signed=True)
        size += 4 + max(length, 0)
    if len(raw) % size:
        return False
    rows = raw.reshape(-1, size)
    return all(
        bool((rows[:, offset] == byte).all()) for offset, byte in ((1, len(TRANSFER_COLUMNS)), *_ROW_MARKS)
    )


def _likely_starts(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Where rows begin, by their number of fields and the lengths of those that are always there."""
    at = np.flatnonzero(raw[1 : 1 + max(len(raw) - _FIXED_SIZE, 0)] == len(TRANSFER_COLUMNS))
    for offset, byte in _ROW_MARKS:
        at = at[raw[at + offset] == byte]
    return at


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
            rows = _rows_of(layout, data)
        except MalformedRows as error:
            raise MalformedRows(seen + error.index) from None
        seen += rows.count
        yield rows


def _rows_of(layout: Layout, data: bytes) -> Taken[Columns]:
    columns, starts = decode_rows(layout, data)
    return Taken(len(starts) - 1, columns, memoryview(data), starts)
