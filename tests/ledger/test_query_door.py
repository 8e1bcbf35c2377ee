"""The new queries over the socket: JSON and packed forms, refusals that name the field, long polls."""

import asyncio
import time
from dataclasses import replace
from random import Random

import httpx
import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger.client import LedgerClient
from ledger.contract import (
    Account,
    ChangeEventType,
    InvalidFilter,
    InvalidRequest,
    QueryFilter,
    Transfer,
    TransferFlags,
    TransferPendingStatus,
)
from ledger.door.judge import Caller, Door, Judge
from ledger.door.rights import LedgerForbidden, Rights, Rule
from ledger.engine import LedgerEngine
from ledger.queries.following import follow
from ledger.queries.herald import CHANNEL
from ledger.queries.operations import QUERY_OPERATIONS
from ledger.queries.questions import (
    AccountCriteria,
    AccountSearch,
    BalancesAsOf,
    ChangesAfter,
    PeriodStatement,
    TransferCriteria,
    TransferSearch,
)

BIG = 2**63 - 1


@pytest.fixture
async def books(engine: LedgerEngine, client: LedgerClient, clock: SettableClock) -> list[Transfer]:
    """An ordinary transfer, a pending one that is posted, one that is voided, and one that lives."""
    await engine.create_accounts(
        [
            Account(id=1, ledger=1, code=1, user_data_128=2**128 - 1, user_data_64=2**64 - 1),
            Account(id=2, ledger=1, code=2),
        ]
    )
    pending = int(TransferFlags.PENDING)
    events = [
        Transfer(100, 1, 2, 10, ledger=1, code=1, user_data_64=2**64 - 1),
        Transfer(101, 1, 2, 20, ledger=1, code=2, flags=pending, timeout=60),
        Transfer(102, amount=15, pending_id=101, flags=int(TransferFlags.POST_PENDING_TRANSFER)),
        Transfer(103, 2, 1, 30, ledger=1, code=3, flags=pending),
        Transfer(104, pending_id=103, flags=int(TransferFlags.VOID_PENDING_TRANSFER)),
        Transfer(105, 2, 1, 40, ledger=1, code=3, flags=pending, timeout=5),
    ]
    for event in events:
        clock.advance(ns=1000)
        await engine.create_transfers([event])
    return await engine.lookup_transfers([e.id for e in events])


async def test_the_client_gets_what_the_engine_answers(
    engine: LedgerEngine, client: LedgerClient, books: list[Transfer]
) -> None:
    search = TransferSearch((TransferCriteria(codes=(1,)), TransferCriteria(amount_min=15)), limit=2)
    for question in (search, replace(search, newest_first=True), TransferSearch()):
        assert await client.search_transfers(question) == await engine.search_transfers(question)
    page = await client.search_transfers(search)
    assert [t.id for t in page.transfers] == [100, 101]
    following = await client.search_transfers(replace(search, cursor=page.cursor))
    assert [t.id for t in following.transfers] == [102, 103]
    accounts = AccountSearch((AccountCriteria(balance_min=-30, balance_max=-1, debits_pending_max=BIG),))
    assert await client.search_accounts(accounts) == await engine.search_accounts(accounts)
    assert [a.id for a in (await client.search_accounts(accounts)).accounts] == [1]
    for as_of in (BalancesAsOf(books[2].timestamp), BalancesAsOf(account_ids=(2, 1)), BalancesAsOf(limit=1)):
        assert await client.get_balances_as_of(as_of) == await engine.get_balances_as_of(as_of)
    assert await client.get_snapshot([2, 1]) == await engine.get_snapshot([2, 1])
    assert await client.get_pending_states([101, 103, 105, 100]) == await engine.get_pending_states(
        [101, 103, 105, 100]
    )
    statement = PeriodStatement(1, limit=2)
    assert await client.get_period_statement(statement) == await engine.get_period_statement(statement)
    changes = ChangesAfter(limit=4)
    assert await client.get_changes(changes) == await engine.get_changes(changes)


async def test_what_became_of_a_pending_transfer_is_told_with_who_did_it_and_when(
    client: LedgerClient, books: list[Transfer], clock: SettableClock
) -> None:
    posted, voided, alive = await client.get_pending_states([101, 103, 105])
    assert (posted.status, posted.resolved_by, posted.resolved_at, posted.posted_amount) == (
        TransferPendingStatus.POSTED, 102, books[2].timestamp, 15,
    )  # fmt: skip
    assert posted.expires_at == books[1].timestamp + 60 * 10**9
    assert (voided.status, voided.resolved_by, voided.expires_at) == (TransferPendingStatus.VOIDED, 104, 0)
    assert (alive.status, alive.resolved_at) == (TransferPendingStatus.PENDING, 0)
    clock.advance(seconds=6)
    (expired,) = await client.get_pending_states([105])
    assert (expired.status, expired.resolved_by) == (TransferPendingStatus.EXPIRED, 0)
    assert expired.resolved_at >= expired.expires_at
    statement = await client.get_period_statement(PeriodStatement(2))
    assert statement.entries[-1].type is ChangeEventType.TWO_PHASE_EXPIRED
    assert statement.entries[-1].change.debits_pending == -40
    assert statement.closing.debits_pending == 0


async def test_json_has_ids_as_uuids_and_large_numbers_as_text(
    client: LedgerClient, books: list[Transfer]
) -> None:
    transport = httpx.AsyncHTTPTransport(uds=client.url.removeprefix("unix:"))
    async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as http:
        question = {
            "any_of": [
                {"codes": [1], "amount_max": "10"},
                {"pending_status": ["posted"], "account_ids": ["00000000-0000-0000-0000-000000000001"]},
            ],
            "newest_first": True,
            "limit": 1,
        }
        answer = (await http.post("/v1/search_transfers", json=question)).json()
        (transfer,) = answer["transfers"]
        assert transfer["id"] == "00000000-0000-0000-0000-000000000065"
        assert transfer["amount"] == "20"
        assert answer["complete"] is True
        question["cursor"] = answer["cursor"]
        answer = (await http.post("/v1/search_transfers", json=question)).json()
        assert answer["transfers"][0]["user_data_64"] == str(2**64 - 1)
        statement = {"account_id": "00000000-0000-0000-0000-000000000002", "limit": 3}
        answer = (await http.post("/v1/get_period_statement", json=statement)).json()
        assert answer["entries"][2]["change"]["credits_pending"] == "-20"
        answer = (await http.post("/v1/get_snapshot", json=["00000000-0000-0000-0000-000000000002"])).json()
        assert answer["accounts"][0]["debits_pending"] == "40"
        assert answer["timestamp"].isdigit()


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (TransferSearch(limit=0), "limit"),
        (TransferSearch(limit=8190), "limit"),
        (TransferSearch(timestamp_min=5, timestamp_max=4), "timestamp_min"),
        (TransferSearch((TransferCriteria(),) * 17), "any_of"),
        (TransferSearch((TransferCriteria(codes=tuple(range(257))),)), "codes"),
        (TransferSearch((TransferCriteria(codes=(65_536,)),)), "codes"),
        (TransferSearch((TransferCriteria(account_ids=(0,)),)), "account_ids"),
        (TransferSearch((TransferCriteria(amount_min=5, amount_max=4),)), "amount_max"),
        (TransferSearch((TransferCriteria(amount_min=2**63),)), "amount_min"),
        (TransferSearch((TransferCriteria(flags_any=512),)), "flags_any"),
        (TransferSearch((TransferCriteria(flags_all=2, flags_none=2),)), "flags_none"),
        (TransferSearch(cursor="no cursor"), "cursor"),
        (TransferSearch(cursor=""), "cursor"),
        (TransferSearch(cursor="ä"), "cursor"),
        (AccountSearch((AccountCriteria(balance_min=2, balance_max=1),)), "balance_min"),
        (AccountSearch((AccountCriteria(credits_posted_max=2**63),)), "credits_posted_max"),
        (AccountSearch((AccountCriteria(flags_none=64),)), "flags_none"),
        (BalancesAsOf(account_ids=(1,), ledgers=(1,)), "account_ids"),
        (BalancesAsOf(timestamp=2**63), "timestamp"),
        (PeriodStatement(0), "account_id"),
        (PeriodStatement(77), "account_id"),
        (ChangesAfter(wait_seconds=61), "wait_seconds"),
        (ChangesAfter(limit=2731), "limit"),
    ],
)
async def test_a_wrong_question_is_an_error_that_names_the_field(
    engine: LedgerEngine, client: LedgerClient, books: list[Transfer], question, field: str
) -> None:
    asked = {
        TransferSearch: "search_transfers", AccountSearch: "search_accounts", ChangesAfter: "get_changes",
        BalancesAsOf: "get_balances_as_of", PeriodStatement: "get_period_statement",
    }[type(question)]  # fmt: skip
    with pytest.raises(InvalidFilter) as refused:
        await getattr(engine, asked)(question)
    assert refused.value.field_name == field
    if field != "wait_seconds":
        with pytest.raises(InvalidFilter) as refused:
            await getattr(client, asked)(question)
        assert refused.value.field_name == field


async def test_a_cursor_of_another_question_or_another_ledger_or_a_changed_one_is_refused(
    engine: LedgerEngine, books: list[Transfer]
) -> None:
    search = TransferSearch(limit=2)
    cursor = (await engine.search_transfers(search)).cursor
    assert cursor is not None
    assert len((await engine.search_transfers(replace(search, cursor=cursor, limit=8))).transfers) == 4
    for changed in [
        cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :] for n in range(len(cursor))
    ]:
        with pytest.raises(InvalidFilter, match="cursor"):
            await engine.search_transfers(replace(search, cursor=changed))
    for other in (
        replace(search, newest_first=True),
        replace(search, any_of=(TransferCriteria(codes=(1,)),)),
    ):
        with pytest.raises(InvalidFilter, match="cursor"):
            await engine.search_transfers(replace(other, cursor=cursor))
    with pytest.raises(InvalidFilter, match="cursor"):
        await engine.search_accounts(AccountSearch(limit=2, cursor=cursor))
    engine._queries._key = bytes(range(32))
    with pytest.raises(InvalidFilter, match="cursor"):
        await engine.search_transfers(replace(search, cursor=cursor))


@pytest.mark.parametrize(
    "body",
    [
        [], {"any_of": {}}, {"any_of": [{"codes": 1}]}, {"any_of": [{"codes": ["x"]}]},
        {"any_of": [{"colour": 1}]}, {"any_of": [{"pending_status": ["gone"]}]}, {"newest_first": 1},
        {"limit": -1}, {"cursor": 5}, {"any_of": [{"codes": [[[1]]]}]}, {"any_of": [{"amount_max": True}]},
    ],
)  # fmt: skip
async def test_a_question_that_is_none_is_refused(client: LedgerClient, body) -> None:
    transport = httpx.AsyncHTTPTransport(uds=client.url.removeprefix("unix:"))
    async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as http:
        answer = await http.post("/v1/search_transfers", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "invalid_request"
    with pytest.raises(InvalidRequest):
        await client.lookup_accounts([2**128])


@pytest.mark.parametrize("through", ["engine", "client"])
async def test_who_waits_for_changes_is_woken_by_the_next_commit(
    engine: LedgerEngine, client: LedgerClient, books: list[Transfer], through: str
) -> None:
    ledger = engine if through == "engine" else client
    page = await ledger.get_changes(ChangesAfter())
    assert len(page.events) == 6
    waiting = asyncio.create_task(ledger.get_changes(ChangesAfter(page.cursor, wait_seconds=5)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    began = time.monotonic()
    await engine.create_transfers([Transfer(200, 1, 2, 1, ledger=1, code=1)])
    woken = await waiting
    assert time.monotonic() - began < 2
    assert [e.transfer.id for e in woken.events] == [200]
    assert engine._wakeups._bells == set()


async def test_who_follows_an_empty_ledger_goes_on_with_its_first_changes(engine: LedgerEngine) -> None:
    page = await engine.get_changes(ChangesAfter())
    assert page.events == []
    waiting = asyncio.create_task(engine.get_changes(ChangesAfter(page.cursor, wait_seconds=5)))
    await asyncio.sleep(0.1)
    await engine.create_accounts([Account(id=i, ledger=1, code=1) for i in (1, 2)])
    await engine.create_transfers([Transfer(100, 1, 2, 1, ledger=1, code=1)])
    page = await waiting
    seen = page.events
    while len(seen) < 1:
        page = await engine.get_changes(ChangesAfter(page.cursor, wait_seconds=5))
        seen += page.events
    assert [e.transfer.id for e in seen] == [100]
    assert (await engine.get_changes(ChangesAfter(page.cursor))).events == []


async def test_a_statement_closes_with_an_expiry_that_released_nothing(
    engine: LedgerEngine, clock: SettableClock
) -> None:
    await engine.create_accounts([Account(id=i, ledger=1, code=1) for i in (1, 2)])
    pending = Transfer(100, 1, 2, 0, ledger=1, code=1, flags=int(TransferFlags.PENDING), timeout=1)
    await engine.create_transfers([pending])
    clock.advance(seconds=5)
    await engine.create_transfers([Transfer(101, 1, 9, 1, ledger=1, code=1)])
    page = await engine.get_period_statement(PeriodStatement(1))
    assert [e.timestamp for e in page.entries][-1] == page.closing.timestamp
    assert len(page.entries) == 2


async def test_who_waits_in_vain_gets_no_events_and_may_go_on(
    engine: LedgerEngine, books: list[Transfer]
) -> None:
    page = await engine.get_changes(ChangesAfter())
    empty = await engine.get_changes(ChangesAfter(page.cursor, wait_seconds=1))
    assert empty.events == []
    assert empty.cursor == page.cursor
    assert engine._wakeups._bells == set()


async def test_a_follower_gets_pages_for_ever_and_ends_with_the_door(
    engine: LedgerEngine, client: LedgerClient, books: list[Transfer]
) -> None:
    seen: list[int] = []

    async def read() -> None:
        async for page in follow(client, timestamp_min=books[4].timestamp):
            seen.extend(e.transfer.id for e in page.events)
            if 301 in seen:
                return

    reader = asyncio.create_task(read())
    for n in (300, 301):
        await asyncio.sleep(0.05)
        await engine.create_transfers([Transfer(n, 1, 2, 1, ledger=1, code=1)])
    await asyncio.wait_for(reader, 5)
    assert seen == [104, 105, 300, 301]
    waiting = asyncio.create_task(engine.get_changes(ChangesAfter(timestamp_min=BIG, wait_seconds=60)))
    await asyncio.sleep(0.05)
    engine.release_followers()
    assert (await asyncio.wait_for(waiting, 5)).events == []


async def test_another_process_that_listens_hears_of_a_commit(
    engine: LedgerEngine, books: list[Transfer], database_url: str
) -> None:
    listener = await psycopg.AsyncConnection.connect(sync_url(database_url), autocommit=True)
    async with listener:
        await listener.execute(f"LISTEN {CHANNEL}")
        (result,) = await engine.create_transfers([Transfer(400, 1, 2, 1, ledger=1, code=1)])
        async for word in listener.notifies(timeout=5):
            # Commits that came shortly before may be told first.
            if int(word.payload) >= result.timestamp:
                break
        else:
            pytest.fail("nothing was told in time")


async def test_an_engine_that_never_served_ends_without_a_word(
    database_url: str, clock: SettableClock
) -> None:
    first = await LedgerEngine.start(database_url, clock)
    standby = await LedgerEngine.start(database_url, clock, wait_until_serving=False)
    await asyncio.wait_for(standby.close(), 10)
    await first.close()


async def test_snapshots_under_load_are_the_balances_as_of_their_instants(
    engine: LedgerEngine, database_url: str, clock: SettableClock
) -> None:
    ids = (1, 2, 3)
    await engine.create_accounts([Account(id=i, ledger=1, code=1) for i in ids])
    numbers = Random(7)

    async def pay(number: int) -> None:
        clock.advance(ns=50)
        debit, credit = numbers.sample(ids, 2)
        # Every third is refused, and takes a timestamp all the same.
        ledger = 2 if number % 3 == 0 else 1
        await engine.create_transfers([Transfer(1000 + number, debit, credit, 1, ledger=ledger, code=1)])

    answers = await asyncio.gather(
        *(pay(n) if n % 4 else engine.get_snapshot(ids) for n in range(400)), return_exceptions=False
    )
    snapshots = [answer for answer in answers if answer is not None]
    assert len({s.timestamp for s in snapshots}) > 5
    async with await psycopg.AsyncConnection.connect(sync_url(database_url)) as db:
        cursor = await db.execute("SELECT sequence, timestamp FROM ledger_batch")
        batches: dict[int, int] = {0: 0} | {row[0]: row[1] for row in await cursor.fetchall()}
    for snapshot in snapshots:
        assert sum(a.debits_posted - a.credits_posted for a in snapshot.accounts) == 0
        page = await engine.get_balances_as_of(BalancesAsOf(snapshot.timestamp, ids))
        assert (page.timestamp, page.accounts) == (snapshot.timestamp, snapshot.accounts)
        assert batches[snapshot.sequence - 1] < snapshot.timestamp <= batches[snapshot.sequence]


@pytest.mark.parametrize("operation", sorted(QUERY_OPERATIONS))
async def test_only_who_may_read_may_ask(engine: LedgerEngine, operation: str) -> None:
    judge = Judge(Door(), engine)
    await judge.check(Caller("reader", Rights(read=True)), operation, None)
    with pytest.raises(LedgerForbidden) as refused:
        await judge.check(Caller("writer", Rights(imports=True)), operation, None)
    assert refused.value.rule == Rule.READ


@pytest.mark.parametrize("field", ["code", "ledger", "user_data_32", "user_data_64", "user_data_128"])
async def test_a_value_that_no_field_can_have_is_a_wrong_filter(engine: LedgerEngine, field: str) -> None:
    with pytest.raises(InvalidFilter, match=field):
        await engine.query_transfers(QueryFilter(**{field: 1 << 128}))
