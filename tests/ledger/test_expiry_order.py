"""Sweeps: what is due is expired in order of its end, with timestamps of its own."""

import pytest

from foundation.clock import SettableClock
from ledger.contract import ChangeEventsFilter, ChangeEventType, QueryFilter, TransferFlags
from ledger.draft_rows import ExpiryRow
from ledger.engine import LedgerEngine
from tests.ledger.books import Books
from tests.ledger.world import World


def expiries(books: Books) -> list[tuple[int, int]]:
    """(timestamp, id) of each expiry, in order."""
    return [(row.timestamp, row.pending.id) for row in books.rows if isinstance(row, ExpiryRow)]


async def test_a_sweep_goes_in_order_of_end_then_of_creation(clock: SettableClock) -> None:
    books = Books(clock)
    world = World(books, clock)
    await world.open("a b")
    clock.advance(seconds=1)
    await world.request("""
        LATE: a -> b 1 pending timeout=3     | created
        EARLY: a -> b 1 pending timeout=1    | created
        MIDDLE: a -> b 1 pending timeout=2   | created
    """)
    clock.advance(seconds=9)
    await books.lookup_accounts([])
    assert [i for _, i in expiries(books)] == [world.transfers[n] for n in ("EARLY", "MIDDLE", "LATE")]


async def test_of_two_that_end_at_once_the_older_goes_first(clock: SettableClock) -> None:
    books = Books(clock)
    world = World(books, clock)
    await world.open("a b")
    clock.advance(seconds=1)
    await world.request("OLD: a -> b 1 pending timeout=2 | created")
    clock.advance(seconds=1)
    await world.request("YOUNG: a -> b 1 pending timeout=1 | created")
    clock.advance(seconds=1)
    await books.lookup_accounts([])
    now = clock.now_ns()
    assert expiries(books) == [(now - 1, world.transfers["OLD"]), (now, world.transfers["YOUNG"])]


async def test_two_that_end_at_once_are_two_changes_in_that_order(
    engine: LedgerEngine, clock: SettableClock
) -> None:
    world = World(engine, clock)
    await world.open("a b")
    clock.advance(seconds=1)
    await world.request("OLD: a -> b 1 pending timeout=2 | created")
    clock.advance(seconds=1)
    await world.request("YOUNG: b -> a 1 pending timeout=1 | created")
    clock.advance(seconds=1)
    assert await world.balances("a") == (0, 0, 0, 0)
    *_, old, young = await engine.get_change_events(ChangeEventsFilter())
    assert (old.timestamp, old.transfer.id) == (clock.now_ns() - 1, world.transfers["OLD"])
    assert (young.timestamp, young.transfer.id) == (clock.now_ns(), world.transfers["YOUNG"])


async def test_more_than_a_batch_expires_with_a_timestamp_each(clock: SettableClock) -> None:
    books = Books(clock)
    world = World(books, clock)
    await world.open("a b")
    clock.advance(seconds=1)
    for _ in range(3):
        events = [world.event("a -> b 1 pending timeout=1") for _ in range(4000)]
        assert all(s.name == "CREATED" for s in await world.statuses(*events))
    clock.advance(seconds=5)
    assert await world.balances("a") == (0, 0, 0, 0)
    stamps = [timestamp for timestamp, _ in expiries(books)]
    assert len(stamps) == 12_000
    assert stamps == sorted(set(stamps))
    assert [i for _, i in expiries(books)] == list(books.transfers)


async def test_what_ended_by_post_or_void_does_not_expire(clock: SettableClock) -> None:
    books = Books(clock)
    world = World(books, clock)
    await world.open("a b")
    await world.request("P: a -> b 1 pending timeout=1 | created")
    await world.request("Q: a -> b 1 pending timeout=1 | created")
    await world.request("- -> - 1 post of=P | created")
    await world.request("- -> - 1 void of=Q | created")
    clock.advance(seconds=10)
    await books.lookup_accounts([])
    assert expiries(books) == []
    assert books.state.pendings.next_expiry() is None


async def test_a_clock_that_goes_back_expires_nothing_early(clock: SettableClock) -> None:
    books = Books(clock)
    world = World(books, clock)
    await world.open("a b")
    clock.advance(seconds=100)
    await world.request("P: a -> b 1 pending timeout=5 | created")
    clock.advance(seconds=-50)
    await world.request("a -> b 1 | created")
    assert await world.balances("a") == (1, 1, 0, 0)
    clock.advance(seconds=54)
    assert await world.balances("a") == (1, 1, 0, 0)
    clock.advance(seconds=1)
    assert await world.balances("a") == (0, 1, 0, 0)


async def test_timestamps_rise_though_the_clock_goes_back(clock: SettableClock) -> None:
    world = World(Books(clock), clock)
    await world.open("a b")
    clock.advance(seconds=100)
    [before] = await world.request("a -> b 1 | created")
    clock.advance(seconds=-50)
    [after] = await world.request("a -> b 1 | created")
    assert after.timestamp == before.timestamp + 1


@pytest.mark.parametrize("closing", [TransferFlags.CLOSING_DEBIT, TransferFlags.CLOSING_CREDIT])
async def test_an_expiry_is_a_change_event_and_no_transfer(
    engine: LedgerEngine, clock: SettableClock, closing: TransferFlags
) -> None:
    world = World(engine, clock)
    await world.open("a b")
    clock.advance(seconds=1)
    await world.request(f"P: a -> b 5 pending timeout=1 {closing.name.lower()} | created")  # type: ignore[union-attr]  # one flag has a name
    clock.advance(seconds=3)
    assert await world.balances("a") == (0, 0, 0, 0)
    [pending, expired] = await engine.get_change_events(ChangeEventsFilter())
    assert (pending.type, expired.type) == (
        ChangeEventType.TWO_PHASE_PENDING,
        ChangeEventType.TWO_PHASE_EXPIRED,
    )
    closed = pending.debit_account if closing is TransferFlags.CLOSING_DEBIT else pending.credit_account
    assert closed.flags & 32
    assert not (expired.debit_account.flags | expired.credit_account.flags) & 32
    assert expired.timestamp == clock.now_ns()
    assert expired.transfer == pending.transfer == (await engine.query_transfers(QueryFilter()))[0]
    assert expired.debit_account.debits_pending == 0
