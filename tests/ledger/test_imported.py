"""Imported batches: events of the past, with timestamps that the caller brings."""

import pytest

from ledger.contract import Account, AccountFlags, CreateAccountStatus, Transfer, TransferFlags
from tests.ledger.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

MS = 10**6
ACCOUNT = int(AccountFlags.IMPORTED)


def imported_account(world: World, timestamp: int, **more: int) -> Account:
    return Account(id=world.new_id(), ledger=1, code=1, flags=ACCOUNT, timestamp=timestamp, **more)


async def past(world: World) -> int:
    """A moment after everything that is stored, well before now."""
    world.clock.advance(seconds=20)
    return world.clock.now_ns() - 10 * 10**9


async def test_imported_accounts_and_transfers_keep_their_timestamps(world: World) -> None:
    at = await past(world)
    a, b = imported_account(world, at), imported_account(world, at + 1)
    results = await world.ledger.create_accounts([a, b])
    assert [(r.timestamp, r.status.name) for r in results] == [(at, "CREATED"), (at + 1, "CREATED")]
    world.accounts |= {"a": a.id, "b": b.id}
    [result] = await world.request(f"T: a -> b 5 imported timestamp={at + 2} | created")
    stored = await world.transfer("T")
    assert stored is not None
    assert stored.timestamp == result.timestamp == at + 2


async def test_imported_timestamps_must_rise_for_each_kind(world: World) -> None:
    at = await past(world)
    await world.open("a b")
    accounts = [imported_account(world, world.clock.now_ns() - 5)]
    [result] = await world.ledger.create_accounts(accounts)
    assert result.status is CreateAccountStatus.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
    world.clock.advance(seconds=20)
    late = world.clock.now_ns() - 1000
    await world.request(f"""
        a -> b 1 imported timestamp={late}      | created
        a -> b 1 imported timestamp={late}      | imported_event_timestamp_must_not_regress
        a -> b 1 imported timestamp={late - 1}  | imported_event_timestamp_must_not_regress
        a -> b 1 imported timestamp={late + 1}  | created
    """)
    assert at < late


async def test_an_imported_transfer_may_not_share_an_accounts_timestamp_nor_the_reverse(world: World) -> None:
    await world.open("a b")
    at = await past(world)
    [stamp] = [r.timestamp for r in await world.ledger.create_accounts([imported_account(world, at)])]
    await world.request(f"""
        a -> b 1 imported timestamp={stamp}      | imported_event_timestamp_must_not_regress
        a -> b 1 imported timestamp={stamp + 1}  | created
    """)
    results = await world.ledger.create_accounts(
        [imported_account(world, stamp + 1), imported_account(world, stamp + 2)]
    )
    assert [r.status.name for r in results] == ["IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS", "CREATED"]


async def test_the_first_event_says_what_the_request_is_whatever_becomes_of_it(world: World) -> None:
    await world.open("a b")
    at = await past(world)
    await world.request(f"""
        a -> b 1 imported code=0 timestamp={at}   | code_must_not_be_zero
        a -> b 1                                  | imported_event_expected
        a -> b 1 imported timestamp={at}          | created
    """)
    await world.request(f"""
        a -> b 1 code=0                           | code_must_not_be_zero
        a -> b 1 imported timestamp={at + 1}      | imported_event_not_expected
        a -> b 1                                  | created
    """)


async def test_a_timestamp_within_the_request_itself_is_taken(world: World) -> None:
    await world.open("a b")
    await past(world)
    now = world.clock.now_ns()
    # Between the first event's own timestamp (now - 2) and the request's (now).
    await world.request(f"""
        a -> b 1 imported timestamp={now - 1}     | created
        a -> b 1 imported timestamp={now}         | imported_event_timestamp_must_not_advance
        a -> b 1 imported timestamp={now - 3}     | imported_event_timestamp_must_not_regress
    """)
    [result] = await world.request("a -> b 1 | created")
    assert result.timestamp > now


async def test_an_imported_transfer_has_accounts_that_are_older(world: World) -> None:
    await world.open("old")
    at = await past(world)
    await world.open("young")
    await world.request(f"""
        young -> old 1 imported timestamp={at}  | imported_event_timestamp_must_postdate_debit_account
        old -> young 1 imported timestamp={at}  | imported_event_timestamp_must_postdate_credit_account
    """)


async def test_an_imported_chain_that_breaks_gives_its_timestamps_back(world: World) -> None:
    await world.open("a b")
    at = await past(world)
    await world.request(f"""
        a -> b 1 imported linked timestamp={at + 100}  | linked_event_failed
        a -> b 1 imported code=0 timestamp={at + 101}  | code_must_not_be_zero
        a -> b 1 imported timestamp={at}               | created
    """)


async def test_an_imported_chain_of_accounts_that_breaks_gives_its_timestamps_back(world: World) -> None:
    await world.open("a b")
    at = await past(world)
    linked = imported_account(world, at + 100)
    linked.flags |= AccountFlags.LINKED
    broken = imported_account(world, at + 101)
    broken.ledger = 0
    results = await world.ledger.create_accounts([linked, broken, imported_account(world, at)])
    assert [r.status.name for r in results] == ["LINKED_EVENT_FAILED", "LEDGER_MUST_NOT_BE_ZERO", "CREATED"]
    await world.request(f"a -> b 1 imported timestamp={at + 100} | created")


async def test_an_imported_pending_transfer_never_expires_and_can_be_posted_by_an_import(
    world: World,
) -> None:
    await world.open("a b")
    at = await past(world)
    await world.request(f"P: a -> b 9 imported pending timestamp={at} | created")
    world.clock.advance(seconds=10**6)
    assert await world.balances("a") == (9, 0, 0, 0)
    await world.request(f"- -> - MAX imported post of=P timestamp={at + 1} | created")
    assert await world.balances("a") == (0, 9, 0, 0)


async def test_an_imported_post_of_a_pending_transfer_with_a_timeout_is_applied(world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=20)
    [pending] = await world.request("P: a -> b 9 pending timeout=100 | created")
    world.clock.advance(seconds=20)
    await world.request(f"- -> - 4 imported post of=P timestamp={pending.timestamp + MS} | created")
    assert await world.balances("a") == (0, 4, 0, 0)
    world.clock.advance(seconds=200)
    assert await world.balances("a") == (0, 4, 0, 0)


async def test_a_retried_import_exists_whatever_its_timestamp(world: World) -> None:
    await world.open("a b")
    at = await past(world)
    await world.request(f"T: a -> b 1 imported timestamp={at} | created")
    [result] = await world.request(f"a -> b 1 imported timestamp={at + 5} id=T | exists")
    assert result.timestamp == at


async def test_the_timestamp_of_a_refused_import_is_the_time_of_its_validation(world: World) -> None:
    await world.open("a b")
    at = await past(world)
    flags = int(TransferFlags.IMPORTED)
    [result] = await world.ledger.create_transfers([Transfer(id=0, flags=flags, timestamp=at)])
    assert result.timestamp == world.clock.now_ns()
