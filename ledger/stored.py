"""Stored transfers: found in the journal by id, as the state machine needs them.

Before a group of requests is decided, every id that its events name is looked
up here once, so that the decision itself never waits for the database.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast
from uuid import UUID

from ledger.contract import Account, AccountFlags, Transfer, TransferFlags, TransferPendingStatus
from ledger.draft import Draft
from ledger.journal import Connection
from ledger.rows import CONTRACT_FLAGS, unsigned
from ledger.state import State
from ledger.stored_transfer import StoredTransfer

_PENDING = int(TransferFlags.PENDING)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
_IMPORTED_ACCOUNT = int(AccountFlags.IMPORTED)

TRANSFER_SELECT = """
SELECT t.id, d.id, c.id, t.amount, t.pending_id, t.user_data_128, t.user_data_64, t.user_data_32,
       t.timeout, t.ledger, t.code, t.flags, t.timestamp
"""
"""The columns that :func:`transfer_from_row` reads, with d and c the two accounts."""

TRANSFER_JOINS = """
JOIN ledger_account d ON d.slot = t.debit_account
JOIN ledger_account c ON c.slot = t.credit_account
"""


def transfer_from_row(row: Sequence[Any]) -> Transfer:
    """A transfer in the contract's numbers, from the columns of ``TRANSFER_SELECT``."""
    return Transfer(
        row[0].int,
        row[1].int,
        row[2].int,
        row[3],
        0 if row[4] is None else row[4].int,
        0 if row[5] is None else row[5].int,
        unsigned(row[6], 64),
        unsigned(row[7], 32),
        unsigned(row[8], 32),
        unsigned(row[9], 32),
        unsigned(row[10], 16),
        row[11] & CONTRACT_FLAGS,
        row[12],
    )


def load_known(connection: Connection, state: State, draft: Draft, ids: set[int]) -> None:
    """Make known to the draft all that it and the journal have under these ids."""
    wanted = set(ids)
    _load(connection, state, draft, wanted)
    pending_ids = {
        stored.transfer.pending_id
        for stored in (draft.known.get(i) for i in ids)
        if stored is not None and stored.transfer.pending_id
    }
    pending_ids = {i for i in pending_ids if i not in draft.known and i not in state.pendings}
    # A replayed post or void is compared with its pending transfer too.
    _load(connection, state, draft, pending_ids)


def _load(connection: Connection, state: State, draft: Draft, ids: set[int]) -> None:
    draft.load_from_memory(state, ids)
    if not ids:
        return
    for stored in find_transfers(connection, ids):
        draft.known[stored.transfer.id] = draft.as_it_stands(stored)
    draft.failed.update(_find_failed(connection, ids))


def load_transfer_timestamps(connection: Connection, draft: Draft, events: Sequence[Account]) -> None:
    """Fill the draft with those imported account timestamps that a stored transfer has."""
    wanted = [e.timestamp for e in events if e.flags & _IMPORTED_ACCOUNT and 0 < e.timestamp < 2**63]
    if wanted:
        rows = connection.execute(
            "SELECT timestamp FROM ledger_transfer WHERE timestamp = ANY(%s)", (wanted,), binary=True
        ).fetchall()
        draft.transfer_timestamps.update(cast(int, row[0]) for row in rows)


def find_transfers(connection: Connection, ids: Collection[int]) -> list[StoredTransfer]:
    """Stored transfers with these ids, and what became of those that were pending."""
    rows = connection.execute(
        TRANSFER_SELECT
        + ", resolution.flags, expiry.timestamp FROM ledger_transfer t"
        + TRANSFER_JOINS
        + "LEFT JOIN ledger_transfer resolution ON t.flags & 2 <> 0"
        " AND resolution.pending_timestamp = t.timestamp"
        " LEFT JOIN ledger_expiry expiry ON t.flags & 2 <> 0 AND expiry.pending_timestamp = t.timestamp"
        " WHERE t.id = ANY(%s)",
        ([UUID(int=i) for i in ids],),
        binary=True,
    ).fetchall()
    return [StoredTransfer(transfer_from_row(row), _status(row[11], row[13], row[14])) for row in rows]


def _status(flags: Any, resolution_flags: Any, expired_at: Any) -> TransferPendingStatus:
    if not flags & _PENDING:
        return TransferPendingStatus.NONE
    if resolution_flags is not None:
        return TransferPendingStatus.VOIDED if resolution_flags & _VOID else TransferPendingStatus.POSTED
    return TransferPendingStatus.PENDING if expired_at is None else TransferPendingStatus.EXPIRED


def _find_failed(connection: Connection, ids: Collection[int]) -> set[int]:
    rows = connection.execute(
        "SELECT id FROM ledger_failed_id WHERE id = ANY(%s)", ([UUID(int=i) for i in ids],), binary=True
    ).fetchall()
    return {cast(UUID, row[0]).int for row in rows}
