"""Asking: the engine's answers to the queries beyond the contract's.

Each answer stands on one view of the newest transfers, taken in order with the
writes, so that it knows all that was answered before it was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ledger.commands import Instant
from ledger.contract import (
    BATCH_MAX,
    CHANGE_EVENTS_MAX,
    ID_MAX,
    TIMESTAMP_MAX,
    Account,
    InvalidFilter,
    QueryFilter,
    QueryFilterFlags,
)
from ledger.queries import (
    account_search,
    change_events,
    past_balances,
    pending_states,
    reader,
    statements,
    transfer_search,
)
from ledger.queries.archived import ArchivedLookups
from ledger.queries.books import Books
from ledger.queries.change_events import Position
from ledger.queries.criteria import check_criteria, check_values, named_accounts
from ledger.queries.cursors import read_cursor, write_cursor
from ledger.queries.questions import (
    WAIT_SECONDS_MAX,
    AccountCriteria,
    AccountPage,
    AccountSearch,
    BalancesAsOf,
    BalancesPage,
    ChangesAfter,
    ChangesPage,
    PendingState,
    PeriodStatement,
    Snapshot,
    StatementPage,
    TransferPage,
    TransferSearch,
)
from ledger.queries.storage import ReadSession
from ledger.queries.wakeups import Wakeups
from ledger.state import State

EMPTY_KEY = bytes(32)
"""What the cursors of an empty journal are known by: nothing in it could be another's."""


class Queries:
    """Answers to :mod:`ledger.queries.questions`."""

    def __init__(self, books: Books, wakeups: Wakeups, archived: ArchivedLookups) -> None:
        self._archived = archived
        self._books = books
        self._wakeups = wakeups
        self._key: bytes | None = None
        self.budget_seconds = transfer_search.BUDGET_SECONDS
        """How long a page of a search may look."""

    async def search_transfers(self, search: TransferSearch) -> TransferPage:
        """See :class:`ledger.interface.Ledger`."""
        check_criteria(search.any_of)
        _check_page(search, BATCH_MAX)
        _check_times(search)
        key = await self._ledger_key()
        after = read_cursor(key, search, search.cursor, 1)[0] if search.cursor is not None else None
        newest = await self._books.newest()

        async def ask(session: ReadSession) -> transfer_search.Found:
            slots = await session.slots_of(named_accounts(search.any_of))
            page = transfer_search.begin_search(session, newest.view, search, slots, after, newest.timestamp)
            return await page.page(self.budget_seconds)

        found = await self._books.read(ask)
        cursor = None if found.reached is None else write_cursor(key, search, (found.reached,))
        return TransferPage(found.transfers, cursor, found.complete)

    async def search_accounts(self, search: AccountSearch) -> AccountPage:
        """See :class:`ledger.interface.Ledger`."""
        account_search.check_account_criteria(search.any_of)
        _check_page(search, BATCH_MAX)
        _check_times(search)
        key = await self._ledger_key()
        after = read_cursor(key, search, search.cursor, 1)[0] if search.cursor is not None else None
        deadline = time.monotonic() + self.budget_seconds
        accounts, after, complete = await self._find_accounts(search, after, deadline)
        return AccountPage(accounts, None if after is None else write_cursor(key, search, (after,)), complete)

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        """See :class:`ledger.interface.Ledger`."""
        search = AccountSearch(
            (
                AccountCriteria(
                    ledgers=reader.named(filter.ledger),
                    codes=reader.named(filter.code),
                    user_data_128=reader.named(filter.user_data_128),
                    user_data_64=reader.named(filter.user_data_64),
                    user_data_32=reader.named(filter.user_data_32),
                ),
            ),
            filter.timestamp_min,
            filter.timestamp_max,
            bool(filter.flags & QueryFilterFlags.REVERSED),
            filter.limit,
        )
        accounts, _, _ = await self._find_accounts(search, None, None)
        return accounts

    async def _find_accounts(
        self, search: AccountSearch, after: int | None, deadline: float | None
    ) -> tuple[list[Account], int | None, bool]:
        """The next accounts, the slot to go on after, and whether there was time for all that was asked."""
        accounts: list[Account] = []
        while True:
            room = search.limit - len(accounts)
            stretch = await self._books.inspect(
                partial(account_search.search_stretch, search=search, after=after, limit=room)
            )
            accounts += stretch.accounts
            after = stretch.reached
            if after is None or len(accounts) == search.limit:
                return accounts, after, True
            if deadline is not None and time.monotonic() > deadline:
                return accounts, after, False

    async def get_balances_as_of(self, question: BalancesAsOf) -> BalancesPage:
        """See :class:`ledger.interface.Ledger`."""
        _check_as_of(question)
        key = await self._ledger_key()
        newest = await self._books.newest()
        after, timestamp = -1, min(question.timestamp or TIMESTAMP_MAX, newest.timestamp)
        if question.cursor is not None:
            after, timestamp = read_cursor(key, question, question.cursor, 2)
        accounts = newest.view.accounts
        if question.account_ids:
            known = await self._books.read(lambda session: session.slots_of(question.account_ids))
            slots = [known[i] for i in question.account_ids if i in known]
            slots = [slot for slot in slots if int(accounts.timestamp[slot]) <= timestamp]
            more = False
        else:
            slots, more = await self._slots_as_of(question, after, timestamp)
        found = await self._books.read(
            lambda session: past_balances.standings(session, newest.view, slots, timestamp)
        )
        cursor = write_cursor(key, question, (slots[-1], timestamp)) if more else None
        return BalancesPage(timestamp, past_balances.accounts_at(accounts, slots, found), cursor)

    async def _slots_as_of(
        self, question: BalancesAsOf, after: int, timestamp: int
    ) -> tuple[list[int], bool]:
        """The next page's accounts, and whether there are more."""
        slots: list[int] = []
        reached: int | None = after
        while reached is not None and len(slots) <= question.limit:
            chosen, reached = await self._books.inspect(
                partial(_choose_slots, after=reached, timestamp=timestamp, question=question)
            )
            slots += chosen
        return slots[: question.limit], len(slots) > question.limit

    async def get_snapshot(self, ids: Sequence[int]) -> Snapshot:
        """See :class:`ledger.interface.Ledger`."""

        def ask(state: State, instant: Instant) -> Snapshot:
            found = [account for i in ids if (account := state.accounts.to_account(i)) is not None]
            return Snapshot(instant.timestamp, instant.sequence, found)

        return await self._books.inspect(ask)

    async def get_pending_states(self, ids: Sequence[int]) -> list[PendingState]:
        """See :class:`ledger.interface.Ledger`."""
        newest = await self._books.newest()
        view = newest.view

        async def ask(session: ReadSession) -> list[PendingState]:
            transfers = await reader.find_transfers(session, view, ids, self._archived)
            return await pending_states.states_of(session, view, transfers)

        return await self._books.read(ask)

    async def get_period_statement(self, question: PeriodStatement) -> StatementPage:
        """See :class:`ledger.interface.Ledger`."""
        if not 0 < question.account_id < ID_MAX:
            raise InvalidFilter("account_id", "names no account")
        _check_page(question, BATCH_MAX)
        _check_times(question)
        key = await self._ledger_key()
        newest = await self._books.newest()
        upto = min(question.timestamp_max or TIMESTAMP_MAX, newest.timestamp)
        position = None
        if question.cursor is not None:
            position = read_cursor(key, question, question.cursor, 7)
            upto = position[2]
        view = newest.view

        async def ask(session: ReadSession) -> StatementPage:
            slots = await session.slots_of([question.account_id])
            if not slots:
                raise InvalidFilter("account_id", "there is no such account")
            slot = slots[question.account_id]
            opening = await statements.balance_at(session, view, slot, question.timestamp_min - 1)
            closing = await statements.balance_at(session, view, slot, upto)
            if position is None:
                after = await statements.begin_after(session, view, opening, question.timestamp_min)
                before = _counters(opening)
            else:
                after, before = Position(*position[:2]), _counters_of(position[3:])
            entries, reached = await statements.entries_after(
                session, view, self._archived, slot, after, before, upto, question.limit
            )
            cursor = None
            if len(entries) == question.limit:
                last = _counters(entries[-1].balance)
                cursor = write_cursor(key, question, (reached.transfer, reached.expiry, upto, *last))
            return StatementPage(opening, closing, entries, cursor)

        return await self._books.read(ask)

    async def get_changes(self, question: ChangesAfter) -> ChangesPage:
        """See :class:`ledger.interface.Ledger`."""
        _check_page(question, CHANGE_EVENTS_MAX)
        if not 0 <= question.timestamp_min <= TIMESTAMP_MAX:
            raise InvalidFilter("timestamp_min", "must be 0 (open) or 1 to 2^63-1")
        if not 0 <= question.wait_seconds <= WAIT_SECONDS_MAX:
            raise InvalidFilter("wait_seconds", f"must be 0 to {WAIT_SECONDS_MAX}")
        key = await self._ledger_key()
        after = Position(question.timestamp_min - 1, question.timestamp_min - 1)
        # Where a follower began is no part of where it stands.
        question = replace(question, timestamp_min=0)
        if question.cursor is not None:
            after = _position_of(key, question, question.cursor)
        deadline = time.monotonic() + question.wait_seconds
        while True:
            bell = self._wakeups.take_bell() if question.wait_seconds else None
            try:
                newest = await self._books.newest()
                events = await self._books.read(
                    partial(
                        change_events.events_after, view=newest.view, archived=self._archived,
                        after=after, newest=newest.timestamp, limit=question.limit,
                    )
                )  # fmt: skip
                remaining_seconds = deadline - time.monotonic()
                if (
                    events
                    or bell is None
                    or remaining_seconds <= 0
                    or not await self._wakeups.wait(bell, remaining_seconds)
                ):
                    reached = change_events.position_after(after, events)
                    cursor = write_cursor(key, question, (reached.transfer, reached.expiry))
                    return ChangesPage(events, cursor)
            finally:
                if bell is not None:
                    self._wakeups.drop(bell)

    async def _ledger_key(self) -> bytes:
        """What this ledger's cursors are known by: the hash of its first batch."""
        if self._key is None:
            self._key = await self._books.read(lambda session: session.first_hash())
        return self._key or EMPTY_KEY


def _position_of(key: bytes, question: ChangesAfter, cursor: str) -> Position:
    """Where a follower stands; one that began before there was anything goes on with what came then."""
    try:
        return Position(*read_cursor(key, question, cursor, 2))
    except InvalidFilter:
        return Position(*read_cursor(EMPTY_KEY, question, cursor, 2))


def _choose_slots(
    state: State, _: Instant, *, after: int, timestamp: int, question: BalancesAsOf
) -> tuple[list[int], int | None]:
    return account_search.choose_slots(state, after, timestamp, question.ledgers, question.codes)


def _counters(balance: Any) -> tuple[int, int, int, int]:
    return balance.debits_pending, balance.debits_posted, balance.credits_pending, balance.credits_posted


def _counters_of(numbers: Sequence[int]) -> tuple[int, int, int, int]:
    debits_pending, debits_posted, credits_pending, credits_posted = numbers
    return debits_pending, debits_posted, credits_pending, credits_posted


def _check_page(question: Any, limit_max: int) -> None:
    if not 1 <= question.limit <= limit_max:
        raise InvalidFilter("limit", f"must be 1 to {limit_max}")


def _check_times(question: Any) -> None:
    for name in ("timestamp_min", "timestamp_max"):
        if not 0 <= getattr(question, name) <= TIMESTAMP_MAX:
            raise InvalidFilter(name, "must be 0 (open) or 1 to 2^63-1")
    if question.timestamp_max and question.timestamp_min > question.timestamp_max:
        raise InvalidFilter("timestamp_min", "is later than timestamp_max")


def _check_as_of(question: BalancesAsOf) -> None:
    _check_page(question, BATCH_MAX)
    if not 0 <= question.timestamp <= TIMESTAMP_MAX:
        raise InvalidFilter("timestamp", "must be 0 (now) or 1 to 2^63-1")
    check_values("ledgers", question.ledgers, 0, 2**32 - 1)
    check_values("codes", question.codes, 0, 2**16 - 1)
    if len(question.account_ids) > BATCH_MAX:
        raise InvalidFilter("account_ids", f"holds at most {BATCH_MAX} ids")
    if any(not 0 < i < ID_MAX for i in question.account_ids):
        raise InvalidFilter("account_ids", "has an id that no account can have")
    if question.account_ids and (question.ledgers or question.codes or question.cursor):
        raise InvalidFilter("account_ids", "stands alone: it names what is asked for, all at once")
