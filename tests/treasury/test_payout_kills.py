"""Kill -9 at every step of a withdrawal, the short form: each step once, real processes throughout."""

import asyncio

import pytest

from tests.treasury.payout_kills import SIGNER_DEATHS, theatre


@pytest.mark.slow
async def test_processes_killed_after_any_effect_pay_once_and_post_once(database_url: str) -> None:
    async with theatre(database_url, seed=1) as stage:

        def play() -> None:
            stage.kill_after_every_effect(1, stuck=False)
            stage.kill_at_random(5)
            stage.kill_signer(1)

        await asyncio.to_thread(play)
        await stage.verify()
        # Intent, hold, approval, nonce, signature, storing, sending, settling, closing, and reads between.
        assert len(stage.tally.kills) > 15
        assert sum(name.startswith("signer") for name in stage.tally.kills) == len(SIGNER_DEATHS)


@pytest.mark.slow
async def test_processes_killed_while_a_stuck_payment_is_replaced_pay_once(database_url: str) -> None:
    async with theatre(database_url, seed=2) as stage:
        await asyncio.to_thread(stage.kill_after_every_effect, 1, stuck=True)
        await stage.verify()
        assert any("replace: signature" in name for name in stage.tally.kills)


@pytest.mark.slow
async def test_processes_killed_after_any_effect_of_a_batch_pay_each_of_it_once(database_url: str) -> None:
    async with theatre(database_url, seed=3) as stage:

        def play() -> None:
            stage.kill_after_every_effect(1, stuck=False, members=3)
            stage.kill_signer(1, members=3)

        await asyncio.to_thread(play)
        await stage.verify()
        # Most go together; one that was killed before all were asked for may send some alone.
        assert stage.tally.batches > len(stage.tally.kills) / 2
        assert any("send: signature" in name for name in stage.tally.kills)
