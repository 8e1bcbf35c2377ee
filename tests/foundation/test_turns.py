"""Turns: one at a time for each key, in the order of asking, and nothing stays behind."""

import asyncio
import gc

import pytest

from foundation.turns import Turns


async def test_tasks_of_one_key_take_turns_and_those_of_another_do_not_wait() -> None:
    turns = Turns()
    done: list[str] = []

    async def take(key: str, name: str, pauses: int) -> None:
        async with turns.of(key):
            for _ in range(pauses):
                await asyncio.sleep(0)
            done.append(name)

    await asyncio.gather(take("a", "slow", 9), take("a", "second", 0), take("b", "other", 1))

    assert done == ["other", "slow", "second"]


async def test_a_turn_that_fails_lets_the_next_one_have_its_own() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        async with turns.of(1):
            # It is there to fail; its value is nobody's.
            1 / 0  # noqa: B018
    async with asyncio.timeout(1), turns.of(1):
        pass
    gc.collect()
    assert not turns._locks
