"""Recovery: what a new engine reads from the journal is what the old one knew."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from random import Random

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.errors import InvariantViolation
from foundation.postgres import sync_url
from ledger import connection
from ledger.contract import CreateTransferStatus
from ledger.engine import LedgerEngine
from ledger.writer import Phase, Writer
from tests.ledger.invariants import check_journal
from tests.ledger.journaled_duel import JournaledDuel, compare_states, state_of
from tests.ledger.world import World


@contextlib.asynccontextmanager
async def running(url: str, clock: SettableClock) -> AsyncIterator[LedgerEngine]:
    engine = await LedgerEngine.start(url, clock)
    try:
        yield engine
    finally:
        await engine.close()


async def after_restart(url: str, clock: SettableClock, world: World, engine: LedgerEngine) -> None:
    """Stop the engine and put a new one into its world."""
    await engine.close()
    started = await LedgerEngine.start(url, clock)
    compare_states(state_of(started), state_of(engine))
    world.ledger = started


@contextlib.contextmanager
def unguarded(url: str) -> Iterator[psycopg.Connection]:
    """The journal with its guards off, as somebody with the owner's rights could have it."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        for table in ("ledger_transfer_1", "ledger_account", "ledger_batch"):
            db.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield db


@pytest.fixture
async def world(database_url: str, clock: SettableClock) -> AsyncIterator[World]:
    """A world on an engine that the test may replace."""
    world = World(await LedgerEngine.start(database_url, clock), clock)
    yield world
    assert isinstance(world.ledger, LedgerEngine)
    await world.ledger.close()
    check_journal(database_url)


async def restart(world: World, url: str) -> None:
    assert isinstance(world.ledger, LedgerEngine)
    await after_restart(url, world.clock, world, world.ledger)


async def test_an_empty_journal_is_an_empty_ledger(database_url: str, world: World) -> None:
    await restart(world, database_url)
    await world.open("a")


async def test_the_newest_of_two_expiries_wins_on_whichever_side(database_url: str, world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=1)
    await world.request("b -> a 5 pending timeout=1 | created")
    await world.request("a -> b 8 pending timeout=2 | created")
    world.clock.advance(seconds=5)
    assert await world.balances("a") == (0, 0, 0, 0)
    await restart(world, database_url)
    assert await world.balances("a") == (0, 0, 0, 0)
    assert await world.balances("b") == (0, 0, 0, 0)


async def test_a_transfer_in_the_batch_of_an_expiry_wins_over_it(database_url: str, world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=1)
    await world.request("a -> b 5 pending timeout=1 | created")
    world.clock.advance(seconds=5)
    await world.request("a -> b 3 | created")
    await restart(world, database_url)
    assert await world.balances("a") == (0, 3, 0, 0)


async def test_an_expiry_after_an_imported_transfer_wins_over_it(database_url: str, world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=1)
    [pending] = await world.request("a -> b 5 pending timeout=1 | created")
    world.clock.advance(seconds=5)
    imported = pending.timestamp + 10
    await world.request(f"a -> b 3 imported timestamp={imported} | created")
    await restart(world, database_url)
    assert await world.balances("a") == (0, 3, 0, 0)


async def test_ids_that_failed_and_ids_that_exist_are_known_for_ever(database_url: str, world: World) -> None:
    await world.open("bank")
    await world.open("a", flags=2)
    await world.request("T: bank -> a 10 | created")
    await world.request("F: a -> bank 11 | exceeds_credits")
    await world.request("""
        C: bank -> a 1 linked   | linked_event_failed
        G: a -> bank 12         | exceeds_credits
    """)
    await restart(world, database_url)
    await world.request("bank -> a 10 id=T | exists")
    await world.request("a -> bank 1 id=F | id_already_failed")
    await world.request("a -> bank 1 id=G | id_already_failed")
    await world.request("bank -> a 1 id=C | created")


async def test_what_became_of_each_pending_transfer_is_known(database_url: str, world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=1)
    for name, timeout in (("POSTED", 0), ("VOIDED", 0), ("EXPIRED", 1), ("ALIVE", 0), ("DUE", 9)):
        await world.request(f"{name}: a -> b 2 pending timeout={timeout} | created")
    await world.request("- -> - MAX post of=POSTED | created")
    await world.request("- -> - 0 void of=VOIDED | created")
    world.clock.advance(seconds=2)
    assert (await world.balances("a"))[0] == 4
    await restart(world, database_url)
    await world.request("- -> - 2 post of=POSTED | pending_transfer_already_posted")
    await world.request("- -> - 2 post of=VOIDED | pending_transfer_already_voided")
    await world.request("- -> - 2 post of=EXPIRED | pending_transfer_expired")
    await world.request("- -> - 2 post of=ALIVE | created")
    world.clock.advance(seconds=10)
    assert await world.balances("a") == (0, 4, 0, 0)


async def test_a_closed_account_stays_closed_and_can_be_reopened(database_url: str, world: World) -> None:
    await world.open("a b c")
    await world.open("born", flags=32)
    world.clock.advance(seconds=1)
    await world.request("CLOSE: a -> b 0 pending closing_debit | created")
    await world.request("TIMED: b -> c 0 pending closing_credit timeout=9 | created")
    await restart(world, database_url)
    await world.request("a -> b 1 | debit_account_already_closed")
    await world.request("b -> c 1 | credit_account_already_closed")
    await world.request("b -> born 1 | credit_account_already_closed")
    await world.request("- -> - 0 void of=CLOSE | created")
    await world.request("a -> b 1 | created")
    await restart(world, database_url)
    await world.request("a -> b 1 | created")
    world.clock.advance(seconds=10)
    await world.request("b -> c 1 | created")
    await restart(world, database_url)
    await world.request("b -> c 1 | created")


async def test_timestamps_go_on_above_everything_that_is_stored(database_url: str, world: World) -> None:
    await world.open("a b")
    [before] = await world.request("a -> b 1 | created")
    world.clock.advance(seconds=-1000)
    await restart(world, database_url)
    [after] = await world.request("a -> b 1 | created")
    assert after.timestamp > before.timestamp
    imported = before.timestamp
    await world.request(f"a -> b 1 imported timestamp={imported} | imported_event_timestamp_must_not_regress")


async def test_a_journal_that_is_read_in_many_pieces_is_read_whole(
    database_url: str, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PIECE_BYTES", 700)
    duel = JournaledDuel(Random(9), clock)
    async with running(database_url, clock) as engine:
        for _ in range(40):
            await duel.step(engine)
        before = state_of(engine)
    async with running(database_url, clock) as started:
        compare_states(state_of(started), before)


async def test_a_tail_whose_table_is_in_another_order_is_read_in_its_own(
    database_url: str, clock: SettableClock
) -> None:
    duel = JournaledDuel(Random(10), clock)
    async with running(database_url, clock) as engine:
        for _ in range(40):
            await duel.step(engine)
        before = state_of(engine)
    with unguarded(database_url) as db:
        db.execute("CREATE TABLE kept AS SELECT * FROM ledger_transfer_1")
        db.execute("DELETE FROM ledger_transfer_1")
        db.execute("INSERT INTO ledger_transfer_1 SELECT * FROM kept ORDER BY timestamp % 7, timestamp DESC")
        db.execute("DROP TABLE kept")
    async with running(database_url, clock) as started:
        compare_states(state_of(started), before)
        await duel.read_everything(started)


async def test_books_that_do_not_balance_refuse_to_open(database_url: str, clock: SettableClock) -> None:
    async with running(database_url, clock) as engine:
        world = World(engine, clock)
        await world.open("a b")
        await world.request("a -> b 5 | created")
    with unguarded(database_url) as db:
        db.execute("UPDATE ledger_transfer_1 SET debit_debits_posted = 6")
    with pytest.raises(InvariantViolation, match="are not credits"):
        await LedgerEngine.start(database_url, clock)


async def test_a_missing_account_refuses_to_open(database_url: str, clock: SettableClock) -> None:
    async with running(database_url, clock) as engine:
        await World(engine, clock).open("a b c")
    with unguarded(database_url) as db:
        db.execute("DELETE FROM ledger_account WHERE slot = 1")
    with pytest.raises(InvariantViolation, match="slot"):
        await LedgerEngine.start(database_url, clock)


async def test_many_restarts_change_nothing(database_url: str, world: World) -> None:
    await world.open("a b")
    for number in range(1, 6):
        [status] = await world.statuses(world.event(f"a -> b {number}"))
        assert status is CreateTransferStatus.CREATED
        await restart(world, database_url)
    assert await world.posted("a", "b") == [-15, 15]


async def test_the_writer_says_that_it_serves_once_what_it_loaded_stands_in_its_place(
    database_url: str, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database_url, clock) as engine:
        world = World(engine, clock)
        await world.open("a b")
        await world.request("a -> b 5 | created")
        head = engine.sequence
    seen: list[tuple[int, int]] = []

    def watched(writer: Writer, name: str, value: object) -> None:
        object.__setattr__(writer, name, value)
        if value is Phase.SERVING:
            seen.append((writer.stored_head.sequence, len(list(writer.state.accounts))))

    monkeypatch.setattr(Writer, "__setattr__", watched)
    async with running(database_url, clock):
        pass
    assert seen == [(head, 2)]
