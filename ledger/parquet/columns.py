"""Parquet columns: rows of the journal as Arrow tables, and back, bit for bit.

Ids are UUIDs and numbers have the contract's types (unsigned where the contract's
are); NULL stands where the journal has NULL. ``flags`` of transfers and expiries
are the journal's: bits 12 and 13 say that the debit or the credit account is
closed after the row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ledger.checks.row_layouts import Columns, Layout
from ledger.columns import KINDS, PENDING_COUNTERS, TransferColumns, empty_column, uuid_bytes, uuid_pairs

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

UNSIGNED = {
    "user_data_64": np.uint64, "user_data_32": np.uint32, "timeout": np.uint32,
    "ledger": np.uint32, "code": np.uint16, "flags": np.uint16,
}  # fmt: skip
"""Columns whose bits are an unsigned number."""

_ARROW: dict[str, Any] = {
    "q": pa.int64(), "i": pa.int32(), "h": pa.int16(), "16s": pa.uuid(), "32s": pa.binary(32),
}  # fmt: skip
_NATIVE: dict[str, Any] = {"q": np.int64, "i": np.int32, "h": np.int16}


def transfers_to_arrow(columns: TransferColumns) -> Any:
    """Transfers as a table of Arrow."""
    held = np.zeros(len(columns), bool)
    for name in PENDING_COUNTERS:
        held |= columns[name] != 0
    fields: dict[str, Any] = {}
    for name, kind in KINDS.items():
        values = columns[name]
        there = held if name in PENDING_COUNTERS else _presence(values)
        fields[name] = _to_arrow(name, kind, values, there if name in _OPTIONAL_TRANSFER else None)
    return pa.table(fields)


def transfers_from_arrow(table: Any) -> TransferColumns:
    """Transfers of a table of Arrow; columns that are NULL throughout are left out."""
    arrays = {}
    for name, kind in KINDS.items():
        column = table.column(name)
        if name not in _OPTIONAL_TRANSFER or column.null_count < len(column):
            arrays[name] = _from_arrow(kind, column)
    return TransferColumns(table.num_rows, arrays)


def column_from_arrow(name: str, column: Any) -> Array:
    """One column of transfers, of a column of Arrow, 0 for NULL."""
    return _from_arrow(KINDS[name], column)


def rows_to_arrow(layout: Layout, columns: Columns) -> Any:
    """Rows of another table of the journal as a table of Arrow."""
    optional = layout.columns[len(layout.fixed) :]
    return pa.table(
        {
            name: _to_arrow(name, kind, columns[name], _presence(columns[name]) if name in optional else None)
            for name, kind in zip(layout.columns, layout.kinds, strict=True)
        }
    )


def rows_from_arrow(layout: Layout, table: Any) -> Columns:
    """Rows of another table of the journal, of a table of Arrow."""
    return {
        name: _from_arrow(kind, table.column(name))
        for name, kind in zip(layout.columns, layout.kinds, strict=True)
    }


_OPTIONAL_TRANSFER = frozenset(name for name in KINDS if name in PENDING_COUNTERS) | {
    "pending_timestamp", "pending_id", "user_data_128", "user_data_64", "user_data_32", "timeout",
}  # fmt: skip


def _presence(values: Array) -> Mask:
    wide = values if values.ndim == 2 else values[:, None]
    there: Mask = np.logical_or.reduce(wide != 0, axis=1)
    return there


def _to_arrow(name: str, kind: str, values: Array, there: Mask | None) -> Any:
    if kind in {"16s", "32s"}:
        raw = uuid_bytes(values) if kind == "16s" else values
        validity = None if there is None else pa.py_buffer(np.packbits(there, bitorder="little").tobytes())
        width = 16 if kind == "16s" else 32
        stored = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(values), [validity, pa.py_buffer(np.ascontiguousarray(raw).tobytes())]
        )
        return pa.ExtensionArray.from_storage(pa.uuid(), stored) if kind == "16s" else stored
    numbers = np.ascontiguousarray(values)
    if name in UNSIGNED:
        numbers = numbers.view(UNSIGNED[name])
    return pa.array(numbers, mask=None if there is None else ~there)


def _from_arrow(kind: str, column: Any) -> Array:
    if not len(column):
        return empty_column("id", 0) if kind == "16s" else np.zeros(0, _NATIVE.get(kind, "V32"))
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if kind in {"16s", "32s"}:
        width = 16 if kind == "16s" else 32
        stored = array.storage if kind == "16s" else array
        if not stored.type.equals(pa.binary(width)):
            raise pa.ArrowInvalid(f"values of {width} bytes were expected")
        raw = np.frombuffer(stored.buffers()[1], f"V{width}")[stored.offset : stored.offset + len(stored)]
        if kind == "32s":
            return raw
        pairs = uuid_pairs(raw)
        pairs[~np.asarray(array.is_valid())] = 0
        return pairs
    numbers = array.fill_null(0).to_numpy(zero_copy_only=False)
    native = np.dtype(_NATIVE[kind])
    if numbers.dtype.kind not in "iu" or numbers.dtype.itemsize != native.itemsize:
        raise pa.ArrowInvalid(f"numbers of {native.itemsize} bytes were expected")
    return np.ascontiguousarray(numbers).view(native)
