"""Pending states: what has become of pending transfers.

A post or void names its pending transfer in its own row, an expiry in the
expiries' table; a pending transfer that neither names is still alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ledger.columns import TransferColumns
from ledger.contract import SECOND_NS, Transfer, TransferFlags, TransferPendingStatus
from ledger.queries.archived import refuse_archived
from ledger.queries.questions import PendingState
from ledger.queries.storage import ReadSession
from ledger.sealed_rows import resolution_of
from ledger.tail_view import TailRow, TailView

_PENDING = int(TransferFlags.PENDING)


@dataclass(slots=True, frozen=True)
class Resolution:
    """What ended a pending transfer."""

    status: TransferPendingStatus
    timestamp: int
    transfer: Transfer | None
    """The post or void; None for an expiry."""


async def find_resolutions(
    session: ReadSession, view: TailView, timestamps: Sequence[int]
) -> dict[int, Resolution]:
    """What ended the pending transfers of these timestamps, as far as something did."""
    wanted = np.array(sorted(timestamps), np.int64)
    if not len(wanted):
        return {}
    found: dict[int, Resolution] = {}
    for columns in view.segments:
        resolves = columns.arrays.get("pending_timestamp")
        if resolves is not None:
            for index in np.flatnonzero(np.isin(resolves, wanted)).tolist():
                found |= _resolution(view, TailRow(columns, index))
    older = [timestamp for timestamp in wanted.tolist() if timestamp not in found]
    if older:
        sealed = await session.resolutions_of(older)
        for index in range(len(sealed)):
            found |= _resolution(view, TailRow(sealed, index))
        for pending, timestamp in (await session.expired_at(older)).items():
            found[pending] = Resolution(TransferPendingStatus.EXPIRED, timestamp, None)
        # What ended a pending transfer is younger than it: one of a detached segment may
        # have been ended there.
        unclear = [timestamp for timestamp in older if timestamp not in found]
        if unclear:
            await refuse_archived(session, min(unclear), max(unclear))
    return found


def _resolution(view: TailView, row: TailRow) -> dict[int, Resolution]:
    transfer = view.transfer(row)
    pending = int(row.columns["pending_timestamp"][row.index])
    return {pending: Resolution(resolution_of(transfer.flags), transfer.timestamp, transfer)}


async def find_statuses(
    session: ReadSession, view: TailView, columns: TransferColumns
) -> npt.NDArray[np.int8]:
    """What has become of each of these rows."""
    is_pending = columns["flags"] & _PENDING != 0
    statuses = np.zeros(len(columns), np.int8)
    statuses[is_pending] = int(TransferPendingStatus.PENDING)
    timestamps = columns["timestamp"][is_pending].tolist()
    if timestamps:
        ended = await _ended(session, view, timestamps)
        for index, timestamp in zip(np.flatnonzero(is_pending).tolist(), timestamps, strict=True):
            statuses[index] = ended.get(timestamp, int(TransferPendingStatus.PENDING))
    return statuses


async def _ended(session: ReadSession, view: TailView, timestamps: list[int]) -> dict[int, int]:
    """The statuses of those pending transfers that have ended."""
    wanted = np.array(timestamps, np.int64)
    found: dict[int, int] = {}
    for columns in view.segments:
        resolves = columns.arrays.get("pending_timestamp")
        if resolves is not None:
            rows = np.flatnonzero(np.isin(resolves, wanted))
            flags = columns["flags"][rows].tolist()
            for pending, flag in zip(resolves[rows].tolist(), flags, strict=True):
                found[pending] = int(resolution_of(flag))
    older = [timestamp for timestamp in timestamps if timestamp not in found]
    if older:
        found |= {t: int(status) for t, status in (await session.statuses_of(older)).items()}
    return found


async def states_of(
    session: ReadSession, view: TailView, transfers: Sequence[Transfer]
) -> list[PendingState]:
    """What has become of each of these transfers, in their order."""
    pending = [t.timestamp for t in transfers if t.flags & TransferFlags.PENDING]
    found = await find_resolutions(session, view, pending)
    return [_state(t, found.get(t.timestamp)) for t in transfers]


def _state(transfer: Transfer, end: Resolution | None) -> PendingState:
    if not transfer.flags & TransferFlags.PENDING:
        return PendingState(transfer.id, transfer.timestamp, TransferPendingStatus.NONE, 0, 0, 0, 0)
    expires_at = transfer.timestamp + transfer.timeout * SECOND_NS if transfer.timeout else 0
    if end is None:
        return PendingState(
            transfer.id, transfer.timestamp, TransferPendingStatus.PENDING, expires_at, 0, 0, 0
        )
    by = end.transfer
    posted = by.amount if by is not None and end.status is TransferPendingStatus.POSTED else 0
    return PendingState(
        transfer.id, transfer.timestamp, end.status, expires_at, by.id if by else 0, end.timestamp, posted
    )
