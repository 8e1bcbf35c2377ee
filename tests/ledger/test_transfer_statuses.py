"""Every status of ``create_transfers`` is reached, and the earlier of two faults answers."""

import pytest

from ledger.contract import TRANSIENT, CreateTransferStatus, Transfer
from tests.ledger.faults import Fault, neighbours
from tests.ledger.situations import build
from tests.ledger.transfer_faults import ARGUED, CONTRADICTIONS, FAULTS, expected
from tests.ledger.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = CreateTransferStatus


def order(status: int) -> int:
    return list(Status).index(Status(status))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_fault_alone_is_answered_by_its_status(world: World, fault: Fault) -> None:
    results = await world.ledger.create_transfers(await build(world, fault.settings))
    assert results[-1].status is fault.status


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_refused_id_is_burnt_by_transient_statuses_alone(world: World, fault: Fault) -> None:
    request = await build(world, fault.settings)
    [*_, first] = await world.ledger.create_transfers(request)
    [*_, again] = await world.ledger.create_transfers(request)
    assert again.status is (Status.ID_ALREADY_FAILED if fault.status in TRANSIENT else first.status)


@pytest.mark.parametrize("first", FAULTS, ids=str)
async def test_of_two_faults_in_one_event_the_earlier_is_answered(pure_world: World, first: Fault) -> None:
    for second in FAULTS:
        settings = CONTRADICTIONS.compose(first.settings, second.settings)
        if settings is not None and order(first.status) < order(second.status):
            results = await pure_world.ledger.create_transfers(await build(pure_world, settings))
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
    await world.open("a b")
    failing, last = Transfer(flags=1), world.event("a -> b 1 linked")
    assert await world.statuses(failing, last) == [Status.ID_MUST_NOT_BE_ZERO, Status.LINKED_EVENT_CHAIN_OPEN]
