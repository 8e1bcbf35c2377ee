"""Rules of accounts: may this account be created?

The guards stand in the contract's order of precedence (section 5.2); the first
that fails is the answer.
"""

from __future__ import annotations

from ledger.accounts import AccountState
from ledger.contract import ID_MAX, Account, AccountFlags, CreateAccountStatus
from ledger.draft import Draft
from ledger.state import State

_KNOWN_FLAGS = sum(AccountFlags)
_BOTH_LIMITS = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)
_IMPORTED = int(AccountFlags.IMPORTED)

Status = CreateAccountStatus


def create_account(state: State, draft: Draft, timestamp: int, event: Account) -> tuple[int, Status]:
    """Decide one account and apply it: (timestamp of the answer, status)."""
    if event.reserved != 0:
        return timestamp, Status.RESERVED_FIELD
    if event.flags & ~_KNOWN_FLAGS:
        return timestamp, Status.RESERVED_FLAG
    if event.id == 0:
        return timestamp, Status.ID_MUST_NOT_BE_ZERO
    if event.id == ID_MAX:
        return timestamp, Status.ID_MUST_NOT_BE_INT_MAX
    existing = state.accounts.get(event.id)
    if existing is not None:
        status = _compare(event, existing)
        return (existing.timestamp if status is Status.EXISTS else timestamp), status
    refusal = _check_fields(event)
    if refusal is not None:
        return timestamp, refusal
    if event.flags & _IMPORTED:
        # Accounts and transfers share one time line; an imported account goes
        # above every account and beside every transfer.
        if event.timestamp <= state.last_account_timestamp or draft.has_transfer_at(event.timestamp):
            return timestamp, Status.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS
        timestamp = event.timestamp
    _store(state, draft, timestamp, event)
    return timestamp, Status.CREATED


def _compare(event: Account, existing: AccountState) -> Status:
    if event.flags != existing.flags:
        return Status.EXISTS_WITH_DIFFERENT_FLAGS
    if event.user_data_128 != existing.user_data_128:
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if event.user_data_64 != existing.user_data_64:
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if event.user_data_32 != existing.user_data_32:
        return Status.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if event.ledger != existing.ledger:
        return Status.EXISTS_WITH_DIFFERENT_LEDGER
    if event.code != existing.code:
        return Status.EXISTS_WITH_DIFFERENT_CODE
    return Status.EXISTS


def _check_fields(event: Account) -> Status | None:
    if event.flags & _BOTH_LIMITS == _BOTH_LIMITS:
        return Status.FLAGS_ARE_MUTUALLY_EXCLUSIVE
    if event.debits_pending != 0:
        return Status.DEBITS_PENDING_MUST_BE_ZERO
    if event.debits_posted != 0:
        return Status.DEBITS_POSTED_MUST_BE_ZERO
    if event.credits_pending != 0:
        return Status.CREDITS_PENDING_MUST_BE_ZERO
    if event.credits_posted != 0:
        return Status.CREDITS_POSTED_MUST_BE_ZERO
    if event.ledger == 0:
        return Status.LEDGER_MUST_NOT_BE_ZERO
    if event.code == 0:
        return Status.CODE_MUST_NOT_BE_ZERO
    return None


def _store(state: State, draft: Draft, timestamp: int, event: Account) -> None:
    account = AccountState(
        slot=len(state.accounts),
        id=event.id,
        user_data_128=event.user_data_128,
        user_data_64=event.user_data_64,
        user_data_32=event.user_data_32,
        ledger=event.ledger,
        code=event.code,
        flags=event.flags,
        timestamp=timestamp,
        created_flags=event.flags,
    )
    state.accounts.add(account)
    state.last_account_timestamp = max(state.last_account_timestamp, timestamp)
    draft.accounts.append(account)
