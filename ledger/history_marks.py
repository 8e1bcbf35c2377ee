"""History marks: where in a sealed segment an account's history can be entered.

For each account that a segment moves its newest transfer there is noted, and every
64th before it. So the past of an account with millions of transfers is a look-up
and a short walk, for some twelve bytes an account and segment, written by the
sealing and by nothing that a caller waits for.

Marks are found again from the segment's rows alone; they prove nothing, and a
reader that is led astray by one notices (``history``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.columns import TransferColumns
from ledger.connection import Connection
from ledger.rows import COPY_HEADER, COPY_TRAILER

MARK_STEPS = 64
"""Longest walk from a mark to the transfer that is looked for."""
SLOTS_PER_PART = 1024
"""A row of ``ledger_history_mark`` is about so many accounts."""

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_ROW_HEAD = struct.Struct("!hiiii")
_ARRAY_HEAD = struct.Struct("!iiIii")
"""Dimensions, flags, type of items, number of items, first index."""
_INT4 = np.dtype([("length", ">i4"), ("value", ">i4")])
_INT8 = np.dtype([("length", ">i4"), ("value", ">i8")])
_TYPE_OF = {4: 23, 8: 20}
"""PostgreSQL's numbers of the types integer and bigint, by their size."""


@dataclass(slots=True, frozen=True)
class MarkPart:
    """The marks of neighbouring accounts in one segment, by slot, and newest first for each."""

    part: int
    slots: I32
    timestamps: I64


def marks_of(columns: TransferColumns) -> Iterator[MarkPart]:
    """The marks of a segment's rows, part by part."""
    slots, timestamps = _marked(columns)
    if not len(slots):
        return
    parts = slots // SLOTS_PER_PART
    bounds = np.flatnonzero(np.diff(parts)) + 1
    for start, stop in zip([0, *bounds.tolist()], [*bounds.tolist(), len(slots)], strict=True):
        yield MarkPart(int(parts[start]), slots[start:stop], timestamps[start:stop])


def encode_marks(number: int, columns: TransferColumns) -> bytes:
    """The marks of segment ``number`` as rows of a binary COPY; takes a while for many rows."""
    return b"".join(
        [
            _ROW_HEAD.pack(4, 4, marks.part, 4, number)
            + _array(marks.slots, _INT4)
            + _array(marks.timestamps, _INT8)
            for marks in marks_of(columns)
        ]
    )


def store_marks(connection: Connection, rows: bytes) -> None:
    """Write what :func:`encode_marks` gave, in the database transaction that seals the segment."""
    with connection.cursor().copy(
        "COPY ledger_history_mark (part, number, slots, timestamps) FROM STDIN (FORMAT BINARY)"
    ) as copy:
        copy.write(COPY_HEADER + rows + COPY_TRAILER)


def decode_marks(part: int, slots: bytes, timestamps: bytes) -> MarkPart:
    """A row of ``ledger_history_mark``, given its arrays in their binary form."""
    return MarkPart(
        part, _numbers(slots, _INT4).astype(np.int32), _numbers(timestamps, _INT8).astype(np.int64)
    )


def _array(values: npt.NDArray[Any], item: npt.DTypeLike) -> bytes:
    """An array's binary form, with its length before it."""
    size = np.dtype(item)["value"].itemsize
    items = np.empty(len(values), item)
    items["length"], items["value"] = size, values
    data = _ARRAY_HEAD.pack(1, 0, _TYPE_OF[size], len(values), 1) + items.tobytes()
    return struct.pack("!i", len(data)) + data


def _numbers(data: bytes, item: npt.DTypeLike) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = np.frombuffer(data, item, offset=_ARRAY_HEAD.size)["value"]
    return values


def _marked(columns: TransferColumns) -> tuple[I32, I64]:
    """Slots and timestamps of all marks, by slot, and newest first for each."""
    count = 2 * len(columns)
    slots = np.empty(count, np.int32)
    slots[0::2], slots[1::2] = columns["debit_account"], columns["credit_account"]
    if not count:
        return slots, np.empty(0, np.int64)
    timestamps = columns["timestamp"]
    postings = np.bincount(slots)
    newest = np.full(len(postings), -1, np.int64)
    # Where a slot stands several times NumPy keeps the last one: the newest.
    newest[slots] = np.arange(count)
    active = np.flatnonzero(newest >= 0)
    rows = newest[active]
    busy = postings > MARK_STEPS
    if busy.any():
        rows = np.concatenate([rows, _every_few(slots, busy)])
        newest_first = slots[rows].astype(np.int64) << 32 | (count - 1 - rows)
        rows = rows[np.argsort(newest_first, kind="stable")]
    return slots[rows], timestamps[rows // 2]


def _every_few(slots: I32, busy: npt.NDArray[np.bool_]) -> I64:
    """Every 64th posting of busy accounts, counted back from their newest, which is not among them."""
    rows = np.flatnonzero(busy[slots])
    # Busy accounts are few: numbered on their own they fit 16 bits, which are sorted fastest.
    numbers = np.cumsum(busy) - 1
    few = numbers[-1] < 1 << 16
    of = numbers[slots[rows]].astype(np.uint16 if few else np.int64)
    order = np.argsort(of, kind="stable")
    rows, of = rows[order], of[order]
    ends = np.append(np.flatnonzero(np.diff(of)), len(of) - 1)
    # How many postings of the same account come after each.
    after = np.repeat(ends, np.diff(ends, prepend=-1)) - np.arange(len(of))
    chosen: I64 = rows[(after % MARK_STEPS == 0) & (after > 0)]
    return chosen
