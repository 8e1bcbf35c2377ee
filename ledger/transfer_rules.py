"""Rules of transfers: may this amount move?

The ordinary path (contract section 5.3) is here; a post or void branches off to
``pending_rules`` right after the question whether the id exists. The guards
stand in the contract's order of precedence.
"""

from __future__ import annotations

from ledger.accounts import AccountState
from ledger.contract import (
    AMOUNT_LIMIT,
    ID_MAX,
    SECOND_NS,
    TIMESTAMP_MAX,
    AccountFlags,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)
from ledger.draft import Draft, append_row, is_closed
from ledger.pending_rules import create_resolution
from ledger.replays import compare_with_stored
from ledger.state import CLOSED, State

_KNOWN_FLAGS = sum(TransferFlags)
_PENDING = int(TransferFlags.PENDING)
_RESOLUTION = int(TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER)
_BALANCING_DEBIT = int(TransferFlags.BALANCING_DEBIT)
_BALANCING_CREDIT = int(TransferFlags.BALANCING_CREDIT)
_CLOSING_DEBIT = int(TransferFlags.CLOSING_DEBIT)
_CLOSING_CREDIT = int(TransferFlags.CLOSING_CREDIT)
_CLOSING = _CLOSING_DEBIT | _CLOSING_CREDIT
_IMPORTED = int(TransferFlags.IMPORTED)
_DEBIT_LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
_CREDIT_LIMITED = int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)

Status = CreateTransferStatus


def create_transfer(state: State, draft: Draft, timestamp: int, event: Transfer) -> tuple[int, Status]:
    """Decide one transfer and apply it: (timestamp of the answer, status)."""
    if event.flags & ~_KNOWN_FLAGS:
        return timestamp, Status.RESERVED_FLAG
    if event.id == 0:
        return timestamp, Status.ID_MUST_NOT_BE_ZERO
    if event.id == ID_MAX:
        return timestamp, Status.ID_MUST_NOT_BE_INT_MAX
    existing = draft.find(state, event.id)
    if existing is not None:
        status = compare_with_stored(state, draft, event, existing.transfer)
        return (existing.transfer.timestamp if status is Status.EXISTS else timestamp), status
    if event.id in draft.failed:
        return timestamp, Status.ID_ALREADY_FAILED
    if event.flags & _RESOLUTION:
        return create_resolution(state, draft, timestamp, event)
    refusal = _check_fields(event)
    if refusal is not None:
        return timestamp, refusal
    debit = state.accounts.get(event.debit_account_id)
    if debit is None:
        return timestamp, Status.DEBIT_ACCOUNT_NOT_FOUND
    credit = state.accounts.get(event.credit_account_id)
    if credit is None:
        return timestamp, Status.CREDIT_ACCOUNT_NOT_FOUND
    stored_at = event.timestamp if event.flags & _IMPORTED else timestamp
    refusal = _check_accounts(state, event, debit, credit)
    if refusal is not None:
        return timestamp, refusal
    amount = _balance(event, debit, credit)
    refusal = _check_amount(event, amount, stored_at, debit, credit)
    if refusal is not None:
        return timestamp, refusal
    _apply(state, draft, stored_at, event, amount, debit, credit)
    return stored_at, Status.CREATED


def _check_fields(event: Transfer) -> Status | None:
    if event.debit_account_id == 0:
        return Status.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO
    if event.debit_account_id == ID_MAX:
        return Status.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX
    if event.credit_account_id == 0:
        return Status.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO
    if event.credit_account_id == ID_MAX:
        return Status.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX
    if event.debit_account_id == event.credit_account_id:
        return Status.ACCOUNTS_MUST_BE_DIFFERENT
    if event.pending_id != 0:
        return Status.PENDING_ID_MUST_BE_ZERO
    if not event.flags & _PENDING:
        if event.timeout != 0:
            return Status.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
        if event.flags & _CLOSING:
            return Status.CLOSING_TRANSFER_MUST_BE_PENDING
    if event.ledger == 0:
        return Status.LEDGER_MUST_NOT_BE_ZERO
    if event.code == 0:
        return Status.CODE_MUST_NOT_BE_ZERO
    return None


def _check_accounts(
    state: State, event: Transfer, debit: AccountState, credit: AccountState
) -> Status | None:
    if debit.ledger != credit.ledger:
        return Status.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER
    if event.ledger != debit.ledger:
        return Status.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS
    if event.flags & _IMPORTED:
        if event.timestamp <= state.last_transfer_timestamp or state.accounts.has_timestamp(event.timestamp):
            return Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
        if event.timestamp <= debit.timestamp:
            return Status.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT
        if event.timestamp <= credit.timestamp:
            return Status.IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT
        if event.timeout != 0:
            return Status.IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO
    if is_closed(debit):
        return Status.DEBIT_ACCOUNT_ALREADY_CLOSED
    if is_closed(credit):
        return Status.CREDIT_ACCOUNT_ALREADY_CLOSED
    return None


def _balance(event: Transfer, debit: AccountState, credit: AccountState) -> int:
    """The amount that really moves: a balancing transfer takes at most what is there."""
    amount = event.amount
    if event.flags & _BALANCING_DEBIT:
        available = debit.credits_posted - debit.debits_posted - debit.debits_pending
        amount = min(amount, max(available, 0))
    if event.flags & _BALANCING_CREDIT:
        available = credit.debits_posted - credit.credits_posted - credit.credits_pending
        amount = min(amount, max(available, 0))
    return amount


def _check_amount(
    event: Transfer, amount: int, timestamp: int, debit: AccountState, credit: AccountState
) -> Status | None:
    if event.flags & _PENDING:
        if debit.debits_pending + amount > AMOUNT_LIMIT:
            return Status.OVERFLOWS_DEBITS_PENDING
        if credit.credits_pending + amount > AMOUNT_LIMIT:
            return Status.OVERFLOWS_CREDITS_PENDING
    if debit.debits_posted + amount > AMOUNT_LIMIT:
        return Status.OVERFLOWS_DEBITS_POSTED
    if credit.credits_posted + amount > AMOUNT_LIMIT:
        return Status.OVERFLOWS_CREDITS_POSTED
    if debit.debits_pending + debit.debits_posted + amount > AMOUNT_LIMIT:
        return Status.OVERFLOWS_DEBITS
    if credit.credits_pending + credit.credits_posted + amount > AMOUNT_LIMIT:
        return Status.OVERFLOWS_CREDITS
    if timestamp + event.timeout * SECOND_NS > TIMESTAMP_MAX:
        return Status.OVERFLOWS_TIMEOUT
    if (
        debit.flags & _DEBIT_LIMITED
        and debit.debits_pending + debit.debits_posted + amount > debit.credits_posted
    ):
        return Status.EXCEEDS_CREDITS
    if (
        credit.flags & _CREDIT_LIMITED
        and credit.credits_pending + credit.credits_posted + amount > credit.debits_posted
    ):
        return Status.EXCEEDS_DEBITS
    return None


def _apply(
    state: State,
    draft: Draft,
    timestamp: int,
    event: Transfer,
    amount: int,
    debit: AccountState,
    credit: AccountState,
) -> None:
    draft.touch(state, debit)
    draft.touch(state, credit)
    if event.flags & _PENDING:
        debit.debits_pending += amount
        credit.credits_pending += amount
    else:
        debit.debits_posted += amount
        credit.credits_posted += amount
    if event.flags & _CLOSING_DEBIT:
        debit.flags |= CLOSED
    if event.flags & _CLOSING_CREDIT:
        credit.flags |= CLOSED
    stored = Transfer(
        event.id, event.debit_account_id, event.credit_account_id, amount, 0,
        event.user_data_128, event.user_data_64, event.user_data_32, event.timeout,
        event.ledger, event.code, event.flags, timestamp,
    )  # fmt: skip
    append_row(state, draft, stored, debit, credit, pending_timestamp=0)
