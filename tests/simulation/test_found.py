"""What the simulator has found, each as a small world of its own."""

from typing import Any

import pytest

from ledger.id_filter import stored_key
from ledger.pipeline import Group
from tests.simulation.auditor import Request
from tests.simulation.memory_session import MemoryArchive
from tests.simulation.simulated_engine import ObservedPipeline, SimulatedEngine
from tests.simulation.simulator import World

ROWS = 20


def quiet_world() -> tuple[World, SimulatedEngine, SimulatedEngine]:
    """A world in which nothing fails by itself, and its two engines: one that serves, and a standby."""
    world = World(1, strength=0)
    first, second = world.engines
    world.step(first)
    world.step(second)
    assert first.pipeline.tenure is not None
    assert second.pipeline.tenure is None
    return world, first, second


def send(world: World, engine: SimulatedEngine, kind: str) -> Request:
    """Send something small of that kind."""
    if kind == "transfers":
        debit, credit = world.auditor.ledger.slots[:2]
        events: list[Any] = [(9, debit.id, credit.id, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0)]
    else:
        events = world.workload.request()[1] if kind == "accounts" else [world.auditor.ledger.slots[0].id]
    request = Request(kind, events)
    engine.intake.submit(world.clients._command(request))
    world.clients.outstanding[request] = engine.intake
    return request


def end_session(world: World, engine: SimulatedEngine) -> None:
    """The server ends the session that holds the lock; its engine does not know."""
    tenure: Any = engine.pipeline.tenure
    world.server.end(tenure.journal, linger=False)


def test_a_lookup_that_is_decided_again_is_not_answered_without_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, first, second = quiet_world()
    send(world, first, "accounts")
    world.step(first)
    lookup = send(world, first, "lookup")
    decide = ObservedPipeline._decide
    taken_over: list[bool] = []

    def decide_and_lose_the_lock(self: ObservedPipeline, *arguments: Any) -> Group:
        group = decide(self, *arguments)
        if self is first.pipeline and len(taken_over) < 2:
            # Each time right after the decision: what is in memory is old by then.
            taken_over.append(True)
            end_session(world, first)
            second.pipeline.begin()
            send(world, second, "transfers")
            world.step(second)
            end_session(world, second)
        return group

    monkeypatch.setattr(ObservedPipeline, "_decide", decide_and_lose_the_lock)
    world.step(first)
    assert len(taken_over) == 2
    assert lookup.is_settled
    assert lookup not in world.clients.outstanding


def test_an_engine_that_is_asked_to_stop_while_it_waits_for_the_lock_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, first, second = quiet_world()
    send(world, first, "accounts")
    end_session(world, first)
    second.pipeline.begin()
    monkeypatch.setattr(world, "_let_others", lambda _: first.intake.close())
    assert first.pipeline.step(0) is False
    assert first.pipeline.tenure is None
    assert not world.clients.outstanding


def world_with_a_full_segment() -> tuple[World, SimulatedEngine, SimulatedEngine]:
    """An engine about to attach its first segment, which has just lost its lock and does not know."""
    world, first, second = quiet_world()
    for engine in (first, second):
        engine._segment_rows = lambda: ROWS
    end_session(world, first)
    first.pipeline.begin()
    send(world, first, "accounts")
    world.step(first)
    first.seal_some()
    fill_a_segment(world, first)
    fill_a_segment(world, first)
    # The next table, the checkpoint, and the indexes.
    for _ in range(3):
        first.seal_some()
    end_session(world, first)
    return world, first, second


def fill_a_segment(world: World, engine: SimulatedEngine) -> None:
    debit, credit = world.auditor.ledger.slots[:2]
    start = 1000 + len(world.auditor.ledger.rows)
    events = [(start + n, debit.id, credit.id, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0) for n in range(ROWS)]
    request = Request("transfers", events)
    engine.intake.submit(world.clients._command(request))
    world.step(engine)
    assert request.is_settled


def are_sealed(world: World) -> list[bool]:
    return [segment.seal is not None for segment in world.server.segments]


def test_ids_of_a_segment_that_is_sealed_while_another_engine_loads_are_not_taken_for_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, first, second = world_with_a_full_segment()
    read = MemoryArchive.id_filters

    def read_and_let_the_other_seal(self: MemoryArchive, size: int) -> list[tuple[int, int, bytes]]:
        pieces = read(self, size)
        first.seal_some()
        return pieces

    monkeypatch.setattr(MemoryArchive, "id_filters", read_and_let_the_other_seal)
    # Whatever is loaded is compared with what is stored, id by id.
    second.pipeline.begin()
    assert are_sealed(world) == [True, False]


def test_filters_that_two_engines_have_stored_are_both_understood() -> None:
    world, first, second = world_with_a_full_segment()
    second.pipeline.begin()
    first.seal_some()
    assert are_sealed(world) == [True, False]
    for _ in range(3):
        second.seal_some()
    fill_a_segment(world, second)
    for _ in range(6):
        second.seal_some()
    assert are_sealed(world) == [True, True, False]
    keys = {stored_key(data) for data in world.server.id_filters.values()}
    assert len(keys) == 2
    end_session(world, second)
    second.pipeline.begin()
    world.step(second)
