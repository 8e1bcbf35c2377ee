"""Every status of ``create_accounts`` is reached, and the earlier of two faults answers."""

import pytest

from ledger.contract import Account, AccountFlags, CreateAccountStatus
from tests.ledger.account_faults import ARGUED, CONTRADICTIONS, FAULTS, build, expected
from tests.ledger.faults import Fault, neighbours
from tests.ledger.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = CreateAccountStatus


def order(status: int) -> int:
    return list(Status).index(Status(status))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_fault_alone_is_answered_by_its_status(world: World, fault: Fault) -> None:
    results = await world.ledger.create_accounts(await build(world, fault.settings))
    assert results[-1].status is fault.status


async def test_an_account_without_a_fault_is_created_with_what_was_asked(world: World) -> None:
    asked = Account(
        id=world.new_id(), user_data_128=2**128 - 1, user_data_64=2**64 - 1, user_data_32=2**32 - 1,
        ledger=2**32 - 1, code=2**16 - 1, flags=int(AccountFlags.HISTORY | AccountFlags.CLOSED),
    )  # fmt: skip
    [result] = await world.ledger.create_accounts([asked])
    assert result.status is Status.CREATED
    asked.timestamp = result.timestamp
    assert await world.ledger.lookup_accounts([asked.id]) == [asked]


@pytest.mark.parametrize("first", FAULTS, ids=str)
async def test_of_two_faults_in_one_event_the_earlier_is_answered(pure_world: World, first: Fault) -> None:
    for second in FAULTS:
        settings = CONTRADICTIONS.compose(first.settings, second.settings)
        if settings is not None and order(first.status) < order(second.status):
            results = await pure_world.ledger.create_accounts(await build(pure_world, settings))
            assert results[-1].status is expected(settings), f"{first} and {second}"


async def test_every_status_has_a_fault_that_reaches_it() -> None:
    assert {fault.status for fault in FAULTS} | {Status.CREATED} == set(Status)


async def test_every_two_neighbours_are_tested_together_or_argued() -> None:
    together = {
        (first.status, second.status)
        for first in FAULTS
        for second in FAULTS
        if (settings := CONTRADICTIONS.compose(first.settings, second.settings)) is not None
        and expected(settings) == first.status
    }
    assert [pair for pair in neighbours(Status) if pair not in together] == list(ARGUED)


async def test_an_open_chain_is_answered_even_inside_a_broken_one(world: World) -> None:
    events = [Account(flags=1), Account(id=world.new_id(), flags=1, ledger=1, code=1)]
    results = await world.ledger.create_accounts(events)
    assert [r.status for r in results] == [Status.ID_MUST_NOT_BE_ZERO, Status.LINKED_EVENT_CHAIN_OPEN]
