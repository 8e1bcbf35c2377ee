"""Random lives of a treasury: deposits, payments, withdrawals, sweeps, reorgs and deaths.

Whatever the order, at every reconciled block both books agree, nothing is credited
or paid twice, and in the end every wallet has what came in minus what went out. A
failing seed is printed by its parameter and replayed by running that test.
"""

import random

import pytest

from tests.treasury.conftest import Treasury
from tests.treasury.life import Life
from tests.treasury.storm import rage


async def live(treasury: Treasury, *, seed: int, steps: int, depth: int, finality: int) -> Life:
    life = Life(treasury, random.Random(seed), depth)
    await life.begin()
    for _ in range(steps):
        await life.step()
    await life.end(finality)
    await life.check()
    return life


@pytest.mark.parametrize("seed", range(3))
async def test_random_life_with_short_finality_keeps_both_books_equal(treasury: Treasury, seed: int) -> None:
    life = await live(treasury, seed=seed, steps=60, depth=2, finality=3)
    assert life.reorgs > 0
    assert life.deaths > 0


@pytest.mark.parametrize("anvil", [32], indirect=True)
@pytest.mark.parametrize("seed", range(2))
async def test_random_life_with_deep_reorgs_keeps_both_books_equal(treasury: Treasury, seed: int) -> None:
    life = await live(treasury, seed=100 + seed, steps=60, depth=64, finality=65)
    assert life.reorgs > 0


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("anvil", [32], indirect=True)
async def test_long_life_with_deep_reorgs_keeps_both_books_equal(treasury: Treasury) -> None:
    life = await live(treasury, seed=4_711, steps=400, depth=64, finality=65)
    assert life.reorgs > 20


@pytest.mark.parametrize("anvil", [32], indirect=True)
async def test_storm_of_reorgs_keeps_both_books_equal_and_credits_every_deposit_once(
    treasury: Treasury,
) -> None:
    storm = await rage(treasury, seed=5, reorgs=15, say=print)
    assert storm.reorgs >= 15
    met = ["txs mined again", "deposits credited", "withdrawals paid", "final blocks compared"]
    met += ["jumps of the clock", "cold moves made", "pauses", "freezes", "fee storms", "node restarts"]
    assert min(storm.done[kind] for kind in met) > 0, storm.done
    assert any("endpoint" in kind for kind in storm.done), storm.done
