"""Row blocks: the canonical bytes of many transfers at once.

Byte for byte what ``rows.encode_transfer`` gives row by row (a test says so).
Rows are grouped by which of their optional columns are not NULL; each group has
a fixed width and is filled column by column.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.rows import TRANSFER_COLUMNS, TRANSFER_FIXED, TRANSFER_OPTIONAL, WIDTHS

Column = npt.NDArray[Any]

_KINDS = {"q": ">i8", "i": ">i4", "h": ">i2", "16s": "V16"}
_OPTIONAL_NAMES = TRANSFER_COLUMNS[len(TRANSFER_FIXED) :]
PENDING_COUNTERS = _OPTIONAL_NAMES[:4]
"""NULL together, when all four are zero."""


@cache
def _record(present: int) -> np.dtype[np.void]:
    """Layout of a row whose optional columns of the bit mask ``present`` are not NULL."""
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    kinds = (*TRANSFER_FIXED, *TRANSFER_OPTIONAL)
    for n, (name, kind) in enumerate(zip(TRANSFER_COLUMNS, kinds, strict=True)):
        parts.append((f"{name}_length", ">i4"))
        optional = n - len(TRANSFER_FIXED)
        if optional < 0 or present >> optional & 1:
            parts.append((name, _KINDS[kind]))
    return np.dtype(parts)


@cache
def _template(present: int) -> npt.NDArray[np.void]:
    """One row of that layout with its lengths filled in."""
    record = _record(present)
    row = np.zeros(1, record)
    row["fields"] = len(TRANSFER_COLUMNS)
    for name, kind in zip(TRANSFER_COLUMNS, (*TRANSFER_FIXED, *TRANSFER_OPTIONAL), strict=True):
        row[f"{name}_length"] = WIDTHS[kind] if name in (record.names or ()) else -1
    return row


def uuid_bytes(pairs: npt.NDArray[np.uint64]) -> Column:
    """(low, high) pairs as UUIDs of 16 big-endian bytes."""
    flipped = np.empty((len(pairs), 2), ">u8")
    flipped[:, 0], flipped[:, 1] = pairs[:, 1], pairs[:, 0]
    return flipped.view("V16").ravel()


def encode_transfers(count: int, columns: Mapping[str, Column]) -> bytes:
    """Canonical bytes of ``count`` transfers.

    ``columns`` has every fixed column, in the journal's signed types, and those
    optional ones in which at least one row is not NULL, as (values, present) with
    a boolean mask or None for "in every row".
    """
    fixed = {name: columns[name] for name in TRANSFER_COLUMNS[: len(TRANSFER_FIXED)]}
    optional = {name: columns[name] for name in _OPTIONAL_NAMES if name in columns}
    masks = np.zeros(count, np.int32)
    for n, name in enumerate(_OPTIONAL_NAMES):
        if name in optional:
            masks |= _present(name, optional).astype(np.int32) << n
    patterns = np.unique(masks)
    if len(patterns) == 1:
        return _fill(int(patterns[0]), fixed, optional, slice(None), count).tobytes()
    lengths = np.zeros(count, np.int64)
    for pattern in patterns.tolist():
        lengths[masks == pattern] = _record(pattern).itemsize
    starts = np.cumsum(lengths) - lengths
    out = np.empty(int(lengths.sum()), np.uint8)
    for pattern in patterns.tolist():
        rows = np.flatnonzero(masks == pattern)
        block = _fill(pattern, fixed, optional, rows, len(rows))
        size = block.dtype.itemsize
        out[starts[rows, None] + np.arange(size)] = block.view(np.uint8).reshape(-1, size)
    return out.tobytes()


def _present(name: str, optional: Mapping[str, Column]) -> npt.NDArray[np.bool_]:
    if name in PENDING_COUNTERS:
        present = np.zeros(len(optional[name]), bool)
        for counter in PENDING_COUNTERS:
            present |= optional[counter] != 0
        return present
    values = optional[name]
    if values.dtype.kind == "V":
        return np.asarray(values.view(">u8").reshape(-1, 2).any(axis=1))
    return np.asarray(values != 0)


def _fill(
    present: int,
    fixed: Mapping[str, Column],
    optional: Mapping[str, Column],
    rows: npt.NDArray[np.int64] | slice,
    count: int,
) -> npt.NDArray[np.void]:
    block = np.repeat(_template(present), count)
    for name, values in fixed.items():
        block[name] = values[rows]
    for n, name in enumerate(_OPTIONAL_NAMES):
        if present >> n & 1:
            block[name] = optional[name][rows]
    return block
