"""Transfer search: pages of transfers by their fields, from the tail and from sealed segments.

Where every alternative names accounts, their histories are read and nothing else.
Otherwise sealed segments are read in order of time, a window after the other, so
that no page reads a whole table at once: a page ends when it is full, when there
is nothing more, or when its time is over, and its cursor says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ledger.columns import TransferColumns
from ledger.contract import BATCH_MAX, TIMESTAMP_MAX, Transfer
from ledger.queries.archived import refuse_archived
from ledger.queries.criteria import entry_accounts, needs_statuses, to_mask
from ledger.queries.history import newest_first, newest_postings, oldest_first
from ledger.queries.pending_states import find_statuses
from ledger.queries.questions import TransferSearch
from ledger.queries.storage import ReadSession
from ledger.tail import rows_between
from ledger.tail_view import BLOCK_ROWS, TailRow, TailView

BUDGET_SECONDS = 1.0
"""How long a page may look before it is answered with what it has."""
WINDOW_ROWS = 32_768
"""About so many sealed rows are looked at first; more when that is quick, up to a whole segment."""
QUICK_SECONDS, SLOW_SECONDS = 0.05, 0.25
"""A window that took less is doubled, one that took more is halved."""
ENTRIES_MAX = 64
"""Histories of so many accounts are read beside each other; for more the segments are looked through."""
CHUNK_ROWS = 512
"""Rows of histories that are judged at a time."""


@dataclass(slots=True, frozen=True)
class Chunk:
    """Rows that may be wanted, in the order of the search, and how far that is."""

    columns: TransferColumns
    reached: int
    """Every transfer up to this timestamp (in the order of the search) is in a chunk, or not wanted."""


@dataclass(slots=True, frozen=True)
class Found:
    """A page's transfers, and the timestamp to go on after; None when there is nothing more."""

    transfers: list[Transfer]
    reached: int | None
    complete: bool


@dataclass(slots=True)
class Searching:
    """One page in the making."""

    session: ReadSession
    view: TailView
    search: TransferSearch
    slots: Mapping[int, int]
    """Slots of the accounts that the alternatives name, as far as they exist."""
    low: int
    high: int
    """Bounds of what is left to look at, both included."""

    async def page(self, budget_seconds: float | None) -> Found:
        """The next page; None looks until it is full or there is nothing more."""
        deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
        transfers: list[Transfer] = []
        if self.low > self.high:
            return Found(transfers, None, complete=True)
        async for chunk in self._chunks():
            rows = await self._judge(chunk.columns)
            room = self.search.limit - len(transfers)
            transfers += [self.view.transfer(TailRow(chunk.columns, row)) for row in rows[:room]]
            if len(rows) >= room:
                return Found(transfers, transfers[-1].timestamp, complete=True)
            if deadline is not None and time.monotonic() > deadline:
                return Found(transfers, chunk.reached, complete=False)
        return Found(transfers, None, complete=True)

    async def _judge(self, columns: TransferColumns) -> list[int]:
        any_of = self.search.any_of
        mask = to_mask(columns, any_of, self.slots)
        if needs_statuses(any_of):
            rows = np.flatnonzero(mask)
            chosen = columns.take(rows)
            statuses = await find_statuses(self.session, self.view, chosen)
            kept: list[int] = rows[to_mask(chosen, any_of, self.slots, statuses)].tolist()
            return kept
        return np.flatnonzero(mask).tolist()

    def _chunks(self) -> AsyncIterator[Chunk]:
        entries = entry_accounts(self.search.any_of)
        if entries is not None and len(entries) <= ENTRIES_MAX:
            return self._histories([self.slots[i] for i in sorted(entries) if i in self.slots])
        return self._everything()

    async def _everything(self) -> AsyncIterator[Chunk]:
        """Sealed segments and the tail, in the order of the search."""
        if self.search.newest_first:
            for chunk in self._tail():
                yield chunk
        async for chunk in self._sealed():
            yield chunk
        if not self.search.newest_first:
            for chunk in self._tail():
                yield chunk

    def _tail(self) -> Iterator[Chunk]:
        step = -1 if self.search.newest_first else 1
        for columns in self.view.segments[::step]:
            timestamps = columns["timestamp"]
            first, last = rows_between(timestamps, self.low, self.high)
            for start in range(first, last, BLOCK_ROWS)[::step]:
                block = columns.part(start, min(start + BLOCK_ROWS, last))
                # What cannot be wanted is left behind before anything is turned round.
                kept = block.take(np.flatnonzero(to_mask(block, self.search.any_of, self.slots))[::step])
                yield Chunk(kept, int(block["timestamp"][::step][-1]))

    async def _sealed(self) -> AsyncIterator[Chunk]:
        backwards = self.search.newest_first
        high = min(self.high, self.view.first_timestamp - 1)
        seals = await self.session.seals_between(self.low, high)
        detached = {segment.number for segment in await self.session.detached()} if seals else set()
        rows = WINDOW_ROWS
        for seal in seals[::-1] if backwards else seals:
            first, last, count = seal.first_timestamp, seal.last_timestamp, seal.transfer_count
            if seal.number in detached:
                await refuse_archived(self.session, first, last)
            start, end = max(first, self.low), min(last, high)
            while start <= end:
                # Transfers are taken to be spread evenly; where they are not, a window
                # holds a segment's transfers at most.
                width = max((last - first + 1) * rows // count, 1)
                window = (
                    (max(start, end - width + 1), end) if backwards else (start, min(end, start + width - 1))
                )
                began = time.monotonic()
                chunk = await self._window(*window)
                took_seconds = time.monotonic() - began
                yield chunk
                if took_seconds < QUICK_SECONDS:
                    rows = min(2 * rows, max(count, WINDOW_ROWS))
                elif took_seconds > SLOW_SECONDS:
                    rows = max(rows // 2, 1024)
                if backwards:
                    end = chunk.reached - 1
                else:
                    start = chunk.reached + 1

    async def _window(self, low: int, high: int) -> Chunk:
        limit = BATCH_MAX if needs_statuses(self.search.any_of) else self.search.limit
        columns = await self.session.transfers_between(
            low, high, self.search.any_of, self.slots, newest_first=self.search.newest_first, limit=limit
        )
        if len(columns) == limit:
            return Chunk(columns, int(columns["timestamp"][-1]))
        return Chunk(columns, low if self.search.newest_first else high)

    async def _histories(self, slots: Sequence[int]) -> AsyncIterator[Chunk]:
        """The transfers of these accounts, merged."""
        rows: list[TailRow] = []
        async for row in self._merged(await self._readers(slots)):
            rows.append(row)
            if len(rows) == CHUNK_ROWS or len(rows) == self.search.limit:
                yield Chunk(_gather(rows), rows[-1].timestamp)
                rows = []
        if rows:
            yield Chunk(_gather(rows), rows[-1].timestamp)

    async def _readers(self, slots: Sequence[int]) -> list[AsyncIterator[TailRow]]:
        session, view = self.session, self.view
        if not self.search.newest_first:
            return [oldest_first(session, view, s, oldest=self.low, newest=self.high) for s in slots]
        heads = await newest_postings(session, view, np.array(slots, np.int64), self.high)
        steps = min(self.search.limit, CHUNK_ROWS)
        return [
            newest_first(session, view, slot, heads.get(slot, 0), oldest=self.low, steps=steps)
            for slot in slots
        ]

    async def _merged(self, readers: Sequence[AsyncIterator[TailRow]]) -> AsyncIterator[TailRow]:
        """Rows of several histories in one order; a transfer between two of the accounts once."""
        sign = -1 if self.search.newest_first else 1
        waiting = [(row, reader) for reader in readers if (row := await anext(reader, None)) is not None]
        while waiting:
            row = min((row for row, _ in waiting), key=lambda row: sign * row.timestamp)
            yield row
            following = []
            for held, reader in waiting:
                if held.timestamp != row.timestamp:
                    following.append((held, reader))
                elif (after := await anext(reader, None)) is not None:
                    following.append((after, reader))
            waiting = following


def begin_search(
    session: ReadSession,
    view: TailView,
    search: TransferSearch,
    slots: Mapping[int, int],
    after: int | None,
    newest: int,
) -> Searching:
    """A page of a search that goes on after a timestamp; nothing above ``newest`` is looked at."""
    low, high = search.timestamp_min, min(search.timestamp_max or TIMESTAMP_MAX, newest)
    if after is not None:
        low, high = (low, min(high, after - 1)) if search.newest_first else (max(low, after + 1), high)
    return Searching(session, view, search, slots, low, high)


def _gather(rows: Sequence[TailRow]) -> TransferColumns:
    """Rows of several tables as one, in their order."""
    parts: list[TransferColumns] = []
    at = 0
    while at < len(rows):
        columns = rows[at].columns
        end = at + 1
        while end < len(rows) and rows[end].columns is columns:
            end += 1
        parts.append(columns.take(np.array([row.index for row in rows[at:end]])))
        at = end
    return TransferColumns.join(parts)
