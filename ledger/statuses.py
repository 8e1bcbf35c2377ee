"""Statuses: every answer to an attempt to create an account or a transfer.

Members stand in order of precedence: where several would be true, the first one is
the answer. Names and numbers are TigerBeetle's (0.17).
"""

from __future__ import annotations

from enum import IntEnum

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
