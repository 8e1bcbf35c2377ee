"""The engine: group commit, a bounded queue, an append-only journal, and what stops it loudly."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import DurabilityRefused, sync_url
from ledger import intake, pipeline
from ledger.contract import (
    Account,
    AccountFilter,
    AccountFlags,
    ChangeEventsFilter,
    ChangeEventType,
    CreateTransferStatus,
    QueryFilter,
    Transfer,
    TransferFlags,
)
from ledger.engine import LedgerEngine
from ledger.interface import LedgerBusy, LedgerUnavailable
from ledger.writer import Phase
from tests.ledger.invariants import check_journal
from tests.ledger.world import World

A, B = 1, 2


def transfer(transfer_id: int, amount: int = 1, **more: int) -> Transfer:
    return Transfer(transfer_id, A, B, amount, ledger=1, code=1, **more)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(sync_url(url)) as db:
        return db.execute(query).fetchall()


@pytest.fixture
async def opened(engine: LedgerEngine) -> LedgerEngine:
    """An engine with two accounts."""
    await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])
    return engine


@pytest.fixture
async def stopped(database_url: str, clock: SettableClock) -> AsyncIterator[LedgerEngine]:
    """An engine with two accounts whose journal may be tampered with."""
    engine = await LedgerEngine.start(database_url, clock)
    await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1)])
    yield engine
    await engine.close()


async def test_concurrent_callers_share_a_commit(opened: LedgerEngine, database_url: str) -> None:
    before = opened.sequence
    answers = await asyncio.gather(*(opened.create_transfers([transfer(n)]) for n in range(100, 164)))
    assert all(answer[0].status is CreateTransferStatus.CREATED for answer in answers)
    assert opened.sequence - before <= 3
    [[largest]] = rows(database_url, "SELECT max(transfer_count) FROM ledger_batch")
    assert largest >= 32
    stamps = [answer[0].timestamp for answer in answers]
    assert stamps == sorted(set(stamps))


async def test_a_batch_never_holds_more_than_8189_events(opened: LedgerEngine, database_url: str) -> None:
    requests = [[transfer(1000 * r + n) for n in range(1, 1000)] for r in range(1, 13)]
    await asyncio.gather(*(opened.create_transfers(request) for request in requests))
    [[largest, total]] = rows(
        database_url, "SELECT max(transfer_count), sum(transfer_count) FROM ledger_batch"
    )
    assert largest <= 8189
    assert total == 12 * 999


async def test_a_full_queue_says_so_and_loses_nothing(
    opened: LedgerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "QUEUE_EVENTS_MAX", 40)
    answers = await asyncio.gather(
        *(opened.create_transfers([transfer(10 * n + m) for m in range(10)]) for n in range(10, 30)),
        return_exceptions=True,
    )
    taken = [a for a in answers if not isinstance(a, BaseException)]
    refused = [a for a in answers if isinstance(a, BaseException)]
    assert all(isinstance(a, LedgerBusy) and a.retry_seconds > 0 and not a.outcome_unknown for a in refused)
    assert taken
    assert refused
    assert len(await opened.query_transfers(QueryFilter())) == 10 * len(taken)
    for n, answer in zip(range(10, 30), answers, strict=True):
        again = await opened.create_transfers([transfer(10 * n + m) for m in range(10)])
        expected = "CREATED" if isinstance(answer, LedgerBusy) else "EXISTS"
        assert {result.status.name for result in again} == {expected}


async def test_a_request_larger_than_the_free_queue_is_taken_when_nothing_waits(
    opened: LedgerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "QUEUE_EVENTS_MAX", 3)
    results = await opened.create_transfers([transfer(n) for n in range(100, 150)])
    assert {result.status.name for result in results} == {"CREATED"}


async def test_a_statement_runs_backwards_with_the_balance_after_each_line(opened: LedgerEngine) -> None:
    stamps = [(await opened.create_transfers([transfer(n, n)]))[0].timestamp for n in (10, 20, 30, 40)]
    first = await opened.get_statement(A, limit=3)
    assert [(line.transfer.id, line.balance.debits_posted) for line in first] == [
        (40, 100),
        (30, 60),
        (20, 30),
    ]
    rest = await opened.get_statement(A, before=first[-1].transfer.timestamp, limit=3)
    assert [(line.transfer.id, line.balance.debits_posted) for line in rest] == [(10, 10)]
    assert await opened.get_statement(A, before=stamps[0]) == []
    assert await opened.get_statement(A, before=1) == []
    assert await opened.get_statement(99) == []


async def test_a_read_that_starts_after_an_answer_sees_it(opened: LedgerEngine) -> None:
    async def pay_and_look(number: int) -> None:
        [result] = await opened.create_transfers([transfer(number)])
        [account] = await opened.lookup_accounts([A])
        lines = await opened.get_account_transfers(AccountFilter(account_id=A))
        found = await opened.lookup_transfers([number])
        queried = await opened.query_transfers(QueryFilter(timestamp_min=result.timestamp, limit=1))
        assert account.debits_posted >= sum(t.timestamp <= result.timestamp for t in lines) > 0
        assert [t.id for t in found] == [number] == [t.id for t in queried]
        assert number in {t.id for t in lines}

    await asyncio.gather(*(pay_and_look(number) for number in range(100, 140)))


async def test_every_account_has_a_statement_but_balances_only_with_history(engine: LedgerEngine) -> None:
    await engine.create_accounts(
        [Account(id=A, ledger=1, code=1, flags=int(AccountFlags.HISTORY)), Account(id=B, ledger=1, code=1)]
    )
    await engine.create_transfers([transfer(9, 5)])
    assert [b.debits_posted for b in await engine.get_account_balances(AccountFilter(account_id=A))] == [5]
    assert await engine.get_account_balances(AccountFilter(account_id=B)) == []
    assert [line.balance.credits_posted for line in await engine.get_statement(B)] == [5]


async def test_expiry_happens_by_itself_without_any_request(
    opened: LedgerEngine, clock: SettableClock
) -> None:
    clock.advance(seconds=1)
    await opened.create_transfers([transfer(5, 9, flags=int(TransferFlags.PENDING), timeout=10)])
    clock.advance(seconds=10)
    async with asyncio.timeout(20):
        while True:
            events = await opened.get_change_events(ChangeEventsFilter())
            if events[-1].type is ChangeEventType.TWO_PHASE_EXPIRED:
                break
            await asyncio.sleep(0.01)
    assert events[-1].timestamp == clock.now_ns()
    assert [a.debits_pending for a in await opened.lookup_accounts([A])] == [0]


async def test_a_clock_that_goes_back_never_takes_timestamps_back(
    opened: LedgerEngine, clock: SettableClock, database_url: str
) -> None:
    [before] = await opened.create_transfers([transfer(1)])
    clock.advance(seconds=-3600)
    [after] = await opened.create_transfers([transfer(2)])
    assert after.timestamp == before.timestamp + 1
    await opened.close()
    second = await LedgerEngine.start(database_url, clock)
    [later] = await second.create_transfers([transfer(3)])
    assert later.timestamp == after.timestamp + 1
    await second.close()


@pytest.mark.parametrize("inline_rows_max", [512, -1], ids=["by the writer", "by the committer"])
async def test_a_row_that_postgresql_refuses_stops_the_engine_loudly(
    stopped: LedgerEngine, database_url: str, inline_rows_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "INLINE_ROWS_MAX", inline_rows_max)
    # Somebody else wrote into the journal: the next batch's number is taken.
    with psycopg.connect(sync_url(database_url)) as db:
        db.execute(
            "INSERT INTO ledger_batch (sequence, timestamp, account_count, transfer_count, expiry_count,"
            " failed_count, hash) VALUES (%s, 1, 0, 0, 0, 0, '')",
            (stopped.sequence + 1,),
        )
    with pytest.raises(LedgerUnavailable) as refused:
        await stopped.create_transfers([transfer(1)])
    assert refused.value.outcome_unknown
    async with asyncio.timeout(20):
        while stopped.phase is not Phase.STOPPED:
            await asyncio.sleep(0.01)
    with pytest.raises(psycopg.errors.UniqueViolation):
        stopped.check()
    with pytest.raises(LedgerUnavailable):
        await stopped.create_transfers([transfer(2)])
    assert rows(database_url, "SELECT count(*) FROM ledger_transfer") == [(0,)]


@pytest.mark.parametrize("setting", ["synchronous_commit"])
async def test_a_server_that_could_forget_a_commit_is_refused(
    database_url: str, clock: SettableClock, setting: str
) -> None:
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        name = db.info.dbname
        db.execute(f"ALTER DATABASE {name} SET {setting} = off")
    with pytest.raises(DurabilityRefused) as refused:
        await LedgerEngine.start(database_url, clock)
    assert refused.value.setting == setting


async def test_closing_answers_what_is_queued(database_url: str, clock: SettableClock) -> None:
    engine = await LedgerEngine.start(database_url, clock)
    world = World(engine, clock)
    await world.open("a b")
    calls = [asyncio.ensure_future(engine.create_transfers([world.event("a -> b 1")])) for _ in range(200)]
    await asyncio.sleep(0)
    await engine.close()
    answers = await asyncio.gather(*calls)
    assert {answer[0].status for answer in answers} == {CreateTransferStatus.CREATED}
    with pytest.raises(LedgerUnavailable):
        await engine.create_transfers([world.event("a -> b 1")])
    check_journal(database_url)


async def test_a_caller_that_gives_up_does_not_take_its_request_back(opened: LedgerEngine) -> None:
    call = asyncio.ensure_future(opened.create_transfers([transfer(1)]))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    [again] = await opened.create_transfers([transfer(1)])
    assert again.status is CreateTransferStatus.EXISTS
