"""Memory read session: what the queries ask of their storage, answered from the memory server.

The other side of ``ledger.queries.sql_session``: plain Python over sealed rows, one
after the other, where PostgreSQL has indexes and a planner.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ledger import history_marks
from ledger.archived import Detached
from ledger.columns import TransferColumns
from ledger.contract import Transfer, TransferPendingStatus
from ledger.history_marks import MarkPart
from ledger.id_filter import HEADER_SIZE
from ledger.queries.questions import TransferCriteria
from ledger.queries.storage import Expiry, Pointers, SealedRange, WrittenBatch
from tests.simulation.memory_server import MemoryServer, Place
from tests.simulation.plain_refusals import PENDING, TOP


class MemoryReadSession:
    """See :class:`ledger.queries.storage.ReadSession`."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def transfers_at(self, timestamps: Sequence[int]) -> TransferColumns:
        """See the protocol."""
        places = self._server.by_timestamp
        return _columns([places[timestamp] for timestamp in sorted(set(timestamps)) if timestamp in places])

    async def transfers_by_id(self, ids: Collection[int]) -> list[Transfer]:
        """See the protocol."""
        return [stored.transfer for stored in self._server.find_transfers(ids)]

    async def transfers_between(
        self,
        low: int,
        high: int,
        any_of: Sequence[TransferCriteria],
        slots: Mapping[int, int],
        *,
        newest_first: bool,
        limit: int,
    ) -> TransferColumns:
        """See the protocol."""
        step = -1 if newest_first else 1
        found: list[Place] = []
        for segment in self._server.sealed()[::step]:
            for number in segment.rows_between(low, high)[::step]:
                row = segment.as_tuples[number]
                if not any_of or any(_may_be_meant(row, one, slots) for one in any_of):
                    found.append((segment, number))
                    if len(found) == limit:
                        return _columns(found)
        return _columns(found)

    async def walk(self, slot: int, head: int, *, oldest: int, steps: int) -> TransferColumns:
        """See the protocol."""
        found: list[Place] = []
        place = self._server.by_timestamp.get(head)
        while place is not None:
            found.append(place)
            row = place[0].as_tuples[place[1]]
            previous = row[2] if row[8] == slot else row[3]
            if len(found) == steps or previous < oldest:
                break
            place = self._server.by_timestamp.get(previous)
        return _columns(found)

    async def pointers_at(self, timestamps: Collection[int]) -> dict[int, Pointers]:
        """See the protocol."""
        places = self._server.by_timestamp
        rows = {t: places[t][0].as_tuples[places[t][1]] for t in timestamps if t in places}
        return {t: Pointers(row[8], row[2], row[3]) for t, row in rows.items()}

    async def resolutions_of(self, pending_timestamps: Collection[int]) -> TransferColumns:
        """See the protocol."""
        resolved = self._server.resolved
        return _columns([resolved[timestamp] for timestamp in pending_timestamps if timestamp in resolved])

    async def statuses_of(self, pending_timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """See the protocol."""
        return self._server.find_statuses(pending_timestamps)

    async def expired_at(self, pending_timestamps: Collection[int]) -> dict[int, int]:
        """See the protocol."""
        wanted = self._server.expired.keys() & set(pending_timestamps)
        return {timestamp: self._server.expired[timestamp] for timestamp in wanted}

    async def expiries_between(
        self, low: int, high: int, *, slots: Collection[int] | None = None, limit: int | None = None
    ) -> list[Expiry]:
        """See the protocol."""
        rows = self._server.expiries
        found: list[Expiry] = []
        for row in rows[bisect_left(rows, low, key=_first) : bisect_right(rows, high, key=_first)]:
            if slots is None or row[10] in slots or row[11] in slots:
                expiry: Any = (row[0], row[1], row[2:6], row[6:10], *row[10:])
                found.append(Expiry(*expiry))
                if len(found) == limit:
                    break
        return found

    async def seals_between(self, low: int, high: int, limit: int | None = None) -> list[SealedRange]:
        """See the protocol."""
        inside = [s for s in self._ranges() if s.last_timestamp >= low and s.first_timestamp <= high]
        return inside[:limit]

    async def last_seal_from(self, timestamp: int) -> SealedRange | None:
        """See the protocol."""
        begun = [s for s in self._ranges() if s.first_timestamp <= timestamp]
        return begun[-1] if begun else None

    async def detached(self) -> list[Detached]:
        """Nothing is ever detached here."""
        return []

    async def id_filter(self, number: int) -> list[bytes]:
        """See the protocol."""
        return [data for key, data in sorted(self._server.id_filters.items()) if key[0] == number]

    async def id_filter_headers(self, number: int) -> list[bytes]:
        """See the protocol."""
        return [data[:HEADER_SIZE] for data in await self.id_filter(number)]

    async def marks(self, parts: Collection[int], first: int, last: int) -> list[MarkPart]:
        """See the protocol."""
        return [
            marks
            for segment in reversed(self._server.sealed())
            if first <= segment.number <= last
            for marks in segment.marks
            if marks.part in parts
        ]

    async def marks_of(self, slot: int, first: int, last: int) -> list[int]:
        """See the protocol."""
        part = slot // history_marks.SLOTS_PER_PART
        newest_first = [
            timestamp
            for marks in await self.marks((part,), first, last)
            for marked, timestamp in zip(marks.slots.tolist(), marks.timestamps.tolist(), strict=True)
            if marked == slot
        ]
        return newest_first[::-1]

    async def slots_of(self, account_ids: Collection[int]) -> dict[int, int]:
        """See the protocol."""
        slots = self._server.slots
        return {account_id: slots[account_id] for account_id in account_ids if account_id in slots}

    async def newest_sequence(self) -> int:
        """See the protocol."""
        return self._server.head.sequence

    async def batch_from(self, sequence: int) -> WrittenBatch | None:
        """See the protocol."""
        for row in self._server.batch_rows[max(sequence - 1, 0) :]:
            if row[2]:
                return WrittenBatch(*row)
        return None

    async def first_hash(self) -> bytes | None:
        """See the protocol."""
        heads = self._server.heads
        return heads[0].hash if heads else None

    def _ranges(self) -> Iterator[SealedRange]:
        for segment in self._server.sealed():
            seal = segment.seal
            assert seal is not None
            yield SealedRange(segment.number, seal.first_timestamp, seal.last_timestamp, seal.transfer_count)


def _first(row: tuple[int, ...]) -> int:
    return row[0]


def _columns(places: list[Place]) -> TransferColumns:
    """Sealed rows as columns, in their order."""
    parts: list[TransferColumns] = []
    at = 0
    while at < len(places):
        segment = places[at][0]
        end = at + 1
        while end < len(places) and places[end][0] is segment:
            end += 1
        parts.append(segment.rows.take(np.array([number for _, number in places[at:end]])))
        at = end
    return TransferColumns.join(parts)


def _may_be_meant(row: tuple[int, ...], one: TransferCriteria, slots: Mapping[int, int]) -> bool:
    """Whether an alternative may hold for a journal row, given as the contract's numbers."""
    debit, credit, flags = row[8], row[9], row[12]

    def among(ids: Sequence[int], *sides: int) -> bool:
        return not ids or any(slots.get(account_id) in sides for account_id in ids)

    is_pending = bool(flags & PENDING)
    return (
        among(one.account_ids, debit, credit)
        and among(one.debit_account_ids, debit)
        and among(one.credit_account_ids, credit)
        and one.amount_min <= row[1] <= (TOP if one.amount_max is None else one.amount_max)
        and (not one.ledgers or row[10] in one.ledgers)
        and (not one.codes or row[11] in one.codes)
        and (not one.user_data_128 or row[20] in one.user_data_128)
        and (not one.user_data_64 or row[21] in one.user_data_64)
        and (not one.user_data_32 or row[22] in one.user_data_32)
        and flags & one.flags_all == one.flags_all
        and (not one.flags_any or bool(flags & one.flags_any))
        and not flags & one.flags_none
        and (
            not one.pending_status
            or any((status is not TransferPendingStatus.NONE) == is_pending for status in one.pending_status)
        )
    )
