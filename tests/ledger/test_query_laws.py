"""Laws of the queries on random journals in tiny segments: SQL, masks and plain Python agree.

One journal for the module, which goes on growing: rows arrive between the pages.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from random import Random

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.clock import SettableClock
from ledger.contract import AccountFilter, ChangeEvent, TransferPendingStatus
from ledger.engine import LedgerEngine
from ledger.queries.questions import (
    AccountCriteria,
    AccountSearch,
    BalancesAsOf,
    ChangesAfter,
    PeriodStatement,
    TransferCriteria,
    TransferSearch,
)
from tests.ledger import model_queries
from tests.ledger.invariants import check_journal
from tests.ledger.journaled_duel import JournaledDuel
from tests.ledger.streams import ACCOUNT_IDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEGMENT_ROWS = 12
STEPS = 60

laws = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Journal:
    """An engine over many small segments, and the model of what is in it."""

    duel: JournaledDuel
    engine: LedgerEngine

    async def grow(self, steps: int) -> None:
        for _ in range(steps):
            await self.duel.step(self.engine)
        self.duel.model.sweep(self.duel.stream.now)
        await self.engine.lookup_accounts([])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def journal(shared_database_url: str, shared_clock: SettableClock) -> AsyncIterator[Journal]:
    duel = JournaledDuel(Random(5), shared_clock)
    duel.stream.plain_percent, duel.stream.huge_percent = 25, 1
    engine = await LedgerEngine.start(shared_database_url, shared_clock, segment_rows=SEGMENT_ROWS)
    journal = Journal(duel, engine)
    for _ in range(4):
        await journal.grow(STEPS // 4)
        await engine.wait_until_sealed()
    assert len(duel.model.books.transfers) > 10 * SEGMENT_ROWS
    yield journal
    await engine.close()
    check_journal(shared_database_url)


def some(values: list[int]) -> st.SearchStrategy[tuple[int, ...]]:
    """Mostly no values, which means any; else a few of these."""
    return st.one_of(st.just(()), st.just(()), st.lists(st.sampled_from(values), max_size=3).map(tuple))


IDS = some([*ACCOUNT_IDS, 99])
FLAGS = st.sampled_from([0, 0, 0, 1, 2, 4, 8, 6, 2 | 4 | 8, 16, 256])
AMOUNTS = [0, 1, 2, 3, 5, 8, 13, 50, 2**62]
CRITERIA = st.builds(
    TransferCriteria,
    account_ids=IDS,
    debit_account_ids=IDS,
    credit_account_ids=IDS,
    amount_min=st.sampled_from([0, 0, *AMOUNTS]),
    ledgers=some([1, 2, 3]),
    codes=some([1, 2, 3]),
    user_data_128=some([0, 9, 3, 8]),
    user_data_64=some([0, 2**64 - 1, 4]),
    user_data_32=some([0, 2**32 - 1, 5]),
    flags_all=FLAGS,
    flags_any=FLAGS,
    pending_status=st.one_of(
        st.just(()),
        st.just(()),
        st.lists(st.sampled_from(list(TransferPendingStatus)), max_size=3).map(tuple),
    ),
).flatmap(
    lambda one: st.builds(
        replace,
        st.just(one),
        amount_max=st.one_of(st.none(), st.sampled_from(AMOUNTS).map(lambda a: max(a, one.amount_min))),
        flags_none=FLAGS.map(lambda flags: flags & ~one.flags_all),
    )
)
BOUND = st.sampled_from([0, 0, 1, 3, 7])
"""A time bound: open, or a few sevenths into the journal."""


def bounds(journal: Journal, low: int, high: int) -> tuple[int, int]:
    times = sorted(t.timestamp for t in journal.duel.model.books.transfers.values())
    chosen = [times[(len(times) - 1) * part // 7] if part else 0 for part in (low, high)]
    return (min(chosen), max(chosen)) if all(chosen) else (chosen[0], chosen[1])


@laws
@given(
    any_of=st.lists(CRITERIA, max_size=3).map(tuple), newest_first=st.booleans(), low=BOUND, high=BOUND,
    limit=st.sampled_from([1, 2, 3, 7, 50, 8189]),
    arrivals=st.booleans(), budget=st.sampled_from([1.0, 0.0]),
)  # fmt: skip
async def test_pages_of_a_search_are_what_plain_python_finds_though_rows_arrive_between_them(
    journal: Journal, any_of, newest_first, low, high, limit, arrivals, budget
) -> None:
    low, high = bounds(journal, low, high)
    search = TransferSearch(any_of, low, high, newest_first, limit)
    model = journal.duel.model
    journal.engine._queries.budget_seconds = budget
    before = model_queries.search_transfers(model, search)
    found, cursor, pages = [], None, 0
    while True:
        page = await journal.engine.search_transfers(replace(search, cursor=cursor))
        # Only a page whose time was over may hold less than asked for, and go on.
        assert len(page.transfers) == limit or page.cursor is None or not page.complete
        found += page.transfers
        pages += 1
        cursor = page.cursor
        if cursor is None:
            break
        # What has become of a pending transfer may change between two pages.
        if arrivals and pages <= 2 and not any(one.pending_status for one in any_of):
            await journal.grow(1)
    wanted = before if newest_first else model_queries.search_transfers(model, search)
    assert found == wanted


RANGE = st.sampled_from([None, None, None, 0, 1, 5, 20])
ACCOUNT_CRITERIA = st.builds(
    AccountCriteria,
    ledgers=some([1, 2]), codes=some([1, 2, 3]), user_data_128=some([0, 7]),
    user_data_64=some([0, 2**64 - 1]), user_data_32=some([0, 2**31]),
    flags_all=st.sampled_from([0, 0, 8, 2]), flags_any=st.sampled_from([0, 0, 10]),
    flags_none=st.sampled_from([0, 0, 4, 16]), balance_min=st.sampled_from([None, None, -50, 0, 3]),
    balance_max=st.sampled_from([None, None, 3, 2**62]), debits_pending_min=RANGE, credits_posted_min=RANGE,
    debits_posted_max=st.sampled_from([None, None, 20, 2**62]),
)  # fmt: skip


@laws
@given(
    any_of=st.lists(ACCOUNT_CRITERIA, max_size=3).map(tuple),
    newest_first=st.booleans(),
    limit=st.integers(1, 9),
)
async def test_pages_of_accounts_are_what_plain_python_finds(
    journal: Journal, any_of, newest_first, limit
) -> None:
    search = AccountSearch(any_of, newest_first=newest_first, limit=limit)
    found, cursor = [], None
    while True:
        page = await journal.engine.search_accounts(replace(search, cursor=cursor))
        found += page.accounts
        cursor = page.cursor
        if cursor is None:
            break
        assert len(page.accounts) == limit
    assert found == model_queries.search_accounts(journal.duel.model, search)


@pytest.mark.parametrize("unsealed", [False, True])
async def test_balances_as_of_any_time_are_those_of_a_replay(journal: Journal, unsealed: bool) -> None:
    model = journal.duel.model
    if unsealed:
        await journal.grow(3)
    times = sorted(
        {c.timestamp for c in model.books.changes} | {a.timestamp for a in model.books.accounts.values()}
    )
    ids = sorted(model.books.accounts)
    for timestamp in [times[0] - 1, *times[:: max(len(times) // 120, 1)], times[-1], times[-1] + 5]:
        wanted = [a for i in ids if (a := model_queries.account_as_of(model, i, timestamp)) is not None]
        page = await journal.engine.get_balances_as_of(BalancesAsOf(timestamp, tuple(ids)))
        assert page.accounts == wanted, timestamp
        question = BalancesAsOf(timestamp, ledgers=(1,), limit=3)
        found, cursor = [], None
        while True:
            page = await journal.engine.get_balances_as_of(replace(question, cursor=cursor))
            found += page.accounts
            cursor = page.cursor
            if cursor is None:
                break
        by_creation = sorted((a for a in wanted if a.ledger == 1), key=lambda a: a.timestamp)
        assert found == by_creation, timestamp


async def test_a_snapshot_is_the_balances_as_of_its_timestamp(journal: Journal) -> None:
    ids = sorted(journal.duel.model.books.accounts)
    snapshot = await journal.engine.get_snapshot([*ids, 99])
    assert snapshot.accounts == [journal.duel.model.account(i) for i in ids]
    assert snapshot.sequence == journal.engine.sequence
    page = await journal.engine.get_balances_as_of(BalancesAsOf(snapshot.timestamp, tuple(ids)))
    assert (page.timestamp, page.accounts) == (snapshot.timestamp, snapshot.accounts)


async def test_states_of_pending_transfers_are_the_models(journal: Journal) -> None:
    model = journal.duel.model
    ids = list(model.books.transfers)
    states = await journal.engine.get_pending_states([*ids, 5])
    shown = [
        (s.status.name.lower(), s.expires_at, s.resolved_by, s.resolved_at, s.posted_amount) for s in states
    ]
    assert shown == [model_queries.pending_state(model, i) for i in ids]
    assert {s.status for s in states} == set(TransferPendingStatus)


@laws
@given(
    account=st.sampled_from(list(ACCOUNT_IDS)), low=BOUND, high=BOUND, limit=st.sampled_from([1, 2, 5, 8189])
)
async def test_a_statements_lines_add_up_from_its_opening_to_its_closing_balance(
    journal: Journal, account, low, high, limit
) -> None:
    model = journal.duel.model
    if account not in model.books.accounts:
        return
    low, high = bounds(journal, low, high)
    question = PeriodStatement(account, low, high, limit)
    entries, cursor = [], None
    while True:
        page = await journal.engine.get_period_statement(replace(question, cursor=cursor))
        entries += page.entries
        cursor = page.cursor
        if cursor is None:
            break
    sums = model_queries.counters(page.opening)
    for entry in entries:
        sums = [s + c for s, c in zip(sums, model_queries.counters(entry.change), strict=True)]
        assert sums == model_queries.counters(entry.balance)
    assert sums == model_queries.counters(page.closing)
    opening = model_queries.account_as_of(model, account, low - 1)
    closing = model_queries.account_as_of(model, account, high or 2**63 - 1)
    for shown, account_then in ((page.opening, opening), (page.closing, closing)):
        wanted = model_queries.counters(account_then) if account_then else [0] * 4
        assert model_queries.counters(shown) == wanted
    changes = model_queries.changes_of(model, account)
    inside = [(c.timestamp, c.transfer.id) for c, _ in changes if low <= c.timestamp <= (high or 2**63 - 1)]
    assert {(e.timestamp, e.transfer.id) for e in entries} <= set(inside)
    # Only what an imported transfer of the opening balance had counted already may be left out.
    if not any(c.transfer.flags & 256 for c, _ in changes):
        assert [(e.timestamp, e.transfer.id) for e in entries] == inside


@laws
@given(
    account=st.sampled_from(list(ACCOUNT_IDS)), low=BOUND, high=BOUND, limit=st.sampled_from([1, 2, 5, 8189])
)
async def test_histories_begin_anywhere_forwards_and_backwards(
    journal: Journal, account, low, high, limit
) -> None:
    low, high = bounds(journal, low, high)
    transfers = journal.duel.model.books.transfers.values()
    wanted = sorted(
        t.timestamp
        for t in transfers
        if account in (t.debit_account_id, t.credit_account_id) and low <= t.timestamp <= (high or 2**63 - 1)
    )
    for flags, expected in ((3, wanted[:limit]), (7, wanted[::-1][:limit])):
        asked = AccountFilter(account, timestamp_min=low, timestamp_max=high, limit=limit, flags=flags)
        assert [t.timestamp for t in await journal.engine.get_account_transfers(asked)] == expected


@laws
@given(limits=st.lists(st.integers(1, 40), min_size=1, max_size=8))
async def test_a_follower_sees_every_change_exactly_once_also_imported_ones(journal: Journal, limits) -> None:
    seen: list[ChangeEvent] = []
    cursor, turn = None, 0
    while True:
        page = await journal.engine.get_changes(ChangesAfter(cursor, limit=limits[turn % len(limits)]))
        seen += page.events
        cursor = page.cursor
        turn += 1
        if turn < 4:
            await journal.grow(1)
        elif not page.events:
            break
    events = [(e.timestamp, e.type.name.lower().removeprefix("two_phase_"), e.transfer.id) for e in seen]
    made = [(c.timestamp, c.kind, c.transfer.id) for c in journal.duel.model.books.changes]
    assert len(events) == len(set(events))
    assert sorted(events) == sorted(made)
