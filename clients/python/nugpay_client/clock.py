"""The library's one look at the device's clock, corrected by what the server said.

A phone that was off for weeks may be wrong by days. The server refuses such a
signature and says its own time; from then on this clock counts from that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class DeviceClock:
    """Seconds since 1970, as the server counts them."""

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        """``read`` gives the device's own seconds since 1970."""
        self._read = read
        self._ahead_seconds = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return self._read() + self._ahead_seconds

    def learn(self, server_time: str) -> None:
        """Count from what the server says, an RFC 3339 time."""
        told = datetime.fromisoformat(server_time).astimezone(UTC)
        self._ahead_seconds = told.timestamp() - self._read()
