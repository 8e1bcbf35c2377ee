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


CREATED = 0xFFFFFFFF
"""The status of success, in both enums."""


class CreateAccountStatus(IntEnum):
    """What became of the creation of an account; members stand in order of precedence."""

    CREATED = CREATED
    """It is stored."""
    LINKED_EVENT_FAILED = 1
    """Another event of its chain failed."""
    LINKED_EVENT_CHAIN_OPEN = 2
    """The request ends inside a chain."""
    IMPORTED_EVENT_EXPECTED = 22
    """The first event of the request is imported, this one is not."""
    IMPORTED_EVENT_NOT_EXPECTED = 23
    """The first event of the request is not imported, this one is."""
    TIMESTAMP_MUST_BE_ZERO = 3
    """Only imported events bring a timestamp."""
    IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE = 24
    """An imported timestamp is 1 to 2^63-1."""
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE = 25
    """An imported timestamp lies in the past."""
    RESERVED_FIELD = 4
    """A reserved field is not 0."""
    RESERVED_FLAG = 5
    """An unknown flag is set."""
    ID_MUST_NOT_BE_ZERO = 6
    """The id is 0."""
    ID_MUST_NOT_BE_INT_MAX = 7
    """The id is 2^128-1."""
    EXISTS_WITH_DIFFERENT_FLAGS = 15
    """The id exists with other flags."""
    EXISTS_WITH_DIFFERENT_USER_DATA_128 = 16
    """The id exists with other user_data_128."""
    EXISTS_WITH_DIFFERENT_USER_DATA_64 = 17
    """The id exists with other user_data_64."""
    EXISTS_WITH_DIFFERENT_USER_DATA_32 = 18
    """The id exists with other user_data_32."""
    EXISTS_WITH_DIFFERENT_LEDGER = 19
    """The id exists with another ledger."""
    EXISTS_WITH_DIFFERENT_CODE = 20
    """The id exists with another code."""
    EXISTS = 21
    """The same event was created before; the timestamp is the original one."""
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = 8
    """Two flags exclude each other."""
    DEBITS_PENDING_MUST_BE_ZERO = 9
    """A new account has debits_pending 0."""
    DEBITS_POSTED_MUST_BE_ZERO = 10
    """A new account has debits_posted 0."""
    CREDITS_PENDING_MUST_BE_ZERO = 11
    """A new account has credits_pending 0."""
    CREDITS_POSTED_MUST_BE_ZERO = 12
    """A new account has credits_posted 0."""
    LEDGER_MUST_NOT_BE_ZERO = 13
    """The ledger is 0."""
    CODE_MUST_NOT_BE_ZERO = 14
    """The code is 0."""
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS = 26
    """An imported timestamp is later than the last one stored, and unused."""


class CreateTransferStatus(IntEnum):
    """What became of the creation of a transfer; members stand in order of precedence."""

    CREATED = CREATED
    """It is stored."""
    LINKED_EVENT_FAILED = 1
    """Another event of its chain failed."""
    LINKED_EVENT_CHAIN_OPEN = 2
    """The request ends inside a chain."""
    IMPORTED_EVENT_EXPECTED = 56
    """The first event of the request is imported, this one is not."""
    IMPORTED_EVENT_NOT_EXPECTED = 57
    """The first event of the request is not imported, this one is."""
    TIMESTAMP_MUST_BE_ZERO = 3
    """Only imported events bring a timestamp."""
    IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE = 58
    """An imported timestamp is 1 to 2^63-1."""
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE = 59
    """An imported timestamp lies in the past."""
    RESERVED_FLAG = 4
    """An unknown flag is set."""
    ID_MUST_NOT_BE_ZERO = 5
    """The id is 0."""
    ID_MUST_NOT_BE_INT_MAX = 6
    """The id is 2^128-1."""
    EXISTS_WITH_DIFFERENT_FLAGS = 36
    """The id exists with other flags."""
    EXISTS_WITH_DIFFERENT_PENDING_ID = 40
    """The id exists with another pending_id."""
    EXISTS_WITH_DIFFERENT_TIMEOUT = 44
    """The id exists with another timeout."""
    EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID = 37
    """The id exists with another debit_account_id."""
    EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID = 38
    """The id exists with another credit_account_id."""
    EXISTS_WITH_DIFFERENT_AMOUNT = 39
    """The id exists with another amount."""
    EXISTS_WITH_DIFFERENT_USER_DATA_128 = 41
    """The id exists with other user_data_128."""
    EXISTS_WITH_DIFFERENT_USER_DATA_64 = 42
    """The id exists with other user_data_64."""
    EXISTS_WITH_DIFFERENT_USER_DATA_32 = 43
    """The id exists with other user_data_32."""
    EXISTS_WITH_DIFFERENT_LEDGER = 67
    """The id exists with another ledger."""
    EXISTS_WITH_DIFFERENT_CODE = 45
    """The id exists with another code."""
    EXISTS = 46
    """The same event was created before; the timestamp is the original one."""
    ID_ALREADY_FAILED = 68
    """The id failed for a passing reason before; a retry needs a new id."""
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = 7
    """Two flags exclude each other."""
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = 8
    """The debit_account_id is 0."""
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX = 9
    """The debit_account_id is 2^128-1."""
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = 10
    """The credit_account_id is 0."""
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX = 11
    """The credit_account_id is 2^128-1."""
    ACCOUNTS_MUST_BE_DIFFERENT = 12
    """Debit and credit account are the same."""
    PENDING_ID_MUST_BE_ZERO = 13
    """Only a post or void names a pending transfer."""
    PENDING_ID_MUST_NOT_BE_ZERO = 14
    """A post or void names its pending transfer."""
    PENDING_ID_MUST_NOT_BE_INT_MAX = 15
    """The pending id is 2^128-1."""
    PENDING_ID_MUST_BE_DIFFERENT = 16
    """The pending id is the transfer's own."""
    TIMEOUT_RESERVED_FOR_PENDING_TRANSFER = 17
    """Only a pending transfer has a timeout."""
    CLOSING_TRANSFER_MUST_BE_PENDING = 64
    """A closing transfer is a pending one."""
    LEDGER_MUST_NOT_BE_ZERO = 19
    """The ledger is 0."""
    CODE_MUST_NOT_BE_ZERO = 20
    """The code is 0."""
    DEBIT_ACCOUNT_NOT_FOUND = 21
    """There is no such debit account."""
    CREDIT_ACCOUNT_NOT_FOUND = 22
    """There is no such credit account."""
    ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER = 23
    """The two accounts are of different ledgers."""
    TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS = 24
    """The transfer names another ledger than its accounts."""
    PENDING_TRANSFER_NOT_FOUND = 25
    """There is no such pending transfer."""
    PENDING_TRANSFER_NOT_PENDING = 26
    """The transfer named is not a pending one."""
    PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID = 27
    """The pending transfer has another debit_account_id."""
    PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID = 28
    """The pending transfer has another credit_account_id."""
    PENDING_TRANSFER_HAS_DIFFERENT_LEDGER = 29
    """The pending transfer has another ledger."""
    PENDING_TRANSFER_HAS_DIFFERENT_CODE = 30
    """The pending transfer has another code."""
    EXCEEDS_PENDING_TRANSFER_AMOUNT = 31
    """More than was reserved."""
    PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT = 32
    """The pending transfer has another amount."""
    PENDING_TRANSFER_ALREADY_POSTED = 33
    """It was posted before."""
    PENDING_TRANSFER_ALREADY_VOIDED = 34
    """It was voided before."""
    PENDING_TRANSFER_EXPIRED = 35
    """Its timeout has run out."""
    IMPORTED_EVENT_TIMESTAMP_MUST_NOT_REGRESS = 60
    """An imported timestamp is later than the last one stored, and unused."""
    IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_DEBIT_ACCOUNT = 61
    """The debit account is younger."""
    IMPORTED_EVENT_TIMESTAMP_MUST_POSTDATE_CREDIT_ACCOUNT = 62
    """The credit account is younger."""
    IMPORTED_EVENT_TIMEOUT_MUST_BE_ZERO = 63
    """An imported transfer has no timeout."""
    DEBIT_ACCOUNT_ALREADY_CLOSED = 65
    """The debit account is closed."""
    CREDIT_ACCOUNT_ALREADY_CLOSED = 66
    """The credit account is closed."""
    OVERFLOWS_DEBITS_PENDING = 47
    """Debits pending would go beyond 63 bits."""
    OVERFLOWS_CREDITS_PENDING = 48
    """Credits pending would go beyond 63 bits."""
    OVERFLOWS_DEBITS_POSTED = 49
    """Debits posted would go beyond 63 bits."""
    OVERFLOWS_CREDITS_POSTED = 50
    """Credits posted would go beyond 63 bits."""
    OVERFLOWS_DEBITS = 51
    """Debits would go beyond 63 bits."""
    OVERFLOWS_CREDITS = 52
    """Credits would go beyond 63 bits."""
    OVERFLOWS_TIMEOUT = 53
    """Timestamp and timeout go beyond 63 bits."""
    EXCEEDS_CREDITS = 54
    """The debit account has not that much."""
    EXCEEDS_DEBITS = 55
    """The credit account is not owed that much."""

    @property
    def is_transient(self) -> bool:
        """Whether time could have changed the answer; such an id is remembered as failed."""
        return self in TRANSIENT


TRANSIENT = frozenset(
    {
        CreateTransferStatus.DEBIT_ACCOUNT_NOT_FOUND,
        CreateTransferStatus.CREDIT_ACCOUNT_NOT_FOUND,
        CreateTransferStatus.PENDING_TRANSFER_NOT_FOUND,
        CreateTransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED,
        CreateTransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED,
        CreateTransferStatus.EXCEEDS_CREDITS,
        CreateTransferStatus.EXCEEDS_DEBITS,
    }
)
"""Statuses after which the id answers ``id_already_failed`` for ever."""


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
