"""The one clock: nanoseconds of UTC, injected everywhere.

Nothing else in the project asks the machine for the date (a test says so), so
that tests and simulations can set the time. Durations are measured with the
monotonic counters of :mod:`time`, which are no dates and stay allowed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

SECOND_NS = 1_000_000_000
"""Nanoseconds in a second."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the time, and waits."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00Z."""

    def now(self) -> datetime:
        """The same instant as an aware UTC datetime (microseconds)."""

    async def sleep(self, seconds: float) -> None:
        """Wait until this clock has advanced by ``seconds``."""


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns()

    def now(self) -> datetime:
        """The same instant as a datetime."""
        return datetime_from_ns(self.now_ns())

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SettableClock:
    """A clock that stands still until it is moved, also backwards: for tests.

    Threads may share it. ``sleep`` returns when somebody has moved the clock far
    enough.
    """

    def __init__(self, start_ns: int = 1_800_000_000 * SECOND_NS) -> None:
        self._ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """The nanoseconds that were set."""
        return self._ns

    def now(self) -> datetime:
        """The same instant as a datetime."""
        return datetime_from_ns(self._ns)

    def set_ns(self, ns: int) -> None:
        """Jump to an instant."""
        with self._lock:
            self._ns = ns

    def advance(self, seconds: int = 0, *, ns: int = 0) -> None:
        """Move by whole seconds and nanoseconds; negative values move back."""
        with self._lock:
            self._ns += seconds * SECOND_NS + ns

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved on by that much."""
        until = self._ns + round(seconds * SECOND_NS)
        # Any thread may move the clock, so there is no event loop to notify.
        while self._ns < until:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def datetime_from_ns(ns: int) -> datetime:
    """An aware UTC datetime, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=ns // 1_000)


def microseconds_of(at: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return (at - _EPOCH) // timedelta(microseconds=1)
