"""Reader: the contract's queries, over the tail in memory and sealed segments.

The caller takes a view of the tail when the question is asked, so that a read that
starts after an answer of the engine sees what that answer told; whatever is older
than the view is sealed, and stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ledger.account_head import AccountHead
from ledger.contract import (
    TIMESTAMP_MAX,
    AccountBalance,
    AccountFilter,
    AccountFilterFlags,
    AccountFlags,
    ChangeEvent,
    ChangeEventsFilter,
    InvalidFilter,
    QueryFilter,
    QueryFilterFlags,
    StatementLine,
    Transfer,
)
from ledger.filters import check_filter
from ledger.queries import change_events
from ledger.queries.archived import ArchivedLookups
from ledger.queries.books import Books
from ledger.queries.history import WALK_STEPS, newest_first, newest_postings, oldest_first
from ledger.queries.questions import TransferCriteria, TransferSearch
from ledger.queries.storage import ReadSession
from ledger.queries.transfer_search import begin_search
from ledger.slot_map import ABSENT
from ledger.tail_view import TailRow, TailView


class Reader:
    """Answers to the contract's queries; those for accounts stand in ``asking``."""

    def __init__(self, books: Books, archived: ArchivedLookups) -> None:
        self._books = books
        self._archived = archived

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        view = (await self._books.newest()).view
        return await self._books.read(lambda session: find_transfers(session, view, ids, self._archived))

    async def get_account_transfers(self, filter: AccountFilter) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        return [line.transfer for line in await self._history(filter)]

    async def get_account_balances(self, filter: AccountFilter) -> list[AccountBalance]:
        """See :class:`ledger.interface.Ledger`."""
        return [line.balance for line in await self._history(filter, AccountFlags.HISTORY)]

    async def query_transfers(self, filter: QueryFilter) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        check_filter(filter)
        view = (await self._books.newest()).view
        return await self._books.read(lambda session: query_transfers(session, view, filter))

    async def get_change_events(self, filter: ChangeEventsFilter) -> list[ChangeEvent]:
        """See :class:`ledger.interface.Ledger`."""
        check_filter(filter)
        newest = await self._books.newest()
        return await self._books.read(
            lambda session: change_events.get_change_events(
                session, newest.view, self._archived, filter, newest.timestamp
            )
        )

    async def get_statement(self, account_id: int, before: int | None, limit: int) -> list[StatementLine]:
        """See :class:`ledger.interface.Ledger`."""
        if before is not None and not 1 <= before <= TIMESTAMP_MAX:
            raise InvalidFilter("before", "must be 1 to 2^63-1")
        newest = TIMESTAMP_MAX if before is None else before - 1
        if newest == 0:
            return []
        flags = AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS | AccountFilterFlags.REVERSED
        return await self._history(
            AccountFilter(account_id=account_id, timestamp_max=newest, limit=limit, flags=int(flags))
        )

    async def _history(self, filter: AccountFilter, needs: int = 0) -> list[StatementLine]:
        """An account's history; nothing where it lacks the flags in ``needs``."""
        check_filter(filter)
        head, newest = await self._books.find_history(filter.account_id)
        if head is None or not head.last_transfer or head.flags & needs != needs:
            return []
        return await self._books.read(lambda session: select_history(session, newest.view, head, filter))


async def select_history(
    session: ReadSession, view: TailView, head: AccountHead, filter: AccountFilter
) -> list[StatementLine]:
    """The lines of an account's history that a filter asks for, in its order."""
    lines: list[StatementLine] = []
    upper = filter.timestamp_max or TIMESTAMP_MAX
    if filter.flags & AccountFilterFlags.REVERSED:
        at = head.last_transfer
        if at > upper:
            slots = np.array([head.slot])
            at = (await newest_postings(session, view, slots, upper)).get(head.slot, 0)
        rows = newest_first(
            session, view, head.slot, at, oldest=filter.timestamp_min, steps=min(filter.limit, WALK_STEPS)
        )
    else:
        rows = oldest_first(session, view, head.slot, oldest=filter.timestamp_min, newest=upper)
    async for row in rows:
        transfer = view.transfer(row)
        if _matches(transfer, filter):
            balance = AccountBalance(*row.counters(head.slot), transfer.timestamp)
            lines.append(StatementLine(transfer, balance))
            if len(lines) == filter.limit:
                break
    return lines


async def query_transfers(session: ReadSession, view: TailView, filter: QueryFilter) -> list[Transfer]:
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
    page = begin_search(session, view, search, {}, None, TIMESTAMP_MAX)
    return (await page.page(budget_seconds=None)).transfers


def named(value: int) -> tuple[int, ...]:
    """What a field of the contract's filter means as a list of values: 0 is any."""
    return (value,) if value else ()


async def find_transfers(
    session: ReadSession, view: TailView, ids: Sequence[int], archived: ArchivedLookups
) -> list[Transfer]:
    """The transfers that exist, in the order asked; an id asked twice answers twice."""
    wanted = list(set(ids))
    found: dict[int, Transfer] = {}
    for segment in view.tail.segments:
        rows = segment.find(wanted)
        columns = segment.columns()
        for transfer_id, index in zip(wanted, rows, strict=True):
            if index != ABSENT:
                found[transfer_id] = view.transfer(TailRow(columns, index))
    older = [i for i in wanted if i not in found]
    if older:
        found |= {transfer.id: transfer for transfer in await session.transfers_by_id(older)}
        found |= await archived.find(session, view, [i for i in older if i not in found])
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
