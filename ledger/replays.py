"""Replays: the same id again gets the same answer, or the name of what differs.

The id of a transfer is its idempotency key, for ever. A retry is compared with
what was stored, field by field in the contract's order (section 6).
"""

from __future__ import annotations

from ledger.contract import AMOUNT_MAX, CreateTransferStatus, Transfer, TransferFlags
from ledger.draft import Draft
from ledger.state import State

_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
_RESOLUTION = int(TransferFlags.POST_PENDING_TRANSFER) | _VOID
_BALANCING = int(TransferFlags.BALANCING_DEBIT | TransferFlags.BALANCING_CREDIT)

Status = CreateTransferStatus


def compare_with_stored(state: State, draft: Draft, event: Transfer, stored: Transfer) -> Status:
    """``EXISTS`` when the event asks for what is stored, else what differs."""
    if event.flags != stored.flags:
        return Status.EXISTS_WITH_DIFFERENT_FLAGS
    if event.pending_id != stored.pending_id:
        return Status.EXISTS_WITH_DIFFERENT_PENDING_ID
    if event.timeout != stored.timeout:
        return Status.EXISTS_WITH_DIFFERENT_TIMEOUT
    if stored.flags & _RESOLUTION:
        pending = draft.find(state, stored.pending_id)
        assert pending is not None, "a stored post or void has its pending transfer"
        return _compare_resolution(event, stored, pending.transfer)
    return _compare_ordinary(event, stored)


def _compare_ordinary(event: Transfer, stored: Transfer) -> Status:
    if event.debit_account_id != stored.debit_account_id:
        return Status.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID
    if event.credit_account_id != stored.credit_account_id:
        return Status.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID
    # A balancing transfer stored what it could take; the retry names its cap.
    if event.amount < stored.amount or (event.amount != stored.amount and not stored.flags & _BALANCING):
        return Status.EXISTS_WITH_DIFFERENT_AMOUNT
    if event.user_data_128 != stored.user_data_128:
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if event.user_data_64 != stored.user_data_64:
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if event.user_data_32 != stored.user_data_32:
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if event.ledger != stored.ledger:
        return Status.EXISTS_WITH_DIFFERENT_LEDGER
    if event.code != stored.code:
        return Status.EXISTS_WITH_DIFFERENT_CODE
    return Status.EXISTS


def _compare_resolution(event: Transfer, stored: Transfer, pending: Transfer) -> Status:
    """0 stands for what the pending transfer says, as it did the first time."""
    if event.debit_account_id not in (0, stored.debit_account_id):
        return Status.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID
    if event.credit_account_id not in (0, stored.credit_account_id):
        return Status.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID
    if not _same_resolved_amount(event, stored, pending):
        return Status.EXISTS_WITH_DIFFERENT_AMOUNT
    if not _same_or_inherited(event.user_data_128, stored.user_data_128, pending.user_data_128):
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if not _same_or_inherited(event.user_data_64, stored.user_data_64, pending.user_data_64):
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if not _same_or_inherited(event.user_data_32, stored.user_data_32, pending.user_data_32):
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if event.ledger not in (0, stored.ledger):
        return Status.EXISTS_WITH_DIFFERENT_LEDGER
    if event.code not in (0, stored.code):
        return Status.EXISTS_WITH_DIFFERENT_CODE
    return Status.EXISTS


def _same_resolved_amount(event: Transfer, stored: Transfer, pending: Transfer) -> bool:
    if stored.flags & _VOID:
        return event.amount in (0, stored.amount)
    if event.amount == AMOUNT_MAX:
        return stored.amount == pending.amount
    return event.amount == stored.amount


def _same_or_inherited(asked: int, stored: int, inherited: int) -> bool:
    return asked == stored or (asked == 0 and stored == inherited)
