"""Columns: many journal rows of transfers as one array a column.

The form in which whole batches are decided, held in memory, checked and
exported. ``encode`` gives the canonical bytes (binary COPY rows, byte for byte
what ``rows.encode_transfer`` gives row by row), ``decode`` reads them back and
accepts nothing that ``encode`` would not have written.

Numbers have the journal's signed types; a 128-bit number is a pair (low, high)
of unsigned halves. 0 stands for NULL: the journal never stores 0 in an optional
column, but for the four pending counters, which are NULL together when all are 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.draft_rows import TransferRow
from ledger.rows import TRANSFER_COLUMNS, TRANSFER_FIXED, TRANSFER_OPTIONAL, WIDTHS, transfer_values

Column = npt.NDArray[Any]

OPTIONAL_COLUMNS = TRANSFER_COLUMNS[len(TRANSFER_FIXED) :]
"""May be NULL."""
FIXED_COLUMNS = TRANSFER_COLUMNS[: len(TRANSFER_FIXED)]
PENDING_COUNTERS = OPTIONAL_COLUMNS[:4]
"""NULL together, when all four are zero."""

KINDS = dict(zip(TRANSFER_COLUMNS, (*TRANSFER_FIXED, *TRANSFER_OPTIONAL), strict=True))
_NATIVE: dict[str, Any] = {"q": np.int64, "i": np.int32, "h": np.int16, "16s": np.uint64}
_WIRE = {"q": ">i8", "i": ">i4", "h": ">i2", "16s": "V16"}


class MalformedRows(ValueError):
    """Bytes that are not the canonical form of any rows; ``index`` is the first wrong row."""

    def __init__(self, index: int) -> None:
        super().__init__(f"row {index} is not in the canonical form")
        self.index = index


def empty_column(name: str, count: int) -> Column:
    """A column of that many zeros."""
    kind = KINDS[name]
    return np.zeros((count, 2) if kind == "16s" else count, _NATIVE[kind])


@dataclass(slots=True)
class TransferColumns:
    """``count`` transfers; an optional column that is not there is NULL in every row."""

    count: int
    arrays: dict[str, Column]

    def __getitem__(self, name: str) -> Column:
        values = self.arrays.get(name)
        return empty_column(name, self.count) if values is None else values

    def __len__(self) -> int:
        return self.count

    def part(self, start: int, stop: int) -> TransferColumns:
        """Rows ``start`` to ``stop``, sharing memory."""
        start, stop, _ = slice(start, stop).indices(self.count)
        arrays = {name: values[start:stop] for name, values in self.arrays.items()}
        return TransferColumns(max(stop - start, 0), arrays)

    def take(self, rows: npt.NDArray[Any]) -> TransferColumns:
        """The rows at these positions (or of this mask), copied."""
        arrays = {name: values[rows] for name, values in self.arrays.items()}
        return TransferColumns(len(arrays["timestamp"]), arrays)

    @classmethod
    def empty(cls) -> TransferColumns:
        """No rows."""
        return cls(0, {name: empty_column(name, 0) for name in FIXED_COLUMNS})

    @classmethod
    def from_rows(cls, rows: Sequence[TransferRow]) -> TransferColumns:
        """Rows of the exact function."""
        return cls.from_values([(*fixed, *optional) for fixed, optional in map(transfer_values, rows)])

    @classmethod
    def from_values(cls, rows: Sequence[tuple[Any, ...]]) -> TransferColumns:
        """Rows as tuples in the order of the journal's columns, UUIDs as 16 bytes."""
        if not rows:
            return cls.empty()
        arrays: dict[str, Column] = {}
        for name, values in zip(TRANSFER_COLUMNS, zip(*rows, strict=True), strict=True):
            if name not in FIXED_COLUMNS and not any(values):
                continue
            if KINDS[name] == "16s":
                data = b"".join([value or bytes(16) for value in values])
                arrays[name] = uuid_pairs(np.frombuffer(data, "V16"))
            else:
                arrays[name] = np.array([value or 0 for value in values], _NATIVE[KINDS[name]])
        return cls(len(rows), arrays)

    @classmethod
    def join(cls, parts: Iterable[TransferColumns]) -> TransferColumns:
        """All rows, one part after the other."""
        parts = [part for part in parts if part.count]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        names = [name for name in TRANSFER_COLUMNS if any(name in part.arrays for part in parts)]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in names}
        return cls(sum(part.count for part in parts), arrays)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(values.nbytes for values in self.arrays.values())

    def encode(self) -> bytes:
        """The rows' canonical bytes, end to end."""
        patterns, masks = self.patterns()
        if len(patterns) <= 1:
            return _fill(patterns[0], self.arrays, slice(None), self.count).tobytes() if self.count else b""
        out, starts = self._laid_out(patterns, masks)
        for pattern in patterns:
            rows = np.flatnonzero(masks == pattern)
            block = _fill(pattern, self.arrays, rows, len(rows))
            _everywhere(out, block.dtype.itemsize)[starts[rows]] = block.view(f"V{block.dtype.itemsize}")
        return out.tobytes()

    def _laid_out(self, patterns: list[int], masks: Column) -> tuple[Column, Column]:
        lengths = np.zeros(self.count, np.int64)
        for pattern in patterns:
            lengths[masks == pattern] = _record(pattern).itemsize
        return np.empty(int(lengths.sum()), np.uint8), np.cumsum(lengths) - lengths

    def patterns(self) -> tuple[list[int], Column]:
        """Which optional columns are there, as bit masks: those that occur, and each row's."""
        masks = np.zeros(self.count, np.int32)
        held: Column | None = None
        for n, name in enumerate(OPTIONAL_COLUMNS):
            values = self.arrays.get(name)
            if name in PENDING_COUNTERS:
                if values is not None:
                    held = values != 0 if held is None else held | (values != 0)
            elif values is not None:
                there = values.any(axis=1) if values.ndim == 2 else values != 0
                masks |= there.astype(np.int32) << n
        if held is not None:
            masks |= held.astype(np.int32) * 0b1111
        if not self.count:
            return [], masks
        first = int(masks[0])
        return ([first] if (masks == first).all() else np.unique(masks).tolist()), masks

    @classmethod
    def decode(cls, data: bytes) -> TransferColumns:
        """The rows that have these canonical bytes; ``MalformedRows`` for any others."""
        alike = _decode_alike(data)
        return _decode_mixed(data) if alike is None else alike


def _everywhere(raw: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.void]:
    """``size`` bytes from every position on, without copying: rows of any length are moved as wholes."""
    count = max(len(raw) - size + 1, 0)
    return np.ndarray((count,), f"V{size}", raw, strides=(1,))


@cache
def _record(present: int) -> np.dtype[np.void]:
    """Layout of a row whose optional columns of the bit mask ``present`` are not NULL."""
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    for n, (name, kind) in enumerate(KINDS.items()):
        parts.append((f"{name}_length", ">i4"))
        optional = n - len(TRANSFER_FIXED)
        if optional < 0 or present >> optional & 1:
            parts.append((name, _WIRE[kind]))
    return np.dtype(parts)


@cache
def _template(present: int) -> npt.NDArray[np.void]:
    """One row of that layout with its lengths filled in."""
    record = _record(present)
    row = np.zeros(1, record)
    row["fields"] = len(TRANSFER_COLUMNS)
    for name, kind in KINDS.items():
        row[f"{name}_length"] = WIDTHS[kind] if name in (record.names or ()) else -1
    return row


def uuid_bytes(pairs: npt.NDArray[np.uint64]) -> Column:
    """(low, high) pairs as UUIDs of 16 big-endian bytes."""
    flipped = np.empty((len(pairs), 2), ">u8")
    flipped[:, 0], flipped[:, 1] = pairs[:, 1], pairs[:, 0]
    return flipped.view("V16").ravel()


def uuid_pairs(values: Column) -> npt.NDArray[np.uint64]:
    """UUIDs of 16 big-endian bytes as (low, high) pairs."""
    pairs = np.ascontiguousarray(values).view(">u8").reshape(-1, 2)
    return pairs[:, ::-1].astype(np.uint64)


def _fill(
    present: int, arrays: Mapping[str, Column], rows: npt.NDArray[Any] | slice, count: int
) -> npt.NDArray[np.void]:
    block = np.repeat(_template(present), count)
    for name in _present_names(present):
        values = arrays.get(name)
        if values is not None:
            chosen = values[rows]
            block[name] = uuid_bytes(chosen) if chosen.ndim == 2 else chosen
    return block


@cache
def _present_names(present: int) -> tuple[str, ...]:
    return FIXED_COLUMNS + tuple(name for n, name in enumerate(OPTIONAL_COLUMNS) if present >> n & 1)


def _native(name: str, wire: Column) -> Column:
    return uuid_pairs(wire) if KINDS[name] == "16s" else wire.astype(_NATIVE[KINDS[name]])


def _lengths_of(data: bytes) -> int | None:
    """The pattern of the first row; None where its lengths are not those of any row."""
    at, present = _record(0).fields["debit_debits_pending_length"][1], 0  # type: ignore[index]  # a structured type has fields
    for n, kind in enumerate(TRANSFER_OPTIONAL):
        length = int.from_bytes(data[at : at + 4], "big", signed=True)
        if length == WIDTHS[kind]:
            present |= 1 << n
            at += length
        elif length != -1:
            return None
        at += 4
    return present


def _decode_alike(data: bytes) -> TransferColumns | None:
    """Rows that all have the same columns; None where they have not."""
    if not data:
        return TransferColumns.empty()
    present = _lengths_of(data)
    if present is None or len(data) % _record(present).itemsize:
        return None
    rows = np.frombuffer(data, _record(present))
    template = _template(present)
    for name in rows.dtype.names or ():
        if (name.endswith("_length") or name == "fields") and (rows[name] != template[name]).any():
            return None
    arrays = {name: _native(name, rows[name]) for name in _present_names(present)}
    columns = TransferColumns(len(rows), arrays)
    return columns if columns.patterns()[0] == [present] else None


def _row_pattern() -> re.Pattern[bytes]:
    """A row's fixed part, with every length in its place."""
    parts = [re.escape(len(TRANSFER_COLUMNS).to_bytes(2, "big"))]
    for kind in TRANSFER_FIXED:
        width = WIDTHS[kind]
        parts.append(re.escape(width.to_bytes(4, "big")) + b".{%d}" % width)
    return re.compile(b"".join(parts), re.DOTALL)


_ROW = _row_pattern()
_FIXED_SIZE = 2 + sum(4 + WIDTHS[kind] for kind in TRANSFER_FIXED)


def _decode_mixed(data: bytes) -> TransferColumns:
    starts = np.fromiter((found.start() for found in _ROW.finditer(data)), np.int64)
    raw = np.frombuffer(data, np.uint8)
    if not len(starts) or starts[0] != 0:
        raise MalformedRows(0)
    arrays, ends = _gather(raw, starts)
    # Each row must end where the next begins, and the last where the data ends. A
    # value that looks like a row's beginning would show here as well.
    wrong = np.flatnonzero(ends != np.append(starts[1:], len(raw)))
    if len(wrong):
        raise MalformedRows(int(wrong[0]))
    columns = TransferColumns(len(starts), arrays)
    if columns.encode() != data:
        raise MalformedRows(_first_difference(columns, data, starts))
    return columns


def _gather(raw: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> tuple[dict[str, Column], Column]:
    """The columns of rows that begin there, and where each row ends (-1 where it cannot be read)."""
    fixed = _everywhere(raw, _FIXED_SIZE)[starts].view(_fixed_record())
    arrays = {name: _native(name, fixed[name]) for name in FIXED_COLUMNS}
    padded = np.append(raw, np.zeros(20, np.uint8))
    at = starts + _FIXED_SIZE
    good = np.ones(len(starts), bool)
    for name, kind in zip(OPTIONAL_COLUMNS, TRANSFER_OPTIONAL, strict=True):
        at = np.minimum(at, len(raw))
        length = _everywhere(padded, 4)[at].view(">i4")
        there = length == WIDTHS[kind]
        good &= there | (length == -1)
        at = at + 4
        rows = np.flatnonzero(there & (at + WIDTHS[kind] <= len(raw)))
        good[there & (at + WIDTHS[kind] > len(raw))] = False
        if len(rows):
            arrays[name] = empty_column(name, len(starts))
            arrays[name][rows] = _native(name, _everywhere(padded, WIDTHS[kind])[at[rows]].view(_WIRE[kind]))
        at = at + np.where(there, WIDTHS[kind], 0)
    return arrays, np.where(good, at, -1)


@cache
def _fixed_record() -> np.dtype[np.void]:
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    for name in FIXED_COLUMNS:
        parts += [(f"{name}_length", ">i4"), (name, _WIRE[KINDS[name]])]
    return np.dtype(parts)


def _first_difference(columns: TransferColumns, data: bytes, starts: npt.NDArray[np.int64]) -> int:
    bounds: Iterator[int] = iter([*starts.tolist()[1:], len(data)])
    begin = 0
    for index, end in enumerate(bounds):
        if columns.part(index, index + 1).encode() != data[begin:end]:
            return index
        begin = end
    return 0
