"""Change events: every change of balances in order of timestamp, expiries included.

Transfers come from the tail and from sealed segments, expiries from their table.
Nothing above ``newest`` is shown: a batch appears wholly or not at all, so that
whoever goes on after the last event that he has seen misses none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from psycopg import AsyncConnection

from ledger.accounts import Accounts
from ledger.columns import TransferColumns
from ledger.contract import (
    TIMESTAMP_MAX,
    Account,
    ChangeEvent,
    ChangeEventsFilter,
    ChangeEventType,
    Transfer,
    TransferFlags,
)
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED, EXPIRY_COLUMNS, TRANSFER_COLUMNS
from ledger.segments import SEALED
from ledger.state import CLOSED
from ledger.tail_view import TailRow, TailView
from ledger.transfer_views import transfer_at

_SEALED_ROWS = f"SELECT {', '.join(TRANSFER_COLUMNS)} FROM {SEALED} WHERE timestamp "
_EXPIRIES = (
    f"SELECT {', '.join(EXPIRY_COLUMNS)} FROM ledger_expiry"
    " WHERE timestamp BETWEEN %s AND %s ORDER BY timestamp LIMIT %s"
)

_COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")

ReadConnection = AsyncConnection[tuple[Any, ...]]


async def get_change_events(
    connection: ReadConnection, view: TailView, filter: ChangeEventsFilter, newest: int
) -> list[ChangeEvent]:
    """The events that a filter asks for, up to the timestamp ``newest``."""
    low, high = filter.timestamp_min, min(filter.timestamp_max or TIMESTAMP_MAX, newest)
    rows: list[TailRow] = []
    if low < view.first_timestamp:
        sealed = await _sealed(
            connection, "BETWEEN %s AND %s ORDER BY timestamp LIMIT %s",
            (low, min(high, view.first_timestamp - 1), filter.limit),
        )  # fmt: skip
        rows += [TailRow(sealed, index) for index in range(len(sealed))]
    for columns in view.segments:
        start, stop = np.searchsorted(columns["timestamp"], [low, high + 1]).tolist()
        stop = min(stop, start + filter.limit - len(rows))
        rows += [TailRow(columns, index) for index in range(start, stop)]
    events = [_of_transfer(view.accounts, row) for row in rows]
    events += await _expiries(connection, view, low, high, filter.limit)
    # A transfer comes before an expiry of the same instant.
    events.sort(key=lambda event: (event.timestamp, event.type is ChangeEventType.TWO_PHASE_EXPIRED))
    return events[: filter.limit]


async def _sealed(connection: ReadConnection, where: str, values: Sequence[Any]) -> TransferColumns:
    cursor = await connection.execute(_SEALED_ROWS + where, values, binary=True)
    found = await cursor.fetchall()
    return TransferColumns.from_values([tuple(_plain(value) for value in row) for row in found])


def _plain(value: Any) -> Any:
    return getattr(value, "bytes", value)


async def _expiries(
    connection: ReadConnection, view: TailView, low: int, high: int, limit: int
) -> Iterable[ChangeEvent]:
    cursor = await connection.execute(_EXPIRIES, (low, high, limit), binary=True)
    expiries = [dict(zip(EXPIRY_COLUMNS, row, strict=True)) for row in await cursor.fetchall()]
    pending = {e["pending_timestamp"]: view.at(e["pending_timestamp"]) for e in expiries}
    older = [timestamp for timestamp, row in pending.items() if row is None]
    if older:
        sealed = await _sealed(connection, "= ANY(%s)", (older,))
        pending |= {int(t): TailRow(sealed, n) for n, t in enumerate(sealed["timestamp"].tolist())}
    events = []
    for expiry in expiries:
        row = pending[expiry["pending_timestamp"]]
        assert row is not None, "an expiry has its pending transfer"
        transfer = transfer_at(row.columns, row.index, view.accounts.ids)
        sides = [
            _account(
                view.accounts, expiry[f"{side}_account"], [expiry[f"{side}_{name}"] for name in _COUNTERS],
                expiry["flags"] & closed,
            )
            for side, closed in (("debit", DEBIT_CLOSED), ("credit", CREDIT_CLOSED))
        ]  # fmt: skip
        events.append(ChangeEvent(ChangeEventType.TWO_PHASE_EXPIRED, expiry["timestamp"], transfer, *sides))
    return events


def _of_transfer(accounts: Accounts, row: TailRow) -> ChangeEvent:
    transfer: Transfer = transfer_at(row.columns, row.index, accounts.ids)
    flags = int(row.columns["flags"][row.index])
    sides = []
    for side, closed in (("debit", DEBIT_CLOSED), ("credit", CREDIT_CLOSED)):
        slot = int(row.columns[f"{side}_account"][row.index])
        sides.append(_account(accounts, slot, row.counters(slot), flags & closed))
    return ChangeEvent(_type_of(transfer.flags), transfer.timestamp, transfer, *sides)


def _account(accounts: Accounts, slot: int, counters: Sequence[int], closed: int) -> Account:
    """An account as it stood after an event."""

    def wide(pair: Any) -> int:
        low, high = pair.tolist()
        return int(high) << 64 | int(low)

    created = int(accounts.created_flags[slot])
    debits_pending, debits_posted, credits_pending, credits_posted = counters
    return Account(
        wide(accounts.ids[slot]),
        debits_pending,
        debits_posted,
        credits_pending,
        credits_posted,
        wide(accounts.user_data_128[slot]),
        int(accounts.user_data_64[slot]),
        int(accounts.user_data_32[slot]),
        0,
        int(accounts.ledger[slot]),
        int(accounts.code[slot]),
        created | CLOSED if closed else created & ~CLOSED,
        int(accounts.timestamp[slot]),
    )


def _type_of(flags: int) -> ChangeEventType:
    if flags & TransferFlags.PENDING:
        return ChangeEventType.TWO_PHASE_PENDING
    if flags & TransferFlags.POST_PENDING_TRANSFER:
        return ChangeEventType.TWO_PHASE_POSTED
    if flags & TransferFlags.VOID_PENDING_TRANSFER:
        return ChangeEventType.TWO_PHASE_VOIDED
    return ChangeEventType.SINGLE_PHASE
