"""Archived rows for readers: a question that needs a detached segment is answered from its file, or refused.

Look-ups by id are answered from the file, where the process has the archive's
directory, and so are the pending transfers of expiries. Histories, searches and
balances that reach a detached segment are refused with ``SegmentArchived``; they
never end before it as if that were all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from foundation.errors import InvariantViolation
from ledger.archived import (
    DetachedFilter,
    SegmentFinder,
    find_rows,
    overlapping,
    slots_in,
    transfers_of,
)
from ledger.contract import Transfer
from ledger.interface import SegmentArchived
from ledger.queries.storage import ReadSession
from ledger.tail_view import TailRow, TailView

_REASON = "and what was asked reaches into it"


async def refuse_archived(session: ReadSession, low: int, high: int) -> None:
    """``SegmentArchived`` where a detached segment has a part of a range of timestamps."""
    segment = overlapping(await session.detached(), low, high)
    if segment is not None:
        raise SegmentArchived(segment.number, _REASON)


async def refuse_missing(session: ReadSession, timestamp: int, complaint: str) -> None:
    """Raise why a pointer leads to no row: that is archived, or the books are broken."""
    await refuse_archived(session, timestamp, timestamp)
    raise InvariantViolation(complaint)


class ArchivedLookups:
    """Looks ids up in detached segments; knows their filters once it has read them."""

    def __init__(self, files: SegmentFinder | None) -> None:
        self._files = files
        self._filters: dict[int, DetachedFilter] = {}

    async def find(self, session: ReadSession, view: TailView, ids: Collection[int]) -> dict[int, Transfer]:
        """The transfers with these ids; ``SegmentArchived`` where one may exist and no file is at hand."""
        missing, found = set(ids), dict[int, Transfer]()
        for segment in await session.detached() if missing else ():
            suspects = (await self._filter(session, segment.number, missing)).suspects(missing)
            if suspects:
                rows = await asyncio.to_thread(find_rows, self._files, segment, "id", suspects)
                accounts = {slot: view.account_id(slot) for slot in slots_in(rows)}
                found |= {t.id: t for t in transfers_of(rows, accounts)}
                missing -= found.keys()
        return found

    async def at(self, session: ReadSession, timestamps: Collection[int]) -> dict[int, TailRow]:
        """The transfers of these timestamps, as far as a detached segment has them."""
        found: dict[int, TailRow] = {}
        for segment in await session.detached() if timestamps else ():
            wanted = [t for t in timestamps if segment.first_timestamp <= t <= segment.last_timestamp]
            if wanted:
                rows = await asyncio.to_thread(find_rows, self._files, segment, "timestamp", wanted)
                found |= {int(t): TailRow(rows, n) for n, t in enumerate(rows["timestamp"].tolist())}
        return found

    async def _filter(self, session: ReadSession, number: int, ids: Collection[int]) -> DetachedFilter:
        """The filter of a segment, with what it needs to judge these ids."""
        if number not in self._filters:
            self._filters[number] = DetachedFilter(await session.id_filter_headers(number))
        if self._filters[number].needs_pieces(ids):
            self._filters[number].load(await session.id_filter(number))
        return self._filters[number]
