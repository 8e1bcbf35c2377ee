"""The sandbox's clock: the machine's, and as much ahead of it as tests have moved it.

How far ahead stands in a file of the home, which every process of that home maps into its
memory: API, ledger, worker and signer see a move in the same instant, and a restart keeps
it. It moves forward only, because the ledger's times grow. A home whose clock was moved is
a sandbox for ever: without the setting its processes would live in the past of its ledger.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
from datetime import datetime
from pathlib import Path
from typing import Final

from foundation.clock import SECOND_NS, Clock, SystemClock, datetime_from_ns
from foundation.errors import NUGPayError
from foundation.settings import Settings

ADVANCE_SECONDS_MAX: Final = 366 * 86_400
"""Most seconds in one move."""

AHEAD_SECONDS_MAX: Final = 50 * 366 * 86_400
"""Most seconds in all: what is reckoned ahead from there still fits every time of the project."""

_BYTES: Final = 8
_POLL_SECONDS: Final = 0.05


class SandboxClock:
    """A clock that all processes of a home share, and that any of them moves forward."""

    def __init__(self, path: Path, base: Clock | None = None) -> None:
        """``path`` is made if it is not there; ``base`` tells the time that is not moved."""
        self._base: Final = base or SystemClock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: Final = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with _Locked(self._file):
            # Zeros are a clock that was not moved; a file that a dying process left empty is one, too.
            if os.fstat(self._file).st_size < _BYTES:
                os.truncate(self._file, _BYTES)
        self._map: Final = mmap.mmap(self._file, _BYTES)
        # One aligned word of the machine: who reads sees it whole, before or after a move.
        self._seconds: Final = memoryview(self._map).cast("q")

    @property
    def ahead_seconds(self) -> int:
        """How far it has been moved, in seconds."""
        return int(self._seconds[0])

    def now_ns(self) -> int:
        """Nanoseconds since 1970, as moved."""
        return self._base.now_ns() + self._seconds[0] * SECOND_NS

    def now(self) -> datetime:
        """The same instant as a datetime."""
        return datetime_from_ns(self.now_ns())

    async def sleep(self, seconds: float) -> None:
        """Wait until this clock has advanced by that much, by time or by a move."""
        until = self.now_ns() + round(seconds * SECOND_NS)
        while (left := until - self.now_ns()) > 0:  # noqa: ASYNC110 - another process may move it: no event to wait for.
            await asyncio.sleep(min(left / SECOND_NS, _POLL_SECONDS))

    def advance(self, seconds: int) -> bool:
        """Move forward; False, and nothing is moved, beyond ``AHEAD_SECONDS_MAX``.

        It is on disk when this returns. If the process dies before, the move has happened for all
        processes of the machine, and for a machine that loses its power perhaps not.
        """
        assert 1 <= seconds <= ADVANCE_SECONDS_MAX
        with _Locked(self._file):
            moved = self._seconds[0] + seconds
            if moved > AHEAD_SECONDS_MAX:
                return False
            self._seconds[0] = moved
            self._map.flush()
        return True


class _Locked:
    """Only one process moves the clock at a time."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


def sandbox_clock_path(settings: Settings) -> Path:
    """The file of a home that says how far its clock is ahead."""
    return settings.home / "sandbox-clock"


def clock_of(settings: Settings) -> Clock:
    """The clock of a process: the machine's, or the sandbox's.

    Raises ``NUGPayError`` for a home that was a sandbox and is to be none.
    """
    path = sandbox_clock_path(settings)
    if settings.sandbox:
        return SandboxClock(path)
    if path.exists():
        raise NUGPayError(
            f"{settings.home} is a sandbox, whose clock may be ahead: start it with NUGPAY_SANDBOX=1 "
            "(./nugpay up --sandbox), or take another NUGPAY_HOME."
        )
    return SystemClock()
