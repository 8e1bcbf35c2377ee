"""The fast ways decide as the exact function does, on streams made of everything that is rare.

The vectorised step is allowed on requests of any size here, and each group is
decided on top of one that is still in flight.
"""

from random import Random

import pytest

from foundation.clock import SettableClock
from ledger import decisions
from ledger.contract import Account, Transfer, TransferFlags
from tests.ledger.books import Books, PipelinedBooks
from tests.ledger.duel import START_NS, Duel, names
from tests.ledger.situations import FAR_CLOCK_NS
from tests.ledger.world import World


@pytest.fixture(autouse=True, params=[1, 7], ids=["each request", "across requests"])
def always_vectorised(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of fewer than seven are taken together, once they are seven events."""
    monkeypatch.setattr(decisions, "VECTOR_EVENTS_MIN", request.param)
    monkeypatch.setattr(decisions, "YIELD_MIN", 1)


@pytest.mark.parametrize("seed", range(400, 410))
def test_a_pipelined_ledger_agrees_with_the_model_and_writes_the_exact_bytes(seed: int) -> None:
    start = FAR_CLOCK_NS if seed % 5 == 3 else START_NS
    duel = Duel(Random(seed), start, PipelinedBooks)
    exact = Books(duel.clock)
    duel.stream.plain_percent, duel.stream.huge_percent = 50, 1
    duel.stream.requests_at_once = (1, 2, 5, 12)
    for _ in range(120):
        requests = duel.step()
        exact.decide(requests)
        assert duel.books.head == exact.head
    assert isinstance(duel.books, PipelinedBooks)
    assert duel.books.blocks > 20


async def both(clock: SettableClock, setup: str, events: list[str]) -> None:
    """Let both kinds of books decide the same, and compare."""
    answers = []
    for books in (Books(SettableClock(START_NS)), PipelinedBooks(SettableClock(START_NS))):
        world = World(books, books.clock, fresh_ids=iter(range(1, 10_000)))  # type: ignore[arg-type]  # the clock is the one above
        await world.open("a b c d")
        books.clock.advance(seconds=10)  # type: ignore[attr-defined]  # the same
        if setup:
            await world.request(setup)
        results = await books.create_transfers([world.event(line) for line in events])
        answers.append((names(results), books.head, list(books.state.accounts)))
    assert answers[0] == answers[1]


async def test_plain_events_in_an_imported_request_are_refused(clock: SettableClock) -> None:
    first = f"a -> b 1 imported timestamp={START_NS + 5 * 10**9}"
    await both(clock, "", [first] + ["a -> b 1"] * 100)


async def test_pending_and_posted_overflow_together_at_the_exact_event(clock: SettableClock) -> None:
    full = 2**62 - 10
    setup = f"a -> b {full} pending | created\na -> c {full} | created"
    await both(clock, setup, ["a -> d 1"] * 100)
    setup = f"b -> a {full} pending | created\nc -> a {full} | created"
    await both(clock, setup, ["d -> a 1"] * 100)


async def test_amounts_whose_sum_would_wrap_are_left_to_the_exact_function(clock: SettableClock) -> None:
    await both(clock, "", [f"a -> b {2**62}", f"a -> b {2**62}", "a -> b 1"] * 30)
    await both(clock, "", [f"a -> b {2**63 - 1}"] + ["c -> d 1"] * 99)


def test_an_id_in_flight_is_known_whatever_way_it_was_decided() -> None:
    clock = SettableClock(START_NS)
    books = PipelinedBooks(clock)
    books.decide([("accounts", [Account(id=n, ledger=1, code=1) for n in (1, 2)])])
    plain = [Transfer(100 + n, 1, 2, 1, ledger=1, code=1) for n in range(5)]
    missing = Transfer(200, 9, 2, 1, ledger=1, code=1)
    reserved = Transfer(300, 1, 2, 8, ledger=1, code=1, flags=int(TransferFlags.PENDING))
    post = Transfer(301, pending_id=300, amount=8, flags=int(TransferFlags.POST_PENDING_TRANSFER))
    [first] = books.decide([("transfers", [*plain, missing, reserved])])
    [second] = books.decide([("transfers", [*plain, missing, reserved, post])])
    assert [r.status.name for r in second] == ["EXISTS"] * 5 + ["ID_ALREADY_FAILED", "EXISTS", "CREATED"]
    assert [r.timestamp for r in second[:5]] == [r.timestamp for r in first[:5]]
    [third] = books.decide([("transfers", [post, Transfer(302, pending_id=300, flags=8)])])
    assert [r.status.name for r in third] == ["EXISTS", "PENDING_TRANSFER_ALREADY_POSTED"]
