"""A real TigerBeetle's recorded answers are our answers, through engine and journal."""

from pathlib import Path

import pytest

from foundation.clock import SettableClock
from ledger.engine import LedgerEngine
from tests.ledger.oracle import VECTORS, replay


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
async def test_every_step_gets_tigerbeetles_answer(
    engine: LedgerEngine, clock: SettableClock, path: Path
) -> None:
    assert await replay(engine, clock, path) > 5
