"""The ledger's contract: accounts, transfers, their flags and every status.

The words, numbers and order of precedence are TigerBeetle's (0.17; sources named
in docs/ledger.md), so that a random stream of requests gets the same answers
from both. Two things differ, by design: amounts and balances are signed 64-bit,
and an invalid filter is an error (``InvalidFilter``) unless the compatibility
mode is asked for.

All fields are integers: ids have 128 bits (``uuid.UUID(...).int``), amounts are
minor units of the ledger's asset, timestamps are nanoseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from foundation.errors import NUGPayError
from ledger.statuses import CREATED, TRANSIENT, CreateAccountStatus, CreateTransferStatus

__all__ = [
    "AMOUNT_LIMIT", "AMOUNT_MAX", "BATCH_MAX", "CHANGE_EVENTS_MAX", "CREATED", "ID_MAX", "SECOND_NS",
    "TIMESTAMP_MAX", "TRANSIENT", "Account", "AccountBalance", "AccountFilter", "AccountFilterFlags",
    "AccountFlags", "ChangeEvent", "ChangeEventType", "ChangeEventsFilter", "CreateAccountResult",
    "CreateAccountStatus", "CreateTransferResult", "CreateTransferStatus", "InvalidFilter", "InvalidRequest",
    "QueryFilter", "QueryFilterFlags", "StatementLine", "Transfer", "TransferFlags", "TransferPendingStatus",
]  # fmt: skip

AMOUNT_MAX = 2**128 - 1
"""In balancing and post transfers: as much as possible."""
AMOUNT_LIMIT = 2**63 - 1
"""Largest amount and balance that can be held; above it a sum overflows."""
ID_MAX = 2**128 - 1
"""Refused as an id, as is 0."""
TIMESTAMP_MAX = 2**63 - 1
"""Largest timestamp."""
BATCH_MAX = 8189
"""Most events in a request, and most results of a query."""
CHANGE_EVENTS_MAX = 2730
"""Most change events in one answer."""
SECOND_NS = 1_000_000_000
"""Nanoseconds in a second; timeouts are whole seconds."""


class AccountFlags(IntFlag):
    """What an account is held to."""

    LINKED = 1 << 0
    """Stands or falls with the next event of the request."""
    DEBITS_MUST_NOT_EXCEED_CREDITS = 1 << 1
    """Its debits, pending ones included, stay within its posted credits."""
    CREDITS_MUST_NOT_EXCEED_DEBITS = 1 << 2
    """Its credits, pending ones included, stay within its posted debits."""
    HISTORY = 1 << 3
    """``get_account_balances`` answers for it."""
    IMPORTED = 1 << 4
    """Created with a timestamp of the past."""
    CLOSED = 1 << 5
    """Takes no transfer but a void; set by a closing transfer or at creation."""


class TransferFlags(IntFlag):
    """What kind of transfer it is."""

    LINKED = 1 << 0
    """Stands or falls with the next event of the request."""
    PENDING = 1 << 1
    """Reserves the amount until it is posted, voided or expires."""
    POST_PENDING_TRANSFER = 1 << 2
    """Moves all or part of a pending amount, and releases the rest."""
    VOID_PENDING_TRANSFER = 1 << 3
    """Releases a pending amount."""
    BALANCING_DEBIT = 1 << 4
    """At most what the debit account has."""
    BALANCING_CREDIT = 1 << 5
    """At most what the credit account is owed."""
    CLOSING_DEBIT = 1 << 6
    """Closes the debit account while pending."""
    CLOSING_CREDIT = 1 << 7
    """Closes the credit account while pending."""
    IMPORTED = 1 << 8
    """Created with a timestamp of the past."""


class TransferPendingStatus(IntEnum):
    """What became of a pending transfer."""

    NONE = 0
    """It is not a pending transfer."""
    PENDING = 1
    """Still reserved."""
    POSTED = 2
    """Posted, wholly or in part."""
    VOIDED = 3
    """Voided."""
    EXPIRED = 4
    """Its timeout ran out."""


@dataclass(slots=True)
class Account:
    """An account; balances and timestamp are 0 in a request to create it."""

    id: int = 0
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    reserved: int = 0
    ledger: int = 0
    code: int = 0
    flags: int = 0
    timestamp: int = 0


@dataclass(slots=True)
class Transfer:
    """A transfer of ``amount`` minor units from the debit to the credit account."""

    id: int = 0
    debit_account_id: int = 0
    credit_account_id: int = 0
    amount: int = 0
    pending_id: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    timeout: int = 0
    ledger: int = 0
    code: int = 0
    flags: int = 0
    timestamp: int = 0


@dataclass(slots=True, frozen=True)
class CreateAccountResult:
    """Status of one event; the timestamp assigned, original, or of validation."""

    timestamp: int
    status: CreateAccountStatus


@dataclass(slots=True, frozen=True)
class CreateTransferResult:
    """Status of one event; the timestamp assigned, original, or of validation."""

    timestamp: int
    status: CreateTransferStatus


class AccountFilterFlags(IntFlag):
    """Sides and order of an account's history."""

    DEBITS = 1 << 0
    """Transfers that debit the account."""
    CREDITS = 1 << 1
    """Transfers that credit the account."""
    REVERSED = 1 << 2
    """Newest first."""


class QueryFilterFlags(IntFlag):
    """Order of a query."""

    REVERSED = 1 << 0
    """Newest first."""


@dataclass(slots=True)
class AccountFilter:
    """Which transfers of an account; 0 means any, bounds are inclusive."""

    account_id: int = 0
    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    code: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = BATCH_MAX
    flags: int = field(default=int(AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS))
    reserved: int = 0


@dataclass(slots=True)
class QueryFilter:
    """Which accounts or transfers; 0 means any, bounds are inclusive."""

    user_data_128: int = 0
    user_data_64: int = 0
    user_data_32: int = 0
    ledger: int = 0
    code: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = BATCH_MAX
    flags: int = 0
    reserved: int = 0


@dataclass(slots=True)
class ChangeEventsFilter:
    """Which change events; bounds are inclusive, 0 means open."""

    timestamp_min: int = 0
    timestamp_max: int = 0
    limit: int = CHANGE_EVENTS_MAX
    reserved: int = 0


@dataclass(slots=True, frozen=True)
class AccountBalance:
    """The four counters of an account after the transfer at ``timestamp``."""

    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    timestamp: int


class ChangeEventType(IntEnum):
    """What happened to the balances."""

    SINGLE_PHASE = 0
    """An ordinary transfer."""
    TWO_PHASE_PENDING = 1
    """An amount was reserved."""
    TWO_PHASE_POSTED = 2
    """A reserved amount was posted."""
    TWO_PHASE_VOIDED = 3
    """A reserved amount was released."""
    TWO_PHASE_EXPIRED = 4
    """A reserved amount was released by its timeout."""


@dataclass(slots=True, frozen=True)
class ChangeEvent:
    """One change: the transfer, and both accounts as they stood after it."""

    type: ChangeEventType
    timestamp: int
    transfer: Transfer
    debit_account: Account
    credit_account: Account


@dataclass(slots=True, frozen=True)
class StatementLine:
    """A transfer of an account's history, and that account's counters after it."""

    transfer: Transfer
    balance: AccountBalance


class InvalidFilter(NUGPayError):
    """A filter that can mean nothing; names the field that is wrong."""

    def __init__(self, field_name: str, detail: str) -> None:
        super().__init__(f"{field_name}: {detail}")
        self.field_name = field_name
        self.detail = detail


class InvalidRequest(NUGPayError):
    """A request that is none: too many events, or a field out of its range."""
