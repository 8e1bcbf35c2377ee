"""Journal rows: accounts, expiries and failed ids read out of a batch's canonical bytes.

Written from PostgreSQL's binary COPY format alone: a count of fields, then length and
big-endian value of each, -1 for NULL.
"""

from __future__ import annotations

import struct
from typing import Any

from ledger.columns import TransferColumns
from ledger.history_marks import MarkPart, decode_marks
from ledger.rows import TRANSFER_COLUMNS

_UNSIGNED_BITS = {"user_data_64": 64, "user_data_32": 32, "timeout": 32, "ledger": 32, "code": 16}


def fields_from(data: bytes) -> list[list[bytes | None]]:
    """The rows' fields as bytes."""
    rows: list[list[bytes | None]] = []
    at = 0
    while at < len(data):
        (count,) = struct.unpack_from("!h", data, at)
        at += 2
        fields: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, at)
            at += 4
            fields.append(None if length < 0 else data[at : at + length])
            at += max(length, 0)
        rows.append(fields)
    return rows


def unsigned(field: bytes | None) -> int:
    """A field as the contract's number; NULL is 0."""
    return 0 if field is None else int.from_bytes(field, "big")


def accounts_from(data: bytes) -> list[tuple[Any, ...]]:
    """Slot, id, timestamp, ledger, code, flags and user data of each account."""
    return [tuple(unsigned(field) for field in fields) for fields in fields_from(data)]


def expiries_from(data: bytes) -> list[tuple[int, ...]]:
    """The numbers of each expiry."""
    return [tuple(unsigned(field) for field in fields) for fields in fields_from(data)]


def failed_from(data: bytes) -> list[tuple[int, int]]:
    """Id and timestamp of each failed id."""
    return [(unsigned(fields[0]), unsigned(fields[1])) for fields in fields_from(data)]


def marks_from(data: bytes) -> list[MarkPart]:
    """Marks of histories: part, segment, and the arrays of slots and timestamps."""
    return [
        decode_marks(unsigned(part), slots or b"", timestamps or b"")
        for part, _, slots, timestamps in fields_from(data)
    ]


def columns_of(columns: TransferColumns) -> list[list[int]]:
    """Transfers' columns as lists of the contract's numbers, in the journal's order; empty for all NULL."""
    lists: list[list[int]] = []
    for name in TRANSFER_COLUMNS:
        values = columns.arrays.get(name)
        if values is None:
            lists.append([])
        elif values.ndim == 2:
            lists.append([high << 64 | low for low, high in values.tolist()])
        elif name in _UNSIGNED_BITS:
            lists.append(values.view(f"u{_UNSIGNED_BITS[name] // 8}").tolist())
        else:
            lists.append(values.tolist())
    return lists
