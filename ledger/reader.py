"""Reader: histories and queries, in SQL over the journal.

An account has no index of its transfers: each row points back to the account's
previous one, and a history is a walk along those pointers, newest first. All
functions take a read-only connection to the primary; a read that starts after
an answer of the engine sees what that answer told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql

from ledger.contract import (
    TIMESTAMP_MAX,
    Account,
    AccountBalance,
    AccountFilter,
    AccountFilterFlags,
    ChangeEvent,
    ChangeEventsFilter,
    ChangeEventType,
    QueryFilter,
    QueryFilterFlags,
    StatementLine,
    Transfer,
    TransferFlags,
)
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED, counters_of, signed, unsigned
from ledger.state import CLOSED
from ledger.stored import TRANSFER_JOINS, TRANSFER_SELECT, transfer_from_row

ReadConnection = AsyncConnection[tuple[Any, ...]]

WALK_STEPS = 512
"""Rows of a history fetched at a time."""

_BALANCES = """,
       t.debit_debits_pending, t.debit_debits_posted, t.debit_credits_pending, t.debit_credits_posted,
       t.credit_debits_pending, t.credit_debits_posted, t.credit_credits_pending, t.credit_credits_posted
"""

_WALK = (
    """
WITH RECURSIVE walk (timestamp, next, steps) AS (
    SELECT t.timestamp,
           CASE WHEN t.debit_account = %(slot)s THEN t.debit_previous ELSE t.credit_previous END, 1
    FROM ledger_transfer t WHERE t.timestamp = %(head)s
  UNION ALL
    SELECT t.timestamp,
           CASE WHEN t.debit_account = %(slot)s THEN t.debit_previous ELSE t.credit_previous END,
           walk.steps + 1
    FROM walk JOIN ledger_transfer t ON t.timestamp = walk.next
    WHERE walk.steps < %(steps)s AND walk.next >= %(timestamp_min)s
)
"""
    + TRANSFER_SELECT
    + _BALANCES
    + ", walk.next, t.debit_account FROM walk JOIN ledger_transfer t ON t.timestamp = walk.timestamp"
    + TRANSFER_JOINS
    + "ORDER BY t.timestamp DESC"
)


@dataclass(slots=True, frozen=True)
class AccountHead:
    """Where an account's history begins: its slot, newest transfer and flags."""

    slot: int
    last_transfer: int
    flags: int


async def walk_history(
    connection: ReadConnection, head: AccountHead, *, timestamp_min: int = 0, steps: int = WALK_STEPS
) -> AsyncIterator[StatementLine]:
    """An account's transfers, newest first, with its counters after each."""
    at = head.last_transfer
    while at and at >= timestamp_min:
        cursor = await connection.execute(
            _WALK,
            {"slot": head.slot, "head": at, "steps": steps, "timestamp_min": timestamp_min},
            binary=True,
        )
        rows = await cursor.fetchall()
        for row in rows:
            after = row[13:17] if row[22] == head.slot else row[17:21]
            transfer = transfer_from_row(row)
            yield StatementLine(transfer, AccountBalance(*counters_of(*after), transfer.timestamp))
        at = rows[-1][21] if rows else 0


async def select_history(
    connection: ReadConnection, head: AccountHead, filter: AccountFilter
) -> list[StatementLine]:
    """The lines of an account's history that a filter asks for, in its order."""
    lines: list[StatementLine] = []
    newest_first = bool(filter.flags & AccountFilterFlags.REVERSED)
    upper = filter.timestamp_max or TIMESTAMP_MAX
    steps = min(WALK_STEPS, max(filter.limit, 16)) if newest_first else WALK_STEPS
    async for line in walk_history(connection, head, timestamp_min=filter.timestamp_min, steps=steps):
        if line.transfer.timestamp > upper or not _matches(line.transfer, filter):
            continue
        lines.append(line)
        if newest_first and len(lines) == filter.limit:
            break
    # Oldest first: the walk had to reach the far end to know where it begins.
    return lines if newest_first else lines[: -filter.limit - 1 : -1]


async def query_transfers(connection: ReadConnection, filter: QueryFilter) -> list[Transfer]:
    """Transfers by their fields, in order of timestamp."""
    where, values = _conditions(filter)
    statement = sql.SQL(TRANSFER_SELECT + "FROM ledger_transfer t" + TRANSFER_JOINS) + where + _order(filter)
    cursor = await connection.execute(statement, values, binary=True)
    return [transfer_from_row(row) for row in await cursor.fetchall()]


async def query_account_ids(connection: ReadConnection, filter: QueryFilter) -> list[int]:
    """Ids of accounts by their fields, in order of timestamp."""
    where, values = _conditions(filter)
    statement = sql.SQL("SELECT t.id FROM ledger_account t ") + where + _order(filter)
    cursor = await connection.execute(statement, values, binary=True)
    return [row[0].int for row in await cursor.fetchall()]


async def find_transfers(connection: ReadConnection, ids: Sequence[int]) -> list[Transfer]:
    """The transfers that exist, in the order asked; an id asked twice answers twice."""
    statement = TRANSFER_SELECT + "FROM ledger_transfer t" + TRANSFER_JOINS + "WHERE t.id = ANY(%s)"
    cursor = await connection.execute(statement, ([UUID(int=i) for i in set(ids)],), binary=True)
    found = {row[0].int: transfer_from_row(row) for row in await cursor.fetchall()}
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


_EVENT_ACCOUNT = ", {a}.user_data_128, {a}.user_data_64, {a}.user_data_32, {a}.code, {a}.flags, {a}.timestamp"

_EVENTS = (
    TRANSFER_SELECT
    + ", e.at, e.kind, e.closed, e.after"
    + _EVENT_ACCOUNT.format(a="d")
    + _EVENT_ACCOUNT.format(a="c")
    + """
FROM (
    (SELECT timestamp AS at, timestamp AS transfer, 0 AS kind, flags AS closed, ARRAY[
        coalesce(debit_debits_pending, 0), debit_debits_posted,
        coalesce(debit_credits_pending, 0), debit_credits_posted,
        coalesce(credit_debits_pending, 0), credit_debits_posted,
        coalesce(credit_credits_pending, 0), credit_credits_posted] AS after
     FROM ledger_transfer WHERE timestamp BETWEEN %(low)s AND %(high)s ORDER BY timestamp LIMIT %(limit)s)
  UNION ALL
    (SELECT timestamp, pending_timestamp, 1, flags, ARRAY[
        debit_debits_pending, debit_debits_posted, debit_credits_pending, debit_credits_posted,
        credit_debits_pending, credit_debits_posted, credit_credits_pending, credit_credits_posted]
     FROM ledger_expiry WHERE timestamp BETWEEN %(low)s AND %(high)s ORDER BY timestamp LIMIT %(limit)s)
) e JOIN ledger_transfer t ON t.timestamp = e.transfer
"""
    + TRANSFER_JOINS
    + "ORDER BY e.at, e.kind LIMIT %(limit)s"
)


async def get_change_events(connection: ReadConnection, filter: ChangeEventsFilter) -> list[ChangeEvent]:
    """Every change of balances in order of timestamp, expiries included."""
    cursor = await connection.execute(
        _EVENTS,
        {"low": filter.timestamp_min, "high": filter.timestamp_max or TIMESTAMP_MAX, "limit": filter.limit},
        binary=True,
    )
    return [_event_from_row(row) for row in await cursor.fetchall()]


def _event_from_row(row: tuple[Any, ...]) -> ChangeEvent:
    transfer = transfer_from_row(row)
    at, kind, closed, after = row[13:17]
    return ChangeEvent(
        ChangeEventType.TWO_PHASE_EXPIRED if kind else _event_type(transfer.flags),
        at,
        transfer,
        _event_account(transfer.debit_account_id, transfer, row[17:23], after[:4], closed & DEBIT_CLOSED),
        _event_account(transfer.credit_account_id, transfer, row[23:29], after[4:], closed & CREDIT_CLOSED),
    )


def _event_account(
    account_id: int, transfer: Transfer, columns: Sequence[Any], after: Sequence[int], closed: int
) -> Account:
    debits_pending, debits_posted, credits_pending, credits_posted = after
    return Account(
        account_id,
        debits_pending,
        debits_posted,
        credits_pending,
        credits_posted,
        0 if columns[0] is None else columns[0].int,
        unsigned(columns[1], 64),
        unsigned(columns[2], 32),
        0,
        transfer.ledger,
        unsigned(columns[3], 16),
        columns[4] | CLOSED if closed else columns[4] & ~CLOSED,
        columns[5],
    )


def _event_type(flags: int) -> ChangeEventType:
    if flags & TransferFlags.PENDING:
        return ChangeEventType.TWO_PHASE_PENDING
    if flags & TransferFlags.POST_PENDING_TRANSFER:
        return ChangeEventType.TWO_PHASE_POSTED
    if flags & TransferFlags.VOID_PENDING_TRANSFER:
        return ChangeEventType.TWO_PHASE_VOIDED
    return ChangeEventType.SINGLE_PHASE
