"""Whole journals to check and to export: written by an engine, in tiny segments, from a random stream."""

from random import Random

from foundation.clock import SettableClock
from ledger.checks.snapshot import JournalSnapshot
from ledger.engine import LedgerEngine
from tests.ledger.journaled_duel import JournaledDuel
from tests.ledger.tables_in_memory import TablesInMemory

SEGMENT_ROWS = 20


async def write_journal(url: str, clock: SettableClock, seed: int, steps: int = 45) -> None:
    """Random requests of every kind, in tiny segments."""
    duel = JournaledDuel(Random(seed), clock)
    engine = await LedgerEngine.start(url, clock, segment_rows=SEGMENT_ROWS)
    try:
        for _ in range(steps):
            # Else a segment grows until the next one is prepared, and there may be few of them.
            await engine.wait_until_sealed()
            await duel.step(engine, at_once=False)
        await engine.wait_until_sealed()
    finally:
        await engine.close()


def read_tables(url: str) -> TablesInMemory:
    """The raw rows of a journal."""
    with JournalSnapshot(url) as snapshot:
        return TablesInMemory.read(snapshot)
