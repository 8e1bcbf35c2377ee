"""Transfer views: single transfers, and what became of them, read out of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.columns import TransferColumns
from ledger.contract import Transfer, TransferFlags, TransferPendingStatus
from ledger.rows import CONTRACT_FLAGS, unsigned

_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)

_MASK64 = 2**64 - 1


def transfer_at(columns: TransferColumns, index: int, account_ids: npt.NDArray[np.uint64]) -> Transfer:
    """One transfer in the contract's numbers; ``account_ids`` has an id pair for each slot."""

    def wide(name: str) -> int:
        values = columns.arrays.get(name)
        return 0 if values is None else _join(values[index])

    def narrow(name: str, bits: int) -> int:
        values = columns.arrays.get(name)
        return 0 if values is None else unsigned(int(values[index]), bits)

    arrays = columns.arrays
    return Transfer(
        wide("id"),
        _join(account_ids[arrays["debit_account"][index]]),
        _join(account_ids[arrays["credit_account"][index]]),
        int(arrays["amount"][index]),
        wide("pending_id"),
        wide("user_data_128"),
        narrow("user_data_64", 64),
        narrow("user_data_32", 32),
        narrow("timeout", 32),
        narrow("ledger", 32),
        narrow("code", 16),
        int(arrays["flags"][index]) & CONTRACT_FLAGS,
        int(arrays["timestamp"][index]),
    )


def resolution_status(columns: TransferColumns, pending_timestamp: int) -> TransferPendingStatus | None:
    """What these rows made of the pending transfer of that timestamp; None for nothing."""
    resolves = columns.arrays.get("pending_timestamp")
    if resolves is None:
        return None
    at = np.flatnonzero(resolves == pending_timestamp)
    if not len(at):
        return None
    is_void = int(columns.arrays["flags"][at[0]]) & _VOID
    return TransferPendingStatus.VOIDED if is_void else TransferPendingStatus.POSTED


def _join(pair: Any) -> int:
    low, high = pair.tolist()
    return int(high) << 64 | int(low)


def find_id(columns: TransferColumns, transfer_id: int) -> int | None:
    """Position of the transfer with this id, by looking at every one; None where there is none."""
    ids = columns["id"]
    at = np.flatnonzero((ids[:, 0] == transfer_id & _MASK64) & (ids[:, 1] == transfer_id >> 64))
    return int(at[0]) if len(at) else None
