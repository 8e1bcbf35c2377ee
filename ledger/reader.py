"""Reader: the contract's queries, over the tail in memory and sealed segments in SQL.

The caller takes a view of the tail when the question is asked, so that a read that
starts after an answer of the engine sees what that answer told; whatever is older
than the view is sealed, and stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from psycopg import sql

from ledger.account_head import AccountHead
from ledger.columns import TransferColumns
from ledger.contract import (
    TIMESTAMP_MAX,
    AccountBalance,
    AccountFilter,
    AccountFilterFlags,
    QueryFilter,
    QueryFilterFlags,
    StatementLine,
    Transfer,
)
from ledger.history import WALK_STEPS, newest_first, newest_postings, oldest_first
from ledger.rows import signed
from ledger.sealed_columns import ReadConnection
from ledger.sealed_rows import TRANSFER_JOINS, TRANSFER_SELECT, transfer_from_row
from ledger.segments import SEALED
from ledger.slot_map import ABSENT
from ledger.tail import Tail
from ledger.tail_view import TailRow, TailView


async def select_history(
    connection: ReadConnection, view: TailView, head: AccountHead, filter: AccountFilter
) -> list[StatementLine]:
    """The lines of an account's history that a filter asks for, in its order."""
    lines: list[StatementLine] = []
    upper = filter.timestamp_max or TIMESTAMP_MAX
    if filter.flags & AccountFilterFlags.REVERSED:
        at = head.last_transfer
        if at > upper:
            slots = np.array([head.slot])
            at = (await newest_postings(connection, view, slots, upper)).get(head.slot, 0)
        rows = newest_first(
            connection, view, head.slot, at, oldest=filter.timestamp_min, steps=min(filter.limit, WALK_STEPS)
        )
    else:
        rows = oldest_first(connection, view, head.slot, oldest=filter.timestamp_min, newest=upper)
    async for row in rows:
        transfer = view.transfer(row)
        if _matches(transfer, filter):
            balance = AccountBalance(*row.counters(head.slot), transfer.timestamp)
            lines.append(StatementLine(transfer, balance))
            if len(lines) == filter.limit:
                break
    return lines


async def query_transfers(connection: ReadConnection, view: TailView, filter: QueryFilter) -> list[Transfer]:
    """Transfers by their fields, in order of timestamp."""
    newest_first = bool(filter.flags & QueryFilterFlags.REVERSED)
    found = _query_tail(view, filter) if newest_first else []
    if len(found) < filter.limit and filter.timestamp_min < view.first_timestamp:
        older = replace(
            filter,
            limit=filter.limit - len(found),
            timestamp_max=min(filter.timestamp_max or TIMESTAMP_MAX, view.first_timestamp - 1),
        )
        where, values = _conditions(older)
        statement = sql.SQL(f"{TRANSFER_SELECT} FROM {SEALED} t {TRANSFER_JOINS}") + where + _order(filter)
        cursor = await connection.execute(statement, values, binary=True)
        found += [transfer_from_row(row) for row in await cursor.fetchall()]
    if not newest_first and len(found) < filter.limit:
        found += _query_tail(view, replace(filter, limit=filter.limit - len(found)))
    return found


def _query_tail(view: TailView, filter: QueryFilter) -> list[Transfer]:
    """What the tail has for a filter, in its order."""
    newest_first = bool(filter.flags & QueryFilterFlags.REVERSED)
    found: list[Transfer] = []
    for columns in view.segments[::-1] if newest_first else view.segments:
        rows = np.flatnonzero(_selected(columns, filter))
        if newest_first:
            rows = rows[::-1]
        chosen = rows[: filter.limit - len(found)].tolist()
        found += [view.transfer(TailRow(columns, index)) for index in chosen]
    return found


def _selected(columns: TransferColumns, filter: QueryFilter) -> npt.NDArray[np.bool_]:
    timestamps = columns["timestamp"]
    chosen = (timestamps >= filter.timestamp_min) & (timestamps <= (filter.timestamp_max or TIMESTAMP_MAX))
    if filter.user_data_128:
        low, high = filter.user_data_128 & (2**64 - 1), filter.user_data_128 >> 64
        values = columns["user_data_128"]
        chosen &= (values[:, 0] == low) & (values[:, 1] == high)
    for name, bits in (("user_data_64", 64), ("user_data_32", 32), ("ledger", 32), ("code", 16)):
        value = getattr(filter, name)
        if value:
            chosen &= columns[name] == signed(value, bits)
    return chosen


async def query_account_ids(connection: ReadConnection, filter: QueryFilter) -> list[int]:
    """Ids of accounts by their fields, in order of timestamp."""
    where, values = _conditions(filter)
    statement = sql.SQL("SELECT t.id FROM ledger_account t ") + where + _order(filter)
    cursor = await connection.execute(statement, values, binary=True)
    return [row[0].int for row in await cursor.fetchall()]


async def find_transfers(
    connection: ReadConnection, view: TailView, tail: Tail, ids: Sequence[int]
) -> list[Transfer]:
    """The transfers that exist, in the order asked; an id asked twice answers twice."""
    wanted = list(set(ids))
    found: dict[int, Transfer] = {}
    for segment in tail.segments:
        rows = segment.find(wanted)
        columns = segment.columns()
        for transfer_id, index in zip(wanted, rows, strict=True):
            if index != ABSENT:
                found[transfer_id] = view.transfer(TailRow(columns, index))
    older = [UUID(int=i) for i in wanted if i not in found]
    if older:
        statement = f"{TRANSFER_SELECT} FROM {SEALED} t {TRANSFER_JOINS} WHERE t.id = ANY(%s)"
        cursor = await connection.execute(statement, (older,), binary=True)
        found |= {row[0].int: transfer_from_row(row) for row in await cursor.fetchall()}
    return [found[i] for i in ids if i in found]


def _conditions(filter: QueryFilter) -> tuple[sql.Composed, dict[str, Any]]:
    fields: dict[str, Any] = {}
    if filter.user_data_128:
        fields["user_data_128"] = UUID(int=filter.user_data_128)
    for name, bits in (("user_data_64", 64), ("user_data_32", 32), ("ledger", 32), ("code", 16)):
        value = getattr(filter, name)
        if value:
            fields[name] = signed(value, bits)
    parts: list[sql.Composable] = [
        sql.SQL("t.{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in fields
    ]
    parts.append(sql.SQL("t.timestamp BETWEEN %(timestamp_min)s AND %(timestamp_max)s"))
    fields["timestamp_min"] = filter.timestamp_min
    fields["timestamp_max"] = filter.timestamp_max or TIMESTAMP_MAX
    fields["limit"] = filter.limit
    return sql.SQL("WHERE ") + sql.SQL(" AND ").join(parts), fields


def _order(filter: QueryFilter) -> sql.SQL:
    if filter.flags & QueryFilterFlags.REVERSED:
        return sql.SQL(" ORDER BY t.timestamp DESC LIMIT %(limit)s")
    return sql.SQL(" ORDER BY t.timestamp LIMIT %(limit)s")


def _matches(transfer: Transfer, filter: AccountFilter) -> bool:
    on_debit = transfer.debit_account_id == filter.account_id
    side = AccountFilterFlags.DEBITS if on_debit else AccountFilterFlags.CREDITS
    return (
        bool(filter.flags & side)
        and filter.user_data_128 in (0, transfer.user_data_128)
        and filter.user_data_64 in (0, transfer.user_data_64)
        and filter.user_data_32 in (0, transfer.user_data_32)
        and filter.code in (0, transfer.code)
    )
