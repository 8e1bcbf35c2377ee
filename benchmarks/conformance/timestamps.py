"""Timestamps of two ledgers: the same moments, told by two clocks.

Each ledger stamps what it creates. Which stamps belong together is learned from
their answers; they must be in the same order on both sides, or the ledgers have
done things in different orders. A moment that neither has stamped (an imported
event's, a filter's bound) stands as far from the nearest stamp on one side as on
the other; one that is far from all of them, such as the year 1970, means itself.
"""

from __future__ import annotations

from bisect import bisect_left

FAR_NS = 3_600_000_000_000
"""An hour: further from every stamp a moment has nothing to do with any."""


class TimestampPairs:
    """Stamps that belong together, in order."""

    def __init__(self) -> None:
        self._ours: list[int] = []
        self._theirs: list[int] = []

    def agree(self, ours: int, theirs: int) -> bool:
        """Whether two stamps may tell the same moment; a pair seen for the first time is learned."""
        at = bisect_left(self._ours, ours)
        if at < len(self._ours) and self._ours[at] == ours:
            return self._theirs[at] == theirs
        after_the_one_before = at == 0 or self._theirs[at - 1] < theirs
        before_the_one_after = at == len(self._theirs) or theirs < self._theirs[at]
        if not (after_the_one_before and before_the_one_after):
            return False
        self._ours.insert(at, ours)
        self._theirs.insert(at, theirs)
        return True

    def to_theirs(self, ours: int) -> int:
        """A moment of ours on their clock."""
        if not self._ours:
            return ours
        at = bisect_left(self._ours, ours)
        around = [n for n in (at - 1, at) if 0 <= n < len(self._ours)]
        near = min(around, key=lambda n: abs(self._ours[n] - ours))
        if abs(self._ours[near] - ours) > FAR_NS:
            return ours
        return self._theirs[near] + ours - self._ours[near]

    def __len__(self) -> int:
        return len(self._ours)
