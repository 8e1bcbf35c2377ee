"""Rules of pending transfers: post, void and expire, each at most once.

A post or void (contract section 5.4) inherits what it leaves out from its
pending transfer. There is no limit and no overflow to check: the amount was
reserved already. Guards stand in the contract's order of precedence.
"""

from __future__ import annotations

from ledger.accounts import AccountState
from ledger.contract import (
    AMOUNT_MAX,
    ID_MAX,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
    TransferPendingStatus,
)
from ledger.draft import Draft, append_row, is_closed
from ledger.draft_rows import ExpiryRow
from ledger.state import CLOSED, State
from ledger.stored_transfer import StoredTransfer

_POST = int(TransferFlags.POST_PENDING_TRANSFER)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
_PENDING = int(TransferFlags.PENDING)
_CLOSING_DEBIT = int(TransferFlags.CLOSING_DEBIT)
_CLOSING_CREDIT = int(TransferFlags.CLOSING_CREDIT)
_IMPORTED = int(TransferFlags.IMPORTED)
_EXCLUDED = (
    _PENDING
    | _CLOSING_DEBIT
    | _CLOSING_CREDIT
    | int(TransferFlags.BALANCING_DEBIT | TransferFlags.BALANCING_CREDIT)
)

Status = CreateTransferStatus

_RESOLVED_STATUS = {
    TransferPendingStatus.POSTED: Status.PENDING_TRANSFER_ALREADY_POSTED,
    TransferPendingStatus.VOIDED: Status.PENDING_TRANSFER_ALREADY_VOIDED,
    TransferPendingStatus.EXPIRED: Status.PENDING_TRANSFER_EXPIRED,
}


def create_resolution(state: State, draft: Draft, timestamp: int, event: Transfer) -> tuple[int, Status]:
    """Decide one post or void and apply it: (timestamp of the answer, status)."""
    refusal = _check_fields(event)
    if refusal is not None:
        return timestamp, refusal
    pending = draft.find(state, event.pending_id)
    if pending is None:
        return timestamp, Status.PENDING_TRANSFER_NOT_FOUND
    refusal = _check_pending(event, pending.transfer)
    if refusal is not None:
        return timestamp, refusal
    amount, refusal = _resolve_amount(event, pending.transfer)
    if refusal is not None:
        return timestamp, refusal
    refusal = _RESOLVED_STATUS.get(pending.status)
    if refusal is not None:
        return timestamp, refusal
    if pending.transfer.timeout and timestamp >= pending.expires_at:
        # The sweep may come later; the answer must not depend on when it runs.
        return timestamp, Status.PENDING_TRANSFER_EXPIRED
    stored_at = timestamp
    if event.flags & _IMPORTED:
        stored_at = event.timestamp
        if stored_at <= state.last_transfer_timestamp or state.accounts.has_timestamp(stored_at):
            return timestamp, Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
    debit, credit = _accounts_of(state, pending.transfer)
    if not event.flags & _VOID:
        if is_closed(debit):
            return timestamp, Status.DEBIT_ACCOUNT_ALREADY_CLOSED
        if is_closed(credit):
            return timestamp, Status.CREDIT_ACCOUNT_ALREADY_CLOSED
    _apply(state, draft, stored_at, event, pending, amount, debit, credit)
    return stored_at, Status.CREATED


def expire(state: State, draft: Draft, stored: StoredTransfer, timestamp: int) -> None:
    """Release a pending transfer whose time is over; it cannot fail."""
    pending = stored.transfer
    debit, credit = _accounts_of(state, pending)
    _release(state, draft, pending, debit, credit, reopen=True)
    draft.resolve(state, stored, TransferPendingStatus.EXPIRED)
    draft.expiries.append(
        ExpiryRow(
            timestamp,
            pending,
            debit.slot,
            credit.slot,
            debit.counters(),
            credit.counters(),
            is_closed(debit),
            is_closed(credit),
        )
    )


def _check_fields(event: Transfer) -> Status | None:
    if event.flags & _EXCLUDED or event.flags & (_POST | _VOID) == _POST | _VOID:
        return Status.FLAGS_ARE_MUTUALLY_EXCLUSIVE
    if event.pending_id == 0:
        return Status.PENDING_ID_MUST_NOT_BE_ZERO
    if event.pending_id == ID_MAX:
        return Status.PENDING_ID_MUST_NOT_BE_INT_MAX
    if event.pending_id == event.id:
        return Status.PENDING_ID_MUST_BE_DIFFERENT
    if event.timeout != 0:
        return Status.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
    return None


def _check_pending(event: Transfer, pending: Transfer) -> Status | None:
    if not pending.flags & _PENDING:
        return Status.PENDING_TRANSFER_NOT_PENDING
    if event.debit_account_id not in (0, pending.debit_account_id):
        return Status.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID
    if event.credit_account_id not in (0, pending.credit_account_id):
        return Status.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID
    if event.ledger not in (0, pending.ledger):
        return Status.PENDING_TRANSFER_HAS_DIFFERENT_LEDGER
    if event.code not in (0, pending.code):
        return Status.PENDING_TRANSFER_HAS_DIFFERENT_CODE
    return None


def _resolve_amount(event: Transfer, pending: Transfer) -> tuple[int, Status | None]:
    if event.flags & _VOID:
        amount = event.amount or pending.amount
    else:
        amount = pending.amount if event.amount == AMOUNT_MAX else event.amount
    if amount > pending.amount:
        return amount, Status.EXCEEDS_PENDING_TRANSFER_AMOUNT
    if event.flags & _VOID and amount < pending.amount:
        return amount, Status.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT
    return amount, None


def _accounts_of(state: State, pending: Transfer) -> tuple[AccountState, AccountState]:
    debit = state.accounts.get(pending.debit_account_id)
    credit = state.accounts.get(pending.credit_account_id)
    assert debit is not None
    assert credit is not None
    return debit, credit


def _release(
    state: State,
    draft: Draft,
    pending: Transfer,
    debit: AccountState,
    credit: AccountState,
    *,
    reopen: bool,
) -> None:
    draft.touch(state, debit)
    draft.touch(state, credit)
    debit.debits_pending -= pending.amount
    credit.credits_pending -= pending.amount
    if reopen:
        if pending.flags & _CLOSING_DEBIT:
            debit.flags &= ~CLOSED
        if pending.flags & _CLOSING_CREDIT:
            credit.flags &= ~CLOSED


def _apply(
    state: State,
    draft: Draft,
    timestamp: int,
    event: Transfer,
    stored: StoredTransfer,
    amount: int,
    debit: AccountState,
    credit: AccountState,
) -> None:
    pending = stored.transfer
    is_void = bool(event.flags & _VOID)
    _release(state, draft, pending, debit, credit, reopen=is_void)
    if not is_void:
        debit.debits_posted += amount
        credit.credits_posted += amount
    status = TransferPendingStatus.VOIDED if is_void else TransferPendingStatus.POSTED
    draft.resolve(state, stored, status)
    resolution = Transfer(
        event.id, pending.debit_account_id, pending.credit_account_id, amount, pending.id,
        event.user_data_128 or pending.user_data_128,
        event.user_data_64 or pending.user_data_64,
        event.user_data_32 or pending.user_data_32,
        0, pending.ledger, pending.code, event.flags, timestamp,
    )  # fmt: skip
    append_row(state, draft, resolution, debit, credit, pending_timestamp=pending.timestamp)
