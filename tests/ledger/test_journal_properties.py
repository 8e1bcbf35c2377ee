"""Laws of the engine with its journal, on random streams against the independent model."""

from collections import Counter
from random import Random

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger import decisions, intake, pipeline
from ledger.client import LedgerClient
from ledger.engine import LedgerEngine
from ledger.segments import SEGMENT_ROWS
from tests.ledger.duel import START_NS
from tests.ledger.invariants import check_journal
from tests.ledger.journaled_duel import JournaledDuel, compare_states, state_of
from tests.ledger.situations import FAR_CLOCK_NS

STEPS = 48


@pytest.fixture(params=["calm", "crowded"])
def crowded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether groups are so small that one is always decided while another commits."""
    if request.param == "crowded":
        monkeypatch.setattr(intake, "BATCH_MAX", 6)
        monkeypatch.setattr(pipeline, "INLINE_ROWS_MAX", -1)
        monkeypatch.setattr(pipeline, "PIPELINE_EVENTS_MIN", 0)
        monkeypatch.setattr(decisions, "VECTOR_EVENTS_MIN", 4)
        monkeypatch.setattr(decisions, "YIELD_MIN", 1)
    return bool(request.param == "crowded")


@pytest.mark.parametrize("segment_rows", [SEGMENT_ROWS, 20], ids=["one segment", "tiny segments"])
@pytest.mark.parametrize("seed", range(4))
async def test_answers_reads_and_restarts_are_the_models(
    database_url: str, clock: SettableClock, seed: int, crowded: bool, segment_rows: int
) -> None:
    duel = JournaledDuel(Random(seed), clock, FAR_CLOCK_NS if seed == 3 else START_NS)
    if crowded:
        duel.stream.requests_at_once = (1, 4, 8)
        duel.stream.plain_percent, duel.stream.huge_percent = 30, 2
    engine = await LedgerEngine.start(database_url, clock, segment_rows=segment_rows)
    try:
        for number in range(1, STEPS + 1):
            await duel.step(engine)
            if number % 6 == 0:
                await duel.read_everything(engine)
            if number % 12 == 0:
                if number % 24 == 0:
                    await engine.wait_until_sealed()
                engine = await restart(engine, database_url, duel, segment_rows)
    finally:
        await engine.close()
    check_journal(database_url)
    with psycopg.connect(sync_url(database_url)) as db:
        sealed = db.execute("SELECT count(*) FROM ledger_seal").fetchone()
        kept = db.execute("SELECT count(*) FROM ledger_checkpoint").fetchone()
    assert sealed is not None
    assert kept is not None
    assert (sealed[0] > 0) == (kept[0] > 0) == (segment_rows == 20)
    assert seen_too_little(duel.read) == set()


def seen_too_little(read: Counter[str]) -> set[str]:
    """Kinds of answers that a stream must have had, or it tests nothing."""
    wanted = {
        "account transfers", "account balances", "queried transfers", "queried accounts", "statement lines",
        "single_phase", "two_phase_pending", "two_phase_posted", "two_phase_voided", "two_phase_expired",
        "invalid account filter", "invalid query filter", "invalid change filter",
    }  # fmt: skip
    return {kind for kind in wanted if not read[kind]}


async def restart(
    engine: LedgerEngine, database_url: str, duel: JournaledDuel, segment_rows: int
) -> LedgerEngine:
    await engine.close()
    before = state_of(engine)
    started = await LedgerEngine.start(database_url, duel.clock, segment_rows=segment_rows)
    compare_states(state_of(started), before)
    assert started.sequence == engine.sequence
    # It cannot know of timestamps that were given to refused events and left no trace.
    duel.model.last = state_of(started).last_timestamp
    return started


async def test_a_stream_gets_the_models_answers_over_the_socket(
    client: LedgerClient, clock: SettableClock, crowded: bool
) -> None:
    duel = JournaledDuel(Random(50 + crowded), clock)
    for number in range(1, 31):
        # The client has a lane for accounts and one for transfers, so order is the caller's.
        await duel.step(client, at_once=False)
        if number % 10 == 0:
            await duel.read_everything(client)
