"""Reader: the contract's queries, over the tail in memory and sealed segments in SQL.

The caller takes a view of the tail when the question is asked, so that a read that
starts after an answer of the engine sees what that answer told; whatever is older
than the view is sealed, and stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np

from ledger.account_head import AccountHead
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
from ledger.queries.archived import ArchivedLookups
from ledger.queries.history import WALK_STEPS, newest_first, newest_postings, oldest_first
from ledger.queries.questions import TransferCriteria, TransferSearch
from ledger.queries.sealed_columns import ReadConnection
from ledger.queries.transfer_search import begin_search
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
    """Transfers by their fields, in order of timestamp, however long it takes."""
    search = TransferSearch(
        (
            TransferCriteria(
                ledgers=named(filter.ledger),
                codes=named(filter.code),
                user_data_128=named(filter.user_data_128),
                user_data_64=named(filter.user_data_64),
                user_data_32=named(filter.user_data_32),
            ),
        ),
        filter.timestamp_min,
        filter.timestamp_max,
        bool(filter.flags & QueryFilterFlags.REVERSED),
        filter.limit,
    )
    page = begin_search(connection, view, search, {}, None, TIMESTAMP_MAX)
    return (await page.page(budget_seconds=None)).transfers


def named(value: int) -> tuple[int, ...]:
    """What a field of the contract's filter means as a list of values: 0 is any."""
    return (value,) if value else ()


async def find_transfers(
    connection: ReadConnection, view: TailView, tail: Tail, ids: Sequence[int], archived: ArchivedLookups
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
        found |= await archived.find(connection, view, [i for i in wanted if i not in found])
    return [found[i] for i in ids if i in found]


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
