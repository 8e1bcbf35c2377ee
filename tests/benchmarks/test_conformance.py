"""Conformance runs find nothing where there is nothing, and every planted fault."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from benchmarks.conformance.run import Conformance, Difference, OtherLedger
from benchmarks.conformance.sides import tigerbeetle
from benchmarks.conformance.streams import Stream
from benchmarks.conformance.timestamps import TimestampPairs
from benchmarks.tigerbeetle import TigerBeetle
from foundation.clock import SettableClock
from ledger.contract import Account, CreateAccountStatus, CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from ops.cli import app
from ops.errors import OperationError
from tests.benchmarks.wrong_ledgers import WRONG, Honest
from tests.ledger.model import Model
from tests.ledger.test_model import ModelLedger

EVENTS = 400


class ImpatientClock(SettableClock):
    """Moves a little at every look, and does not wait: sleeping moves it."""

    def now_ns(self) -> int:
        self.advance(ns=1_000_000)
        return super().now_ns()

    async def sleep(self, seconds: float) -> None:
        self.advance(ns=round(seconds * 10**9))
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> ImpatientClock:
    return ImpatientClock()


@pytest.fixture
async def engine(database_url: str, clock: ImpatientClock) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(database_url, clock)
    yield engine
    await engine.close()


@pytest.fixture
async def other_engine(other_database_url: str, clock: ImpatientClock) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(other_database_url, clock)
    yield engine
    await engine.close()


async def test_a_run_meets_most_statuses_and_all_kinds_of_events(clock: ImpatientClock) -> None:
    # In memory, and so much longer than with engines.
    met = Counter[str]()
    for seed in range(3):
        run = Conformance(seed, ModelLedger(clock), ModelLedger(clock), clock)
        await run.run(10 * EVENTS)
        assert run.events >= 10 * EVENTS
        assert run.reads > run.requests
        met += run.statuses
    # Sums overflow at different bounds, and no ordinary timeout reaches the end of time.
    never = {f"transfers {s.name}" for s in CreateTransferStatus if s.name.startswith("OVERFLOWS_")}
    assert {f"transfers {s.name}" for s in CreateTransferStatus} - met.keys() == never
    # Each of the fields that must be 0 is broken now and then only.
    unmet = {s.name for s in CreateAccountStatus} - {status.removeprefix("accounts ") for status in met}
    assert len(unmet) < 7


async def test_our_engine_is_like_itself(
    engine: LedgerEngine, other_engine: LedgerEngine, clock: ImpatientClock
) -> None:
    run = Conformance(4, engine, other_engine, clock)
    await run.run(EVENTS)
    assert run.statuses["transfers CREATED"] > EVENTS / 10


@pytest.mark.parametrize("seed", [5, 6])
async def test_our_engine_is_like_the_model(seed: int, engine: LedgerEngine, clock: ImpatientClock) -> None:
    await Conformance(seed, engine, ModelLedger(clock), clock).run(EVENTS)


@pytest.mark.parametrize(("wrong", "operations"), WRONG)
async def test_a_wrong_ledger_is_found(
    wrong: Callable[[LedgerEngine], Honest],
    operations: str,
    engine: LedgerEngine,
    other_engine: LedgerEngine,
    clock: ImpatientClock,
) -> None:
    run = Conformance(1, engine, cast(OtherLedger, wrong(other_engine)), clock)
    with pytest.raises(Difference) as caught:
        await run.run(10 * EVENTS)
    assert caught.value.operation.partition(",")[0] in operations.split()


async def test_tigerbeetles_adapter_is_compared_like_any_other(
    engine: LedgerEngine, other_engine: LedgerEngine, clock: ImpatientClock
) -> None:
    # Our own engine speaks like TigerBeetle's client, as far as the client is used.
    run = Conformance(3, engine, TigerBeetle(other_engine), clock)
    await run.run(EVENTS)
    assert run.events >= EVENTS


async def test_a_ledger_that_holds_something_is_different_from_the_start(
    engine: LedgerEngine, other_engine: LedgerEngine, clock: ImpatientClock
) -> None:
    await other_engine.create_accounts([Account(id=5, ledger=1, code=1)])
    with pytest.raises(Difference, match="query_accounts"):
        await Conformance(1, engine, other_engine, clock).run(1)


def test_stamps_belong_together_in_order() -> None:
    pairs = TimestampPairs()
    assert pairs.agree(100, 1_000)
    assert pairs.agree(300, 3_000)
    assert pairs.agree(200, 2_000)
    assert pairs.agree(200, 2_000)
    assert not pairs.agree(200, 2_001)
    assert not pairs.agree(250, 3_500)
    assert not pairs.agree(150, 1_000)
    assert not pairs.agree(50, 1_500)
    assert len(pairs) == 3


def test_moments_without_a_stamp_stand_beside_the_nearest() -> None:
    pairs = TimestampPairs()
    assert pairs.to_theirs(77) == 77
    hour = 3_600 * 10**9
    pairs.agree(100, 1_000)
    pairs.agree(300, 3_000)
    assert [pairs.to_theirs(t) for t in (99, 100, 101, 299, 305)] == [999, 1_000, 1_001, 2_999, 3_005]
    assert pairs.to_theirs(300 + hour) == 3_000 + hour
    assert pairs.to_theirs(301 + hour) == 301 + hour


def test_comparable_streams_have_nothing_that_two_ledgers_may_decide_differently() -> None:
    model = Model()
    stream = Stream(Random(1), model, 1_800_000_000 * 10**9, comparable=True)
    kinds = Counter[str]()
    for _ in range(3_000):
        stream.now += 1_000_000
        kind, events = stream.request()
        kinds[kind] += 1
        assert events
        for event in events:
            if isinstance(event, Account):
                assert event.reserved == 0
            elif not event.flags & (4 | 8 | 16 | 32):
                assert event.amount < 2**40
        ask: Any = model.create_accounts if kind == "accounts" else model.create_transfers
        ask(stream.now, events)
    assert min(kinds["accounts"], kinds["transfers"]) > 100
    assert all(max(counters) < 2**62 for counters in model.books.balances.values())


def test_conform_without_a_tigerbeetle_compares_with_our_own_process() -> None:
    done = CliRunner().invoke(app, ["conform", "--seed", "7", "--events", "40"])
    assert done.exit_code == 0, done.output
    assert "our own ledger process" in done.output
    assert "no difference in" in done.output


def test_conform_says_when_there_is_no_tigerbeetle() -> None:
    done = CliRunner().invoke(app, ["conform", "--tigerbeetle", "3999", "--events", "1"])
    assert done.exit_code == 1
    assert isinstance(done.exception, OperationError)


def test_conform_shows_the_first_difference_in_full_and_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    async def differ(**_options: object) -> None:
        event = Transfer(id=9, amount=5)
        raise Difference("create_transfers, event 1 of 1", event, "created", "exists")

    monkeypatch.setattr("benchmarks.conformance.sides.conform", differ)
    done = CliRunner().invoke(app, ["conform", "--seed", "7", "--events", "40"])
    assert done.exit_code == 1
    assert "create_transfers, event 1 of 1" in done.output
    assert str(Transfer(id=9, amount=5)) in done.output
    assert "--seed 7 --events 40" in done.output


async def test_a_tigerbeetle_with_accounts_is_refused(
    monkeypatch: pytest.MonkeyPatch, engine: LedgerEngine
) -> None:
    await engine.create_accounts([Account(id=5, ledger=1, code=1)])

    async def connect(_address: str, _cluster: int) -> TigerBeetle:
        return TigerBeetle(engine)

    monkeypatch.setattr(TigerBeetle, "connect", connect)
    with pytest.raises(OperationError, match="holds accounts"):
        async with tigerbeetle("3000", 0):
            pass
