"""Row layouts: the canonical bytes of the journal's tables as columns, and back.

For the tables beside the transfers, whose form is ``ledger.columns``. A column is
one NumPy array; optional ones hold 0 where the journal has NULL, and 128-bit
numbers are (low, high) pairs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.checks.tables import BATCH_COLUMNS
from ledger.columns import MalformedRows, uuid_bytes, uuid_pairs
from ledger.rows import ACCOUNT_COLUMNS, EXPIRY_COLUMNS, FAILED_COLUMNS, WIDTHS

Array = npt.NDArray[Any]
Columns = dict[str, Array]

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

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every column's kind."""
        return self.fixed + self.optional

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


def decode_rows(layout: Layout, data: bytes) -> tuple[Columns, npt.NDArray[np.int64]]:
    """The rows that have these bytes, and where each begins and the last one ends.

    ``MalformedRows`` for any other bytes.
    """
    starts = _row_starts(layout, data)
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
    return columns, starts


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


def encode_rows(layout: Layout, columns: Columns) -> bytes:
    """The canonical bytes of rows; what :func:`decode_rows` reads."""
    count = len(columns[layout.columns[0]])
    masks = np.zeros(count, np.int32)
    optional = layout.columns[len(layout.fixed) :]
    for n, name in enumerate(optional):
        values = columns[name]
        masks |= (values.any(axis=1) if values.ndim == 2 else values != 0).astype(np.int32) << n
    patterns = np.unique(masks).tolist()
    lengths = np.zeros(count, np.int64)
    for pattern in patterns:
        lengths[masks == pattern] = _record(layout, pattern).itemsize
    out, starts = np.empty(int(lengths.sum()), np.uint8), np.cumsum(lengths) - lengths
    for pattern in patterns:
        rows = np.flatnonzero(masks == pattern)
        block = _blocks(layout, pattern, columns, rows)
        size = block.dtype.itemsize
        out[starts[rows, None] + np.arange(size)] = block.view(np.uint8).reshape(-1, size)
    return out.tobytes()


@cache
def _record(layout: Layout, present: int) -> np.dtype[np.void]:
    """A row whose optional columns of the bit mask ``present`` are not NULL."""
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    for n, (name, kind) in enumerate(zip(layout.columns, layout.kinds, strict=True)):
        parts.append((f"{name}_length", ">i4"))
        optional = n - len(layout.fixed)
        if optional < 0 or present >> optional & 1:
            parts.append((name, _WIRE[kind][0]))
    return np.dtype(parts)


def _blocks(layout: Layout, present: int, columns: Columns, rows: npt.NDArray[np.int64]) -> Array:
    record = _record(layout, present)
    block = np.zeros(len(rows), record)
    block["fields"] = len(layout.columns)
    for name, kind in zip(layout.columns, layout.kinds, strict=True):
        there = name in (record.names or ())
        block[f"{name}_length"] = width_of(kind) if there else -1
        if there:
            values = columns[name][rows]
            block[name] = uuid_bytes(values) if values.ndim == 2 else values
    return block
