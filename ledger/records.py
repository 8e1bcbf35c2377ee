"""Packed records: the contract's fixed little-endian layouts, for speed.

A request body is the events' records end to end; ``numpy.frombuffer`` reads it
without copying. The layouts are TigerBeetle's (128-byte accounts and transfers,
16-byte results), so its tools and ours agree on every byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ledger.contract import (
    Account,
    CreateAccountResult,
    CreateAccountStatus,
    CreateTransferResult,
    CreateTransferStatus,
    InvalidRequest,
    Transfer,
)

ACCOUNT_DTYPE = np.dtype(
    [
        ("id", "<u8", 2),
        ("debits_pending", "<u8", 2),
        ("debits_posted", "<u8", 2),
        ("credits_pending", "<u8", 2),
        ("credits_posted", "<u8", 2),
        ("user_data_128", "<u8", 2),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("reserved", "<u4"),
        ("ledger", "<u4"),
        ("code", "<u2"),
        ("flags", "<u2"),
        ("timestamp", "<u8"),
    ]
)
"""One account, 128 bytes; 128-bit numbers are (low, high) pairs."""

TRANSFER_DTYPE = np.dtype(
    [
        ("id", "<u8", 2),
        ("debit_account_id", "<u8", 2),
        ("credit_account_id", "<u8", 2),
        ("amount", "<u8", 2),
        ("pending_id", "<u8", 2),
        ("user_data_128", "<u8", 2),
        ("user_data_64", "<u8"),
        ("user_data_32", "<u4"),
        ("timeout", "<u4"),
        ("ledger", "<u4"),
        ("code", "<u2"),
        ("flags", "<u2"),
        ("timestamp", "<u8"),
    ]
)
"""One transfer, 128 bytes."""

RESULT_DTYPE = np.dtype([("timestamp", "<u8"), ("status", "<u4"), ("reserved", "<u4")])
"""One result, 16 bytes."""

_ACCOUNT = struct.Struct("<12QQIIIHHQ")
_TRANSFER = struct.Struct("<12QQIIIHHQ")
_RESULT = struct.Struct("<QII")
_U64 = 2**64 - 1
_TRANSFER_STATUS = {int(status): status for status in CreateTransferStatus}

RECORD_SIZE = 128
"""Bytes of an account or a transfer."""
RESULT_SIZE = 16
"""Bytes of a result."""
ID_SIZE = 16
"""Bytes of an id in a look-up."""


def pack_transfers(transfers: Iterable[Transfer]) -> bytes:
    """The records of transfers, end to end; ``InvalidRequest`` when a field is out of range."""
    try:
        return b"".join([_TRANSFER.pack(*_transfer_numbers(t)) for t in transfers])
    except struct.error as error:
        raise InvalidRequest(f"a field of a transfer is out of its range: {error}") from None


def unpack_transfers(data: bytes) -> list[Transfer]:
    """Transfers from their records; ``InvalidRequest`` when the length is no multiple of 128."""
    _check_length(data, RECORD_SIZE)
    return [
        Transfer(
            n[1] << 64 | n[0], n[3] << 64 | n[2], n[5] << 64 | n[4],
            n[7] << 64 | n[6], n[9] << 64 | n[8], n[11] << 64 | n[10], *n[12:],
        )
        for n in _TRANSFER.iter_unpack(data)
    ]  # fmt: skip


def transfer_records(data: bytes) -> npt.NDArray[np.void]:
    """The same as an array of ``TRANSFER_DTYPE``, without copying."""
    _check_length(data, RECORD_SIZE)
    return np.frombuffer(data, TRANSFER_DTYPE)


def pack_accounts(accounts: Iterable[Account]) -> bytes:
    """The records of accounts, end to end; ``InvalidRequest`` when a field is out of range."""
    try:
        return b"".join([_ACCOUNT.pack(*_account_numbers(a)) for a in accounts])
    except struct.error as error:
        raise InvalidRequest(f"a field of an account is out of its range: {error}") from None


def unpack_accounts(data: bytes) -> list[Account]:
    """Accounts from their records; ``InvalidRequest`` when the length is no multiple of 128."""
    _check_length(data, RECORD_SIZE)
    return [
        Account(
            n[1] << 64 | n[0], n[3] << 64 | n[2], n[5] << 64 | n[4],
            n[7] << 64 | n[6], n[9] << 64 | n[8], n[11] << 64 | n[10], *n[12:],
        )
        for n in _ACCOUNT.iter_unpack(data)
    ]  # fmt: skip


def pack_results(results: Iterable[CreateAccountResult | CreateTransferResult]) -> bytes:
    """The records of results, end to end."""
    pack = _RESULT.pack
    return b"".join([pack(r.timestamp, int(r.status), 0) for r in results])


def unpack_transfer_results(data: bytes) -> list[CreateTransferResult]:
    """Results of ``create_transfers``."""
    _check_length(data, RESULT_SIZE)
    return [CreateTransferResult(t, _TRANSFER_STATUS[s]) for t, s, _ in _RESULT.iter_unpack(data)]


def unpack_account_results(data: bytes) -> list[CreateAccountResult]:
    """Results of ``create_accounts``."""
    _check_length(data, RESULT_SIZE)
    return [CreateAccountResult(t, CreateAccountStatus(s)) for t, s, _ in _RESULT.iter_unpack(data)]


def pack_ids(ids: Sequence[int]) -> bytes:
    """Ids as 16 little-endian bytes each."""
    try:
        return b"".join([i.to_bytes(ID_SIZE, "little") for i in ids])
    except OverflowError:
        raise InvalidRequest("an id has more than 128 bits or is negative") from None


def unpack_ids(data: bytes) -> list[int]:
    """Ids from 16 little-endian bytes each."""
    _check_length(data, ID_SIZE)
    return [int.from_bytes(data[i : i + ID_SIZE], "little") for i in range(0, len(data), ID_SIZE)]


def _check_length(data: bytes, size: int) -> None:
    if len(data) % size:
        raise InvalidRequest(f"{len(data)} bytes are no whole number of {size}-byte records")


def _transfer_numbers(t: Transfer) -> tuple[int, ...]:
    return (
        t.id & _U64, t.id >> 64,
        t.debit_account_id & _U64, t.debit_account_id >> 64,
        t.credit_account_id & _U64, t.credit_account_id >> 64,
        t.amount & _U64, t.amount >> 64,
        t.pending_id & _U64, t.pending_id >> 64,
        t.user_data_128 & _U64, t.user_data_128 >> 64,
        t.user_data_64, t.user_data_32, t.timeout, t.ledger, t.code, t.flags, t.timestamp,
    )  # fmt: skip


def _account_numbers(a: Account) -> tuple[int, ...]:
    return (
        a.id & _U64, a.id >> 64,
        a.debits_pending & _U64, a.debits_pending >> 64,
        a.debits_posted & _U64, a.debits_posted >> 64,
        a.credits_pending & _U64, a.credits_pending >> 64,
        a.credits_posted & _U64, a.credits_posted >> 64,
        a.user_data_128 & _U64, a.user_data_128 >> 64,
        a.user_data_64, a.user_data_32, a.reserved, a.ledger, a.code, a.flags, a.timestamp,
    )  # fmt: skip
