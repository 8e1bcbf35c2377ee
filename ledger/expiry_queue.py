"""Expiry queue: which pending transfer's time is over next.

Single ones go into a heap; a vectorised step adds thousands as one sorted run.
The first of the heap and of each run compete. Entries of transfers that are
resolved meanwhile stay until their time comes; the caller skips them.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

RUNS_MAX = 32
"""More runs are merged into one."""

Entry = tuple[int, int, int]
"""(expires_at, timestamp, id), in nanoseconds."""


@dataclass(slots=True)
class _Run:
    """Entries sorted by (expires_at, timestamp); those before ``at`` are gone."""

    expires_at: I64
    timestamp: I64
    ids: U64
    at: int = 0

    def head(self) -> Entry | None:
        if self.at == len(self.expires_at):
            return None
        low, high = self.ids[self.at].tolist()
        return int(self.expires_at[self.at]), int(self.timestamp[self.at]), high << 64 | low


@dataclass(slots=True)
class ExpiryQueue:
    """Entries in order of (expires_at, timestamp)."""

    _heap: list[Entry] = field(default_factory=list)
    _runs: list[_Run] = field(default_factory=list)
    _heads: list[tuple[Entry, int]] = field(default_factory=list)
    """Heap of each run's first entry, with the run's position."""

    def add(self, expires_at: int, timestamp: int, transfer_id: int) -> None:
        """Add one."""
        heapq.heappush(self._heap, (expires_at, timestamp, transfer_id))

    def add_many(self, expires_at: I64, timestamp: I64, ids: U64) -> None:
        """Add many, with ids as (low, high) pairs."""
        self._add_run(expires_at, timestamp, ids)
        if len(self._runs) > RUNS_MAX:
            self._merge()

    def peek(self) -> Entry | None:
        """The first entry."""
        if self._heads and (not self._heap or self._heads[0][0] < self._heap[0]):
            return self._heads[0][0]
        return self._heap[0] if self._heap else None

    def entries(self) -> list[Entry]:
        """Every entry, in no order."""
        runs = [
            (expires_at, timestamp, high << 64 | low)
            for run in self._runs
            for expires_at, timestamp, (low, high) in zip(
                run.expires_at[run.at :].tolist(),
                run.timestamp[run.at :].tolist(),
                run.ids[run.at :].tolist(),
                strict=True,
            )
        ]
        return [*self._heap, *runs]

    def pop_due(self, now_ns: int) -> tuple[int, int] | None:
        """Take the first entry if its time has come: (timestamp, id)."""
        first = self.peek()
        if first is None or first[0] > now_ns:
            return None
        if self._heads and self._heads[0][0] is first:
            position = self._heads[0][1]
            run = self._runs[position]
            run.at += 1
            following = run.head()
            if following is None:
                heapq.heappop(self._heads)
            else:
                heapq.heapreplace(self._heads, (following, position))
        else:
            heapq.heappop(self._heap)
        return first[1], first[2]

    def _add_run(self, expires_at: I64, timestamp: I64, ids: U64) -> None:
        order = np.lexsort((timestamp, expires_at))
        run = _Run(expires_at[order], timestamp[order], ids[order])
        self._runs.append(run)
        head = run.head()
        if head is not None:
            heapq.heappush(self._heads, (head, len(self._runs) - 1))

    def _merge(self) -> None:
        runs, self._runs, self._heads = self._runs, [], []
        self._add_run(
            np.concatenate([run.expires_at[run.at :] for run in runs]),
            np.concatenate([run.timestamp[run.at :] for run in runs]),
            np.concatenate([run.ids[run.at :] for run in runs]),
        )
