"""Linked events stand or fall together, and a request's events see each other in order."""

import pytest

from ledger.contract import Account, CreateAccountStatus, Transfer, TransferFlags
from tests.ledger.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINKED = int(TransferFlags.LINKED)


@pytest.mark.parametrize("position", range(4))
async def test_a_failure_in_any_position_undoes_the_whole_chain(world: World, position: int) -> None:
    await world.open("a b")
    events = [world.event("a -> b 10 linked") for _ in range(3)] + [world.event("a -> b 10")]
    events[position].code = 0
    names = [status.name.lower() for status in await world.statuses(*events)]
    expected = ["linked_event_failed"] * 4
    expected[position] = "code_must_not_be_zero"
    assert names == expected
    assert await world.balances("a") == (0, 0, 0, 0)
    # The ids are free again: a chain that was rolled back has never been.
    events[position].code = 1
    assert [s.name for s in await world.statuses(*events)] == ["CREATED"] * 4
    assert await world.balances("a") == (0, 40, 0, 0)


async def test_a_chain_ends_at_the_first_event_that_is_not_linked(world: World) -> None:
    await world.open("a b")
    await world.request("""
        a -> b 1 linked           | linked_event_failed
        a -> b 2 code=0           | code_must_not_be_zero
        a -> b 4                  | created
        a -> b 8 linked           | created
        a -> b 16                 | created
    """)
    assert await world.balances("b") == (0, 0, 0, 28)


async def test_after_a_failure_the_rest_of_the_chain_is_not_even_looked_at(world: World) -> None:
    await world.open("a b")
    await world.request("""
        a -> b 1 linked           | linked_event_failed
        a -> b 1 linked code=0    | code_must_not_be_zero
        a -> b 1 linked ledger=0  | linked_event_failed
        - -> - 1                  | linked_event_failed
    """)


async def test_an_open_chain_is_refused_as_a_whole(world: World) -> None:
    await world.open("a b")
    await world.request("""
        a -> b 1                  | created
        a -> b 2 linked           | linked_event_failed
        a -> b 4 linked           | linked_event_chain_open
    """)
    assert await world.balances("b") == (0, 0, 0, 1)


async def test_a_single_linked_event_is_an_open_chain(world: World) -> None:
    await world.open("a b")
    await world.request("a -> b 1 linked | linked_event_chain_open")


async def test_an_open_chain_that_broke_earlier_names_both_reasons(world: World) -> None:
    await world.open("a b")
    await world.request("""
        a -> b 1 linked           | linked_event_failed
        a -> b 1 linked code=0    | code_must_not_be_zero
        a -> b 1 linked           | linked_event_failed
        a -> b 1 linked           | linked_event_chain_open
    """)


async def test_later_members_see_what_earlier_ones_did(world: World) -> None:
    await world.open("bank")
    await world.open("a b", flags=2)
    await world.request("""
        bank -> a 10 linked       | created
        a -> b 10 linked          | created
        b -> bank 10              | created
    """)
    assert await world.posted("bank", "a", "b") == [0, 0, 0]


async def test_an_existing_member_breaks_the_chain(world: World) -> None:
    await world.open("a b")
    await world.request("T: a -> b 1 | created")
    await world.request("""
        a -> b 1 linked           | linked_event_failed
        a -> b 1 id=T             | exists
    """)


async def test_a_retried_chain_answers_exists_for_its_first_member_alone(world: World) -> None:
    await world.open("a b")
    chain = [world.event("a -> b 1 linked"), world.event("a -> b 1")]
    assert [s.name for s in await world.statuses(*chain)] == ["CREATED", "CREATED"]
    assert [s.name for s in await world.statuses(*chain)] == ["EXISTS", "LINKED_EVENT_FAILED"]


async def test_the_id_of_a_transient_failure_is_burnt_though_its_chain_is_undone(world: World) -> None:
    await world.open("bank rich")
    await world.open("poor", flags=2)
    await world.request("""
        FIRST: rich -> bank 1 linked     | linked_event_failed
        SECOND: poor -> bank 1 linked    | exceeds_credits
        THIRD: rich -> bank 1            | linked_event_failed
    """)
    await world.request("bank -> poor 100 | created")
    await world.request("""
        rich -> bank 1 id=FIRST          | created
        poor -> bank 1 id=SECOND         | id_already_failed
        rich -> bank 1 id=THIRD          | created
    """)
    assert await world.transfer("SECOND") is None


async def test_a_burnt_id_is_no_pending_transfer(world: World) -> None:
    await world.open("bank")
    await world.open("poor", flags=2)
    await world.request("P: poor -> bank 1 pending | exceeds_credits")
    await world.request("- -> - 1 post of=P | pending_transfer_not_found")


async def test_the_same_id_twice_in_one_request_is_created_once(world: World) -> None:
    await world.open("a b")
    event = world.event("a -> b 7")
    first, second = await world.ledger.create_transfers([event, event])
    assert (first.status.name, second.status.name) == ("CREATED", "EXISTS")
    assert first.timestamp == second.timestamp
    assert await world.balances("b") == (0, 0, 0, 7)


async def test_the_same_id_twice_in_one_chain_undoes_both(world: World) -> None:
    await world.open("a b")
    event = world.event("a -> b 7 linked")
    again = world.event(f"a -> b 7 id={event.id}")
    statuses = [s.name for s in await world.statuses(event, again)]
    assert statuses == ["LINKED_EVENT_FAILED", "EXISTS_WITH_DIFFERENT_FLAGS"]
    assert await world.balances("b") == (0, 0, 0, 0)


async def test_a_transient_failure_and_its_retry_in_one_request(world: World) -> None:
    await world.open("bank")
    await world.open("poor", flags=2)
    event = world.event("poor -> bank 5")
    answers = await world.statuses(event, world.event("bank -> poor 5"), event)
    assert [s.name for s in answers] == ["EXCEEDS_CREDITS", "CREATED", "ID_ALREADY_FAILED"]


async def test_pending_and_its_post_in_one_chain(world: World) -> None:
    await world.open("a b")
    await world.request("""
        P: a -> b 10 pending linked      | created
        - -> - 6 post of=P               | created
    """)
    assert await world.balances("a") == (0, 6, 0, 0)


async def test_pending_and_its_post_in_a_chain_that_breaks_leave_nothing(world: World) -> None:
    await world.open("a b")
    await world.request("""
        P: a -> b 10 pending linked      | linked_event_failed
        X: - -> - 10 post of=P linked    | linked_event_failed
        a -> b 1 code=0                  | code_must_not_be_zero
    """)
    assert await world.balances("a") == (0, 0, 0, 0)
    assert await world.transfer("P") is None
    await world.request("- -> - 10 post of=P | pending_transfer_not_found")


async def test_a_post_that_is_undone_leaves_its_pending_transfer_alive(world: World) -> None:
    await world.open("a b")
    await world.request("P: a -> b 10 pending | created")
    await world.request("""
        - -> - 10 post of=P linked       | linked_event_failed
        a -> b 1 code=0                  | code_must_not_be_zero
    """)
    assert await world.balances("a") == (10, 0, 0, 0)
    await world.request("- -> - 0 void of=P | created")


async def test_two_ends_of_one_pending_transfer_in_one_request(world: World) -> None:
    await world.open("a b")
    await world.request("""
        P: a -> b 10 pending             | created
        - -> - MAX post of=P             | created
        - -> - 0 void of=P               | pending_transfer_already_posted
    """)


async def test_closing_and_the_void_that_reopens_in_one_chain(world: World) -> None:
    await world.open("a b")
    await world.request("""
        C: a -> b 0 pending closing_debit linked  | created
        - -> - 0 void of=C linked                 | created
        a -> b 3                                  | created
    """)
    assert await world.balances("a") == (0, 3, 0, 0)


async def test_a_closing_transfer_in_a_chain_that_breaks_leaves_the_account_open(world: World) -> None:
    await world.open("a b")
    await world.request("""
        C: a -> b 0 pending closing_debit linked  | linked_event_failed
        D: a -> b 1                               | debit_account_already_closed
    """)
    await world.request("a -> b 3 | created")


async def test_a_timeout_of_a_chain_that_broke_releases_nothing(world: World) -> None:
    await world.open("a b")
    await world.request("""
        P: a -> b 10 pending timeout=1 linked     | linked_event_failed
        a -> b 1 code=0                           | code_must_not_be_zero
    """)
    await world.request("a -> b 10 pending timeout=9 id=P | created")
    world.clock.advance(seconds=2)
    assert await world.balances("a") == (10, 0, 0, 0)
    world.clock.advance(seconds=8)
    assert await world.balances("a") == (0, 0, 0, 0)


async def test_linked_accounts_stand_or_fall_together(world: World) -> None:
    good = Account(id=world.new_id(), ledger=1, code=1, flags=LINKED)
    bad = Account(id=world.new_id(), ledger=0, code=1)
    results = await world.ledger.create_accounts([good, bad])
    assert [r.status.name for r in results] == ["LINKED_EVENT_FAILED", "LEDGER_MUST_NOT_BE_ZERO"]
    assert await world.ledger.lookup_accounts([good.id]) == []
    bad.ledger = 1
    results = await world.ledger.create_accounts([good, bad])
    assert [r.status for r in results] == [CreateAccountStatus.CREATED] * 2


async def test_an_empty_request_is_answered_by_an_empty_list(world: World) -> None:
    assert await world.ledger.create_transfers([]) == []
    assert await world.ledger.create_accounts([]) == []


async def test_timestamps_rise_within_a_request_and_from_one_to_the_next(world: World) -> None:
    await world.open("a b")
    events = [world.event("a -> b 1") for _ in range(50)]
    stamps = [r.timestamp for r in await world.ledger.create_transfers(events)]
    [late] = await world.ledger.create_transfers([world.event("a -> b 1")])
    assert stamps == list(range(stamps[0], stamps[0] + 50))
    assert late.timestamp > stamps[-1]


async def test_timestamps_of_answers_are_assigned_original_or_of_validation(world: World) -> None:
    await world.open("a b")
    event = world.event("a -> b 1")
    [created] = await world.ledger.create_transfers([event])
    world.clock.advance(seconds=1)
    answers = await world.ledger.create_transfers([Transfer(), event, world.event("a -> b 1 code=0")])
    now = world.clock.now_ns()
    assert [a.timestamp for a in answers] == [now - 2, created.timestamp, now]


async def test_the_timestamps_of_undone_members_stay_what_they_were(world: World) -> None:
    await world.open("a b")
    world.clock.advance(seconds=1)
    events = [world.event("a -> b 1 linked"), world.event("a -> b 1 linked code=0"), world.event("a -> b 1")]
    answers = await world.ledger.create_transfers(events)
    now = world.clock.now_ns()
    assert [a.timestamp for a in answers] == [now - 2, now - 1, now]
