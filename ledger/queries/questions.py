"""Questions beyond the contract's: what may be asked, and the form of the answers.

A search names alternatives; a row is found when one of them holds, and an
alternative holds when all that it names does. Several values of a field mean any
of them. What is left out means anything. Pages follow one another by cursors: a
cursor is opaque, belongs to its question and to this ledger, and goes on exactly
after what was seen, whatever has been written meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.contract import (
    BATCH_MAX,
    CHANGE_EVENTS_MAX,
    Account,
    AccountBalance,
    ChangeEvent,
    ChangeEventType,
    Transfer,
    TransferPendingStatus,
)

ALTERNATIVES_MAX = 16
"""Most alternatives of a search."""
VALUES_MAX = 256
"""Most values of one field of an alternative."""
WAIT_SECONDS_MAX = 60
"""Longest that a question for changes may wait for some."""


@dataclass(slots=True, frozen=True)
class TransferCriteria:
    """One alternative of a search for transfers."""

    account_ids: tuple[int, ...] = ()
    """On either side."""
    debit_account_ids: tuple[int, ...] = ()
    credit_account_ids: tuple[int, ...] = ()
    amount_min: int = 0
    amount_max: int | None = None
    ledgers: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    user_data_128: tuple[int, ...] = ()
    """0 means 0 here, as in the other two: transfers that have none."""
    user_data_64: tuple[int, ...] = ()
    user_data_32: tuple[int, ...] = ()
    flags_all: int = 0
    """All of these flags are set."""
    flags_any: int = 0
    """At least one of these is set."""
    flags_none: int = 0
    """None of these is set."""
    pending_status: tuple[TransferPendingStatus, ...] = ()
    """What has become of it, when the page is read."""


@dataclass(slots=True, frozen=True)
class TransferSearch:
    """Which transfers, in which order; without alternatives all of them."""

    any_of: tuple[TransferCriteria, ...] = ()
    timestamp_min: int = 0
    """Bounds are inclusive; 0 means open."""
    timestamp_max: int = 0
    newest_first: bool = False
    limit: int = BATCH_MAX
    cursor: str | None = None


@dataclass(slots=True, frozen=True)
class TransferPage:
    """Transfers that a search found."""

    transfers: list[Transfer]
    cursor: str | None
    """Where to go on; None when there is nothing more (yet)."""
    complete: bool
    """False when the page ended because its time was over: what is found is right, and more may follow."""


@dataclass(slots=True, frozen=True)
class AccountCriteria:
    """One alternative of a search for accounts, by what they are and hold now."""

    ledgers: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    user_data_128: tuple[int, ...] = ()
    user_data_64: tuple[int, ...] = ()
    user_data_32: tuple[int, ...] = ()
    flags_all: int = 0
    flags_any: int = 0
    flags_none: int = 0
    balance_min: int | None = None
    """Posted credits minus posted debits; may be negative."""
    balance_max: int | None = None
    debits_pending_min: int | None = None
    debits_pending_max: int | None = None
    debits_posted_min: int | None = None
    debits_posted_max: int | None = None
    credits_pending_min: int | None = None
    credits_pending_max: int | None = None
    credits_posted_min: int | None = None
    credits_posted_max: int | None = None


@dataclass(slots=True, frozen=True)
class AccountSearch:
    """Which accounts, in order of creation or the reverse; without alternatives all of them."""

    any_of: tuple[AccountCriteria, ...] = ()
    timestamp_min: int = 0
    """Bounds of the accounts' creation; inclusive, 0 means open."""
    timestamp_max: int = 0
    newest_first: bool = False
    limit: int = BATCH_MAX
    cursor: str | None = None


@dataclass(slots=True, frozen=True)
class AccountPage:
    """Accounts that a search found, with their balances."""

    accounts: list[Account]
    cursor: str | None
    complete: bool


@dataclass(slots=True, frozen=True)
class BalancesAsOf:
    """Which accounts' balances, as of which time.

    Either ``account_ids`` or all accounts, or those of ``ledgers`` and ``codes``.
    """

    timestamp: int = 0
    """0 means now."""
    account_ids: tuple[int, ...] = ()
    ledgers: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    limit: int = BATCH_MAX
    cursor: str | None = None


@dataclass(slots=True, frozen=True)
class BalancesPage:
    """Accounts as they stood at one instant; those that were created later are left out."""

    timestamp: int
    """The instant: the one asked for, or the newest commit where that is later than it."""
    accounts: list[Account]
    cursor: str | None


@dataclass(slots=True, frozen=True)
class Snapshot:
    """Several accounts at one and the same instant."""

    timestamp: int
    """Everything up to it is counted, and nothing after it; balances as of it are these."""
    sequence: int
    """The journal's batch that the instant lies in."""
    accounts: list[Account]


@dataclass(slots=True, frozen=True)
class PendingState:
    """What has become of a transfer that may be a pending one."""

    id: int
    timestamp: int
    status: TransferPendingStatus
    expires_at: int
    """When its time is over, in nanoseconds; 0 for never."""
    resolved_by: int
    """Id of the transfer that posted or voided it; 0 where nothing did, or its timeout."""
    resolved_at: int
    """When it was posted, voided or released; 0 where it was not."""
    posted_amount: int
    """What was posted of it."""


@dataclass(slots=True, frozen=True)
class PeriodStatement:
    """Which part of an account's history a statement is about."""

    account_id: int = 0
    timestamp_min: int = 0
    """Bounds are inclusive; 0 means open."""
    timestamp_max: int = 0
    limit: int = BATCH_MAX
    cursor: str | None = None


@dataclass(slots=True, frozen=True)
class CounterChange:
    """What a line adds to the four counters; pending ones may fall."""

    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


@dataclass(slots=True, frozen=True)
class StatementEntry:
    """One change of an account's counters, expiries included."""

    type: ChangeEventType
    timestamp: int
    transfer: Transfer
    """The transfer; of an expiry the pending one that it released."""
    change: CounterChange
    balance: AccountBalance
    """The counters after it."""


@dataclass(slots=True, frozen=True)
class StatementPage:
    """A page of a statement: the opening balance and all pages' changes add up to the closing balance."""

    opening: AccountBalance
    closing: AccountBalance
    entries: list[StatementEntry]
    """In the order of the books."""
    cursor: str | None


@dataclass(slots=True, frozen=True)
class ChangesAfter:
    """Where a follower stands, and how long it waits for what comes next."""

    cursor: str | None = None
    """Where it left off; None begins at ``timestamp_min``."""
    timestamp_min: int = 0
    limit: int = CHANGE_EVENTS_MAX
    wait_seconds: int = 0
    """How long an answer without events may take; 0 answers at once."""


@dataclass(slots=True, frozen=True)
class ChangesPage:
    """The next changes, in order of timestamp within a page; each is in exactly one page."""

    events: list[ChangeEvent]
    cursor: str
    """Where to go on, also when there was nothing."""
