"""Packed records of queries: filters, balances, statement lines and change events.

The layouts are the contract's (section 10); a statement line is a transfer's
record followed by a balance's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from ledger.contract import (
    Account,
    AccountBalance,
    AccountFilter,
    ChangeEvent,
    ChangeEventsFilter,
    ChangeEventType,
    InvalidRequest,
    QueryFilter,
    StatementLine,
    Transfer,
)
from ledger.records import RECORD_SIZE, pack_transfers, unpack_transfers

_ACCOUNT_FILTER = struct.Struct("<16s16sQIH58sQQII")
_QUERY_FILTER = struct.Struct("<16sQIIH6sQQII")
_CHANGE_FILTER = struct.Struct("<QQI44s")
_BALANCE = struct.Struct("<16s16s16s16sQ56x")
_EVENT = struct.Struct("<16s16s16s16sQIIHHIB39x" + "16s16s16s16s16s16sQIHH" * 2 + "QQQQ")
_STATEMENT_LINE_SIZE = 2 * RECORD_SIZE


def _wide(value: int) -> bytes:
    return value.to_bytes(16, "little")


def _int(data: bytes) -> int:
    return int.from_bytes(data, "little")


def pack_filter(filter: AccountFilter | QueryFilter | ChangeEventsFilter) -> bytes:
    """The record of a filter; ``InvalidRequest`` when a field is out of its range."""
    try:
        match filter:
            case AccountFilter():
                return _ACCOUNT_FILTER.pack(
                    _wide(filter.account_id),
                    _wide(filter.user_data_128),
                    filter.user_data_64,
                    filter.user_data_32,
                    filter.code,
                    filter.reserved.to_bytes(58, "little"),
                    filter.timestamp_min,
                    filter.timestamp_max,
                    filter.limit,
                    filter.flags,
                )
            case QueryFilter():
                return _QUERY_FILTER.pack(
                    _wide(filter.user_data_128),
                    filter.user_data_64,
                    filter.user_data_32,
                    filter.ledger,
                    filter.code,
                    filter.reserved.to_bytes(6, "little"),
                    filter.timestamp_min,
                    filter.timestamp_max,
                    filter.limit,
                    filter.flags,
                )
            case ChangeEventsFilter():
                return _CHANGE_FILTER.pack(
                    filter.timestamp_min,
                    filter.timestamp_max,
                    filter.limit,
                    filter.reserved.to_bytes(44, "little"),
                )
    except (struct.error, OverflowError) as error:
        raise InvalidRequest(f"a field of the filter is out of its range: {error}") from None


def unpack_account_filter(data: bytes) -> AccountFilter:
    """A filter of an account's history."""
    account, u128, u64, u32, code, reserved, low, high, limit, flags = _unpack(_ACCOUNT_FILTER, data)
    return AccountFilter(
        _int(account), _int(u128), u64, u32, code, low, high, limit, flags, _int(reserved)
    )  # fmt: skip


def unpack_query_filter(data: bytes) -> QueryFilter:
    """A filter of accounts or transfers."""
    u128, u64, u32, ledger, code, reserved, low, high, limit, flags = _unpack(_QUERY_FILTER, data)
    return QueryFilter(_int(u128), u64, u32, ledger, code, low, high, limit, flags, _int(reserved))


def unpack_change_filter(data: bytes) -> ChangeEventsFilter:
    """A filter of change events."""
    low, high, limit, reserved = _unpack(_CHANGE_FILTER, data)
    return ChangeEventsFilter(low, high, limit, _int(reserved))


def pack_balances(balances: Iterable[AccountBalance]) -> bytes:
    """The records of balances, end to end."""
    return b"".join(
        [
            _BALANCE.pack(
                _wide(b.debits_pending),
                _wide(b.debits_posted),
                _wide(b.credits_pending),
                _wide(b.credits_posted),
                b.timestamp,
            )
            for b in balances
        ]
    )


def unpack_balances(data: bytes) -> list[AccountBalance]:
    """Balances from their records."""
    _check(data, RECORD_SIZE)
    return [
        AccountBalance(_int(dp), _int(d), _int(cp), _int(c), timestamp)
        for dp, d, cp, c, timestamp in _BALANCE.iter_unpack(data)
    ]


def pack_statement(lines: Iterable[StatementLine]) -> bytes:
    """Each line as its transfer's record and its balance's."""
    return b"".join([pack_transfers([line.transfer]) + pack_balances([line.balance]) for line in lines])


def unpack_statement(data: bytes) -> list[StatementLine]:
    """Statement lines from their records."""
    _check(data, _STATEMENT_LINE_SIZE)
    lines = []
    for at in range(0, len(data), _STATEMENT_LINE_SIZE):
        middle = at + RECORD_SIZE
        (transfer,) = unpack_transfers(data[at:middle])
        (balance,) = unpack_balances(data[middle : middle + RECORD_SIZE])
        lines.append(StatementLine(transfer, balance))
    return lines


def pack_change_events(events: Iterable[ChangeEvent]) -> bytes:
    """The records of change events, 384 bytes each."""
    return b"".join([_pack_event(event) for event in events])


def unpack_change_events(data: bytes) -> list[ChangeEvent]:
    """Change events from their records."""
    _check(data, _EVENT.size)
    return [_unpack_event(values) for values in _EVENT.iter_unpack(data)]


def _pack_event(event: ChangeEvent) -> bytes:
    t = event.transfer
    return _EVENT.pack(
        _wide(t.id), _wide(t.amount), _wide(t.pending_id), _wide(t.user_data_128),
        t.user_data_64, t.user_data_32, t.timeout, t.code, t.flags, t.ledger, int(event.type),
        *_account_values(event.debit_account), *_account_values(event.credit_account),
        event.timestamp, t.timestamp, event.debit_account.timestamp, event.credit_account.timestamp,
    )  # fmt: skip


def _account_values(a: Account) -> tuple[bytes | int, ...]:
    return (
        _wide(a.id), _wide(a.debits_pending), _wide(a.debits_posted),
        _wide(a.credits_pending), _wide(a.credits_posted),
        _wide(a.user_data_128), a.user_data_64, a.user_data_32, a.code, a.flags,
    )  # fmt: skip


def _unpack_event(values: tuple[bytes | int, ...]) -> ChangeEvent:
    n = [_int(v) if isinstance(v, bytes) else v for v in values]
    timestamp, transfer_timestamp, debit_timestamp, credit_timestamp = n[31:35]
    ledger = n[9]
    debit, credit = n[11:21], n[21:31]
    transfer = Transfer(
        n[0], debit[0], credit[0], n[1], n[2], n[3], n[4], n[5], n[6], ledger, n[7], n[8], transfer_timestamp
    )
    return ChangeEvent(
        ChangeEventType(n[10]),
        timestamp,
        transfer,
        _event_account(debit, ledger, debit_timestamp),
        _event_account(credit, ledger, credit_timestamp),
    )


def _event_account(n: list[int], ledger: int, timestamp: int) -> Account:
    return Account(
        n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], 0, ledger, n[8], n[9], timestamp
    )  # fmt: skip


def _unpack(layout: struct.Struct, data: bytes) -> tuple[Any, ...]:
    if len(data) != layout.size:
        raise InvalidRequest(f"a filter of this kind has {layout.size} bytes, not {len(data)}")
    return layout.unpack(data)


def _check(data: bytes, size: int) -> None:
    if len(data) % size:
        raise InvalidRequest(f"{len(data)} bytes are no whole number of {size}-byte records")
