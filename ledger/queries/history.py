"""History: an account's transfers, from any point of time, forwards and backwards.

An account has no index of its transfers: each row points back to the account's
previous one. The newest transfer is known in memory; in sealed segments marks
(``history_marks``) say where to enter, so that neither the past nor the first
page of a busy account is a walk through all that came later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from foundation.errors import InvariantViolation
from ledger.columns import TransferColumns
from ledger.history_marks import MARK_STEPS
from ledger.queries.archived import refuse_archived, refuse_missing
from ledger.queries.marks import marks_after, newest_marks
from ledger.queries.storage import ReadSession
from ledger.tail import rows_between
from ledger.tail_view import BLOCK_ROWS, TailRow, TailView

I64 = npt.NDArray[np.int64]

WALK_STEPS = 512
"""Rows of a history fetched at a time."""
WALKED_ALONE_MAX = 4
"""So few accounts are walked back one by one: each in one question, where many take a question a step."""
SEGMENTS_AT_ONCE = 16
"""So many segments' marks are fetched at a time."""


async def newest_first(
    session: ReadSession,
    view: TailView,
    slot: int,
    head: int,
    *,
    oldest: int = 0,
    steps: int = WALK_STEPS,
) -> AsyncIterator[TailRow]:
    """An account's transfers from the one at ``head`` (0 for none) back to ``oldest``."""
    at = head
    if at >= view.first_timestamp:
        for row in view.history(slot, at):
            if row.timestamp < oldest:
                return
            yield row
            at = row.previous(slot)
    while at and at >= oldest:
        columns = await _walk(session, slot, at, oldest, steps)
        for index in range(len(columns)):
            row = TailRow(columns, index)
            yield row
        at = row.previous(slot)


async def oldest_first(
    session: ReadSession,
    view: TailView,
    slot: int,
    *,
    oldest: int,
    newest: int,
) -> AsyncIterator[TailRow]:
    """An account's transfers from ``oldest`` on to ``newest``."""
    sealed_newest = min(newest, view.first_timestamp - 1)
    low = oldest
    while low <= sealed_newest:
        seals = await session.seals_between(low, sealed_newest, SEGMENTS_AT_ONCE)
        if not seals:
            break
        marks = await session.marks_of(slot, seals[0].number, seals[-1].number)
        for first, last in _stretches(marks, low, WALK_STEPS // MARK_STEPS):
            rows = await _stretch(session, slot, last, first)
            for row in rows:
                if row.timestamp > sealed_newest:
                    break
                yield row
            if last >= sealed_newest:
                break
        low = seals[-1].last_timestamp + 1
    for columns in view.segments:
        timestamps = columns["timestamp"]
        start, end = rows_between(timestamps, oldest, newest)
        for at in range(start, end, BLOCK_ROWS):
            for index in _postings(columns.part(at, min(at + BLOCK_ROWS, end)), slot).tolist():
                yield TailRow(columns, at + index)


def _stretches(marks: Sequence[int], oldest: int, marks_max: int) -> Iterator[tuple[int, int]]:
    """The account's past in stretches: lowest timestamp, and the mark that each is entered at.

    Each holds twice as many marks as the one before: an idle account has few
    transfers at each, and whoever asks for the first ones only walks a few.
    """
    low, held, wanted = oldest, 0, 1
    for mark in marks:
        if mark < low:
            continue
        held += 1
        if held == wanted or mark == marks[-1]:
            yield low, mark
            low, held, wanted = mark + 1, 0, min(2 * wanted, marks_max)


async def _stretch(session: ReadSession, slot: int, mark: int, oldest: int) -> list[TailRow]:
    """The transfers from ``oldest`` up to a mark, oldest first."""
    rows: list[TailRow] = []
    at = mark
    while at >= oldest and at:
        columns = await _walk(session, slot, at, oldest, WALK_STEPS)
        rows += [TailRow(columns, index) for index in range(len(columns))]
        at = rows[-1].previous(slot)
    return rows[::-1]


async def newest_postings(session: ReadSession, view: TailView, slots: I64, timestamp: int) -> dict[int, int]:
    """The timestamp of each slot's newest transfer up to a time; slots without one are left out."""
    found: dict[int, int] = {}
    # One that is named twice would be found once, and be looked for in older segments too.
    missing = _find_in_tail(view, np.unique(slots), timestamp, found)
    sealed_newest = min(timestamp, view.first_timestamp - 1)
    if not len(missing):
        return found
    seal = await session.last_seal_from(sealed_newest)
    if seal is None:
        return found
    if sealed_newest >= seal.last_timestamp:
        return found | await newest_marks(session, missing, seal.number)
    # In the middle of a segment: enter at the mark that follows, and walk back; an account
    # that has none has its newest mark before that time, in this segment or an older one.
    entries = await marks_after(session, missing, seal.number, sealed_newest)
    rest = missing[[slot not in entries for slot in missing.tolist()]]
    found |= await newest_marks(session, rest, seal.number)
    return found | await _step_back(session, entries, sealed_newest)


def _find_in_tail(view: TailView, slots: I64, timestamp: int, found: dict[int, int]) -> I64:
    """Add what the tail has up to a time; the slots that it has nothing of."""
    if timestamp < view.first_timestamp or not len(slots):
        return slots
    place = np.full(len(view.accounts.ids), -1, np.int32)
    place[slots] = np.arange(len(slots), dtype=np.int32)
    newest = np.zeros(len(slots), np.int64)
    for columns in reversed(view.segments):
        timestamps = columns["timestamp"]
        end = int(np.searchsorted(timestamps, timestamp, "right"))
        while end and not newest.all():
            start = max(0, end - BLOCK_ROWS)
            block = np.zeros(len(slots), np.int64)
            for side in ("debit_account", "credit_account"):
                at = place[columns[side][start:end]]
                hits = np.flatnonzero(at >= 0)
                # Where a place stands several times NumPy keeps the last one: the newest.
                mine = np.zeros(len(slots), np.int64)
                mine[at[hits]] = timestamps[start + hits]
                np.maximum(block, mine, out=block)
            newest = np.where(newest == 0, block, newest)
            end = start
    hits = np.flatnonzero(newest)
    found |= dict(zip(slots[hits].tolist(), newest[hits].tolist(), strict=True))
    missing: I64 = slots[newest == 0]
    return missing


async def _step_back(session: ReadSession, entries: dict[int, int], timestamp: int) -> dict[int, int]:
    """Follow the pointers of accounts until each is at or before a time."""
    found: dict[int, int] = {}
    if len(entries) <= WALKED_ALONE_MAX:
        for slot, at in entries.items():
            columns = await _walk(session, slot, at, 0, MARK_STEPS + 1)
            walked = columns["timestamp"]
            before = walked[walked <= timestamp]
            if len(before):
                found[slot] = int(before[0])
            elif (lost := TailRow(columns, len(columns) - 1).previous(slot)) != 0:
                await refuse_missing(session, lost, f"the history of account slot {slot} is broken")
        return found
    while entries:
        rows = await session.pointers_at(set(entries.values()))
        for lost in set(entries.values()) - rows.keys():
            await refuse_missing(session, lost, "a mark or pointer of a history leads to no transfer")
        previous = {slot: rows[at].previous(slot) for slot, at in entries.items()}
        found |= {slot: at for slot, at in previous.items() if 0 < at <= timestamp}
        entries = {slot: at for slot, at in previous.items() if at > timestamp}
    return found


async def rows_at(session: ReadSession, view: TailView, timestamps: Sequence[int]) -> dict[int, TailRow]:
    """The transfers of these timestamps, from the tail or sealed segments."""
    found = {t: row for t in timestamps if (row := view.at(t)) is not None}
    sealed = await session.transfers_at(sorted({t for t in timestamps if t not in found}))
    found |= {t: TailRow(sealed, n) for n, t in enumerate(sealed["timestamp"].tolist())}
    # Some may be expiries', which have no row; but nobody can tell of one that is archived.
    for timestamp in set(timestamps) - found.keys():
        await refuse_archived(session, timestamp, timestamp)
    return found


async def _walk(session: ReadSession, slot: int, head: int, oldest: int, steps: int) -> TransferColumns:
    """Sealed transfers of an account, newest first, from the one at ``head`` on."""
    columns = await session.walk(slot, head, oldest=oldest, steps=steps)
    if not len(columns):
        await refuse_missing(session, head, f"the history of account slot {slot} is broken at {head}")
    if len(_postings(columns, slot)) != len(columns):
        raise InvariantViolation(f"the history of account slot {slot} is broken at {head}")
    return columns


def _postings(columns: TransferColumns, slot: int) -> I64:
    """The rows of an account."""
    return np.flatnonzero((columns["debit_account"] == slot) | (columns["credit_account"] == slot))
