"""Reading ahead: items in order, failures where they are asked for, and a close leaves nothing running."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ledger.read_ahead import ReadAhead

SECONDS_MAX = 30


def nothing() -> None:
    """There is nothing to interrupt."""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_items_come_in_their_order_and_then_no_more() -> None:
    reading = ReadAhead(range(1000), 3, nothing)
    assert list(reading) == list(range(1000))
    assert list(reading) == []
    reading.close()


def test_no_more_is_read_than_may_wait() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    reading = ReadAhead(items(), 3, nothing)
    # The fourth is in the thread's hand until there is room for it.
    until(lambda: len(read) == 4)
    time.sleep(0.05)
    assert len(read) == 4
    assert next(reading) == 0
    until(lambda: len(read) == 5)
    reading.close()
    assert len(read) <= 6


def test_a_failure_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the server is gone")

    reading = ReadAhead(items(), 3, nothing)
    assert next(reading) == 1
    with pytest.raises(OSError, match="the server is gone"):
        next(reading)
    reading.close()


def test_a_close_interrupts_what_waits_and_ends_the_thread() -> None:
    interrupted, threads = threading.Event(), []

    def items() -> Iterator[int]:
        threads.append(threading.current_thread())
        yield 1
        assert interrupted.wait(SECONDS_MAX), "nobody interrupted it"

    reading = ReadAhead(items(), 3, interrupted.set)
    assert next(reading) == 1
    reading.close()
    assert not threads[0].is_alive()


def test_what_has_ended_is_not_interrupted() -> None:
    interrupted = threading.Event()
    reading = ReadAhead([1], 3, interrupted.set)
    assert list(reading) == [1]
    reading.close()
    assert not interrupted.is_set()


def test_a_close_that_cannot_interrupt_still_waits_for_the_thread() -> None:
    going, threads = threading.Event(), []

    def items() -> Iterator[int]:
        threads.append(threading.current_thread())
        yield 1
        assert going.wait(SECONDS_MAX)

    def fails() -> None:
        going.set()
        raise OSError("the server is gone")

    reading = ReadAhead(items(), 3, fails)
    assert next(reading) == 1
    with pytest.raises(OSError, match="the server is gone"):
        reading.close()
    assert not threads[0].is_alive()
