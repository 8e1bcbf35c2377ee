"""The one clock: the machine's, or one that stands still until it is moved."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.clock import SECOND_NS, SettableClock, SystemClock, datetime_from_ns


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.time_ns()
    now = clock.now_ns()
    assert before <= now <= time.time_ns()
    assert clock.now().tzinfo is UTC
    assert clock.now() >= datetime_from_ns(now)


async def test_the_system_clock_waits() -> None:
    began = time.perf_counter()
    await SystemClock().sleep(0.01)
    assert time.perf_counter() - began >= 0.009


def test_a_settable_clock_stands_still_and_moves_both_ways() -> None:
    clock = SettableClock(5 * SECOND_NS)
    assert clock.now_ns() == clock.now_ns() == 5 * SECOND_NS
    clock.advance(seconds=2, ns=3)
    assert clock.now_ns() == 7 * SECOND_NS + 3
    clock.advance(seconds=-4)
    assert clock.now_ns() == 3 * SECOND_NS + 3
    clock.set_ns(1)
    assert clock.now_ns() == 1


@given(st.integers(0, 253_402_300_799 * SECOND_NS))
def test_a_datetime_is_utc_cut_to_microseconds(ns: int) -> None:
    moment = datetime_from_ns(ns)
    assert moment.tzinfo is UTC
    assert (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == ns // 1000
    assert SettableClock(ns).now() == moment


async def test_a_sleeper_wakes_when_the_clock_has_moved_far_enough() -> None:
    clock = SettableClock()
    sleeper = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(0)
    for seconds in (4, 5):
        clock.advance(seconds=seconds)
        done, _ = await asyncio.wait({sleeper}, timeout=0.02)
        assert not done
    clock.advance(seconds=1)
    await asyncio.wait_for(sleeper, 10)


async def test_a_sleep_of_nothing_returns_at_once() -> None:
    await asyncio.wait_for(SettableClock().sleep(0), 1)


@pytest.mark.parametrize("threads", [8])
async def test_threads_may_move_a_clock_together(threads: int) -> None:
    clock = SettableClock(0)

    def move() -> None:
        for _ in range(1000):
            clock.advance(ns=1)

    await asyncio.gather(*(asyncio.to_thread(move) for _ in range(threads)))
    assert clock.now_ns() == 1000 * threads
