"""Marks: where an account's history can be entered, looked up in sealed segments.

What a mark is, and who writes it, stands in ``ledger.history_marks``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ledger.history_marks import SLOTS_PER_PART, MarkPart
from ledger.queries.storage import ReadSession

I64 = npt.NDArray[np.int64]


async def newest_marks(session: ReadSession, slots: I64, number: int) -> dict[int, int]:
    """The newest mark of each of these slots in the segments up to that number; none where there is none."""
    found: dict[int, int] = {}
    missing = slots
    last = number
    step = 1
    while len(missing) and last > 0:
        # Most accounts are found in the last segment; the few that are idle are looked
        # for in twice as many segments each time.
        first = max(last - step, 0) + 1
        for marks in await session.marks(_parts_of(missing), first, last):
            _take_first(found, missing, marks)
            missing = missing[[slot not in found for slot in missing.tolist()]]
        last, step = first - 1, 2 * step
    return found


async def marks_after(session: ReadSession, slots: I64, number: int, timestamp: int) -> dict[int, int]:
    """In one segment, the oldest mark of each slot that is younger than a timestamp."""
    found: dict[int, int] = {}
    for marks in await session.marks(_parts_of(slots), number, number):
        younger = np.flatnonzero(marks.timestamps > timestamp)
        # Newest first: the last one of a slot is the oldest, and stays.
        of, times = marks.slots[younger], marks.timestamps[younger]
        chosen = np.isin(of, slots)
        found |= dict(zip(of[chosen].tolist(), times[chosen].tolist(), strict=True))
    return found


def _parts_of(slots: I64) -> list[int]:
    parts: list[int] = np.unique(slots // SLOTS_PER_PART).tolist()
    return parts


def _take_first(found: dict[int, int], wanted: I64, marks: MarkPart) -> None:
    """Add the first mark of each wanted slot that has one in a part."""
    at = np.searchsorted(marks.slots, wanted)
    at[at == len(marks.slots)] = 0
    hits = np.flatnonzero(marks.slots[at] == wanted)
    found |= dict(zip(wanted[hits].tolist(), marks.timestamps[at[hits]].tolist(), strict=True))
