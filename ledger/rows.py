"""Rows: the journal's canonical bytes.

A row's canonical bytes are its PostgreSQL binary COPY form (field count, then
length and big-endian value of each column, -1 for NULL). The same bytes are sent
to the server, hashed into the batch's chain, and given back by
``COPY … TO STDOUT (FORMAT BINARY)``, so that anyone can check the chain.
"""

from __future__ import annotations

import struct
from functools import cache

from ledger.accounts import AccountState
from ledger.draft_rows import Counters, ExpiryRow, TransferRow

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
"""What a binary COPY stream begins with."""
COPY_TRAILER = b"\xff\xff"
"""What a binary COPY stream ends with."""

DEBIT_CLOSED = 1 << 12
"""Journal flag: the debit account is closed after the row."""
CREDIT_CLOSED = 1 << 13
"""Journal flag: the credit account is closed after the row."""
CONTRACT_FLAGS = (1 << 12) - 1
"""The part of a journal row's flags that is the contract's."""

ACCOUNT_COLUMNS = (
    "slot", "id", "timestamp", "ledger", "code", "flags", "user_data_128", "user_data_64", "user_data_32",
)  # fmt: skip
TRANSFER_COLUMNS = (
    "timestamp", "amount", "debit_previous", "credit_previous",
    "debit_debits_posted", "debit_credits_posted", "credit_debits_posted", "credit_credits_posted",
    "debit_account", "credit_account", "ledger", "code", "flags", "id",
    "debit_debits_pending", "debit_credits_pending", "credit_debits_pending", "credit_credits_pending",
    "pending_timestamp", "pending_id", "user_data_128", "user_data_64", "user_data_32", "timeout",
)  # fmt: skip
EXPIRY_COLUMNS = (
    "timestamp", "pending_timestamp",
    "debit_debits_pending", "debit_debits_posted", "debit_credits_pending", "debit_credits_posted",
    "credit_debits_pending", "credit_debits_posted", "credit_credits_pending", "credit_credits_posted",
    "debit_account", "credit_account", "flags",
)  # fmt: skip
FAILED_COLUMNS = ("id", "timestamp")

WIDTHS = {"q": 8, "i": 4, "h": 2, "16s": 16}
_ACCOUNT_FIXED = ("i", "16s", "q", "i", "h", "h")
_ACCOUNT_OPTIONAL = ("16s", "q", "i")
TRANSFER_FIXED = ("q",) * 8 + ("i",) * 3 + ("h", "h", "16s")
TRANSFER_OPTIONAL = ("q",) * 5 + ("16s", "16s", "q", "i", "i")
_EXPIRY = struct.Struct("!h" + "iq" * 10 + "ii" * 2 + "ih")
_FAILED = struct.Struct("!hi16siq")

Value = int | bytes | None


def signed(value: int, bits: int) -> int:
    """An unsigned number with the same bits, as PostgreSQL's signed column holds it."""
    return value - (1 << bits) if value >> (bits - 1) else value


def unsigned(value: int | None, bits: int) -> int:
    """The contract's number again; NULL is 0."""
    return 0 if value is None else value & ((1 << bits) - 1)


@cache
def _layout(fixed: tuple[str, ...], optional: tuple[str, ...], present: int) -> struct.Struct:
    """Format of a row in which the optional fields of the bit mask ``present`` are not NULL."""
    parts = ["!h"]
    parts += [f"i{kind}" for kind in fixed]
    parts += [f"i{kind}" if present >> n & 1 else "i" for n, kind in enumerate(optional)]
    return struct.Struct("".join(parts))


@cache
def _lengths(kinds: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(WIDTHS[kind] for kind in kinds)


def _encode(
    fixed_kinds: tuple[str, ...],
    optional_kinds: tuple[str, ...],
    fixed: tuple[Value, ...],
    optional: tuple[Value, ...],
) -> bytes:
    values: list[Value] = [len(fixed) + len(optional)]
    for length, value in zip(_lengths(fixed_kinds), fixed, strict=True):
        values += (length, value)
    present = 0
    for n, (length, value) in enumerate(zip(_lengths(optional_kinds), optional, strict=True)):
        if value is not None:
            present |= 1 << n
            values += (length, value)
        else:
            values.append(-1)
    return _layout(fixed_kinds, optional_kinds, present).pack(*values)


def _uuid_or_null(value: int) -> bytes | None:
    return value.to_bytes(16, "big") if value else None


def _signed_or_null(value: int, bits: int) -> int | None:
    return signed(value, bits) if value else None


def _pending_counters(row: TransferRow) -> tuple[int | None, int | None, int | None, int | None]:
    """Pending debits and credits of both accounts; NULL together when all are zero."""
    debit, credit = row.debit_after, row.credit_after
    if debit[0] or debit[2] or credit[0] or credit[2]:
        return debit[0], debit[2], credit[0], credit[2]
    return None, None, None, None


def encode_account(account: AccountState) -> bytes:
    """Canonical bytes of an account, with the flags that it was created with."""
    return _encode(
        _ACCOUNT_FIXED,
        _ACCOUNT_OPTIONAL,
        (
            account.slot, account.id.to_bytes(16, "big"), account.timestamp,
            signed(account.ledger, 32), signed(account.code, 16), account.created_flags,
        ),
        (
            _uuid_or_null(account.user_data_128),
            _signed_or_null(account.user_data_64, 64),
            _signed_or_null(account.user_data_32, 32),
        ),
    )  # fmt: skip


def encode_transfer(row: TransferRow) -> bytes:
    """Canonical bytes of a transfer."""
    return _encode(TRANSFER_FIXED, TRANSFER_OPTIONAL, *transfer_values(row))


def transfer_values(row: TransferRow) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """A transfer's values in order of the columns: those that are never NULL, and the others."""
    t = row.transfer
    debit, credit = row.debit_after, row.credit_after
    return (
        (
            t.timestamp, t.amount, row.debit_previous, row.credit_previous,
            debit[1], debit[3], credit[1], credit[3],
            row.debit_slot, row.credit_slot, signed(t.ledger, 32), signed(t.code, 16),
            t.flags | _closed_bits(row), t.id.to_bytes(16, "big"),
        ),
        (
            *_pending_counters(row),
            row.pending_timestamp or None, _uuid_or_null(t.pending_id), _uuid_or_null(t.user_data_128),
            _signed_or_null(t.user_data_64, 64),
            _signed_or_null(t.user_data_32, 32),
            _signed_or_null(t.timeout, 32),
        ),
    )  # fmt: skip


def encode_expiry(row: ExpiryRow) -> bytes:
    """Canonical bytes of an expiry."""
    values: list[int] = [len(EXPIRY_COLUMNS)]
    for value in (row.timestamp, row.pending.timestamp, *row.debit_after, *row.credit_after):
        values += (8, value)
    values += (4, row.debit_slot, 4, row.credit_slot, 2, _closed_bits(row))
    return _EXPIRY.pack(*values)


def encode_failed(failed: tuple[int, int]) -> bytes:
    """Canonical bytes of a failed id."""
    failed_id, timestamp = failed
    return _FAILED.pack(len(FAILED_COLUMNS), 16, failed_id.to_bytes(16, "big"), 8, timestamp)


def _closed_bits(row: TransferRow | ExpiryRow) -> int:
    return (DEBIT_CLOSED if row.debit_closed else 0) | (CREDIT_CLOSED if row.credit_closed else 0)


def counters_of(
    debits_pending: int | None, debits_posted: int, credits_pending: int | None, credits_posted: int
) -> Counters:
    """Counters as a journal row holds them: NULL is 0."""
    return debits_pending or 0, debits_posted, credits_pending or 0, credits_posted
