"""Sealed rows: single transfers of sealed segments, found in SQL by id or timestamp."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast
from uuid import UUID

from ledger.connection import Connection
from ledger.contract import Transfer, TransferFlags, TransferPendingStatus
from ledger.rows import CONTRACT_FLAGS, unsigned
from ledger.segments import SEALED
from ledger.stored_transfer import StoredTransfer

_PENDING = int(TransferFlags.PENDING)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)

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


def resolution_of(flags: int) -> TransferPendingStatus:
    """What a post or void with these flags makes of its pending transfer."""
    return TransferPendingStatus.VOIDED if flags & _VOID else TransferPendingStatus.POSTED


def find_transfers(connection: Connection, ids: Collection[int]) -> list[StoredTransfer]:
    """Transfers of sealed segments with these ids; a pending one shows as such."""
    rows = connection.execute(
        f"{TRANSFER_SELECT} FROM {SEALED} t {TRANSFER_JOINS} WHERE t.id = ANY(%s)",
        ([UUID(int=i) for i in ids],),
        binary=True,
    ).fetchall()
    pending = (TransferPendingStatus.NONE, TransferPendingStatus.PENDING)
    transfers = [transfer_from_row(row) for row in rows]
    return [StoredTransfer(t, pending[bool(t.flags & _PENDING)]) for t in transfers]


def find_statuses(connection: Connection, timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
    """What expiries and sealed segments made of the pending transfers of these timestamps."""
    wanted = list(timestamps)
    if not wanted:
        return {}
    expired: Any = connection.execute(
        "SELECT pending_timestamp FROM ledger_expiry WHERE pending_timestamp = ANY(%s)",
        (wanted,),
        binary=True,
    ).fetchall()
    resolved: Any = connection.execute(
        f"SELECT pending_timestamp, flags FROM {SEALED} WHERE pending_timestamp = ANY(%s)",
        (wanted,),
        binary=True,
    ).fetchall()
    found = {row[0]: resolution_of(row[1]) for row in resolved}
    return found | {row[0]: TransferPendingStatus.EXPIRED for row in expired}


def find_failed(connection: Connection, ids: Collection[int]) -> set[int]:
    """Which of these ids have failed for a passing reason."""
    rows = connection.execute(
        "SELECT id FROM ledger_failed_id WHERE id = ANY(%s)", ([UUID(int=i) for i in ids],), binary=True
    ).fetchall()
    return {cast(UUID, row[0]).int for row in rows}


def find_timestamps(connection: Connection, timestamps: Collection[int]) -> set[int]:
    """Which of these are timestamps of transfers in sealed segments."""
    rows = connection.execute(
        f"SELECT timestamp FROM {SEALED} WHERE timestamp = ANY(%s)", (list(timestamps),), binary=True
    ).fetchall()
    return {cast(int, row[0]) for row in rows}
