"""Patience: a wait ends when it is over, or when its time is, and is never confused with another's."""

import asyncio
from contextlib import suppress

import pytest

from wallet_api.patience import LOOK_SECONDS, Patience


async def value_after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "came"


async def test_what_comes_in_time_is_given():
    assert await Patience().wait(value_after(0), 1) == "came"


async def test_what_takes_too_long_is_told_and_its_task_goes_on():
    patience = Patience()
    with pytest.raises(TimeoutError):
        await patience.wait(asyncio.Event().wait(), 0.01)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await patience.wait(value_after(0), 1) == "came"


async def test_of_many_who_wait_only_those_are_told_whose_time_is_over():
    patience = Patience()
    waits = [patience.wait(value_after(2 * LOOK_SECONDS), 0.01 if one % 2 else 60) for one in range(20)]
    came = await asyncio.gather(*waits, return_exceptions=True)
    assert [one == "came" for one in came] == [one % 2 == 0 for one in range(20)]
    assert all(isinstance(one, TimeoutError) for one in came[1::2])


async def test_whoever_is_cancelled_by_somebody_else_stays_cancelled():
    patience = Patience()
    task = asyncio.create_task(patience.wait(asyncio.Event().wait(), 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_was_overcome_before_does_not_make_a_timeout_one():
    async def overcome_and_wait() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await Patience().wait(asyncio.Event().wait(), 0.01)

    task = asyncio.create_task(overcome_and_wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(TimeoutError):
        await task
    assert task.cancelling() == 1


async def test_an_error_of_what_is_waited_for_is_its_own():
    async def fail() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        await Patience().wait(fail(), 1)


async def test_a_timeout_around_it_is_still_a_timeout():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Patience().wait(asyncio.Event().wait(), 60)


async def test_nobody_looks_once_nobody_waits():
    patience = Patience()
    await patience.wait(value_after(0), 1)
    await asyncio.sleep(1.5 * LOOK_SECONDS)
    assert patience._looks is None
