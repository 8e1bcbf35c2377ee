"""Stored transfers: found by id in drafts, tail and sealed segments, as the state machine needs them.

Before a group of requests is decided, every id that its events name is looked
up here once, so that the decision itself never waits for the database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from ledger.contract import Account, AccountFlags, TransferFlags, TransferPendingStatus
from ledger.draft import Draft
from ledger.sealed_rows import resolution_of
from ledger.slot_map import ABSENT
from ledger.state import State
from ledger.storage import JournalSession
from ledger.stored_transfer import StoredTransfer
from ledger.tail import Tail
from ledger.transfer_views import transfer_at

_PENDING = int(TransferFlags.PENDING)
_IMPORTED_ACCOUNT = int(AccountFlags.IMPORTED)


def load_known(session: JournalSession, tail: Tail, state: State, draft: Draft, ids: set[int]) -> None:
    """Make known to the draft all that it and the journal have under these ids.

    None of them is that of a live pending transfer.
    """
    _load(session, tail, state, draft, set(ids))
    pending_ids = {
        stored.transfer.pending_id
        for stored in (draft.known.get(i) for i in ids)
        if stored is not None and stored.transfer.pending_id
    }
    # A replayed post or void is compared with its pending transfer too.
    more = {i for i in pending_ids if i not in draft.known and i not in state.pendings}
    _load(session, tail, state, draft, more)


def _load(session: JournalSession, tail: Tail, state: State, draft: Draft, ids: set[int]) -> None:
    draft.load_from_memory(state, ids)
    if not ids:
        return
    found = [draft.as_it_stands(stored) for stored in find_in_tail(tail, state, ids)]
    missing = ids - {stored.transfer.id for stored in found}
    if missing:
        found += [draft.as_it_stands(stored) for stored in session.find_transfers(missing)]
        draft.failed.update(session.find_failed(missing))
    unclear = {
        stored.transfer.timestamp: stored
        for stored in found
        if stored.status is TransferPendingStatus.PENDING
    }
    if unclear:
        # It is not alive and no unstored row resolved it: the journal says what did.
        statuses = statuses_in_tail(tail, unclear)
        statuses |= session.find_statuses(unclear.keys() - statuses.keys())
        for timestamp, status in statuses.items():
            unclear[timestamp].status = status
    draft.known.update({stored.transfer.id: stored for stored in found})


def find_in_tail(tail: Tail, state: State, ids: Collection[int]) -> Iterable[StoredTransfer]:
    """The tail's transfers with these ids; a pending one shows as such, whatever became of it."""
    wanted = list(ids)
    for segment in tail.segments:
        rows = segment.find(wanted)
        if all(row == ABSENT for row in rows):
            continue
        columns = segment.columns()
        for row in rows:
            if row != ABSENT:
                transfer = transfer_at(columns, row, state.accounts.ids)
                is_pending = transfer.flags & _PENDING
                status = TransferPendingStatus.PENDING if is_pending else TransferPendingStatus.NONE
                yield StoredTransfer(transfer, status)


def statuses_in_tail(tail: Tail, timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
    """What the tail's posts and voids made of the pending transfers of these timestamps."""
    wanted = np.fromiter(timestamps, np.int64, len(timestamps))
    found: dict[int, TransferPendingStatus] = {}
    for segment in tail.segments:
        columns = segment.columns()
        resolves = columns.arrays.get("pending_timestamp")
        if resolves is None:
            continue
        rows = np.flatnonzero(np.isin(resolves, wanted))
        for timestamp, flags in zip(resolves[rows].tolist(), columns["flags"][rows].tolist(), strict=True):
            found[timestamp] = resolution_of(flags)
    return found


def load_transfer_timestamps(
    session: JournalSession, tail: Tail, draft: Draft, events: Sequence[Account]
) -> None:
    """Fill the draft with those imported account timestamps that a stored transfer has."""
    wanted = {e.timestamp for e in events if e.flags & _IMPORTED_ACCOUNT and 0 < e.timestamp < 2**63}
    if not wanted:
        return
    for segment in tail.segments:
        timestamps = segment.columns()["timestamp"]
        listed = np.fromiter(wanted, np.int64, len(wanted))
        draft.transfer_timestamps.update(listed[np.isin(listed, timestamps)].tolist())
    draft.transfer_timestamps.update(session.find_timestamps(wanted))
