"""Plain refusals: why an event is not created, as the name of the first reason; None for none.

Written for speed as one question after the other, in the contract's order; which
numbers of an event are which stands in ``ledger/records.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.plain_ledger import Event, PlainAccount, PlainLedger

SECOND = 10**9
TOP = 2**63 - 1
"""Highest amount, balance and timestamp."""
MAX = 2**128 - 1

LINKED, PENDING, POST, VOID = 1, 2, 4, 8
BALANCING_DEBIT, BALANCING_CREDIT, CLOSING_DEBIT, CLOSING_CREDIT, IMPORTED_TRANSFER = 16, 32, 64, 128, 256
DEBIT_LIMIT, CREDIT_LIMIT, HISTORY, IMPORTED_ACCOUNT, CLOSED = 2, 4, 8, 16, 32

TRANSIENT = {
    "debit_account_not_found", "credit_account_not_found", "pending_transfer_not_found",
    "debit_account_already_closed", "credit_account_already_closed", "exceeds_credits", "exceeds_debits",
}  # fmt: skip

_USER_DATA = ("user_data_128", "user_data_64", "user_data_32")


def of_account(ledger: PlainLedger, e: Event, batch_imported: int) -> str | None:
    """Sections 5.1 and 5.2."""
    imported = e[11] & IMPORTED_ACCOUNT
    early = _time(ledger, e, imported, batch_imported)
    if early is not None:
        return early
    if e[8]:
        return "reserved_field"
    if e[11] > 63:
        return "reserved_flag"
    if e[0] in (0, MAX):
        return "id_must_not_be_int_max" if e[0] else "id_must_not_be_zero"
    stored = ledger.accounts.get(e[0])
    if stored is not None:
        return _account_difference(e, stored)
    if e[11] & DEBIT_LIMIT and e[11] & CREDIT_LIMIT:
        return "flags_are_mutually_exclusive"
    for at, name in enumerate(("debits_pending", "debits_posted", "credits_pending", "credits_posted"), 1):
        if e[at]:
            return f"{name}_must_be_zero"
    if not e[9]:
        return "ledger_must_not_be_zero"
    if not e[10]:
        return "code_must_not_be_zero"
    if imported and (e[12] <= ledger.newest_account or e[12] in ledger.transfer_times):
        return "imported_event_timestamp_must_not_regress"
    return None


def _account_difference(e: Event, stored: PlainAccount) -> str:
    kept = (stored.flags, *stored.user_data, stored.ledger, stored.code)
    names = ("flags", *_USER_DATA, "ledger", "code")
    for name, asked, value in zip(names, (e[11], *e[5:8], e[9], e[10]), kept, strict=True):
        if asked != value:
            return f"exists_with_different_{name}"
    return "exists"


def of_transfer(ledger: PlainLedger, e: Event, timestamp: int, batch_imported: int) -> str | None:
    """Sections 5.1, 5.3 and 5.4."""
    own_id, flags = e[0], e[11]
    early = _time(ledger, e, flags & IMPORTED_TRANSFER, batch_imported)
    if early is not None:
        return early
    if flags >= 512:
        return "reserved_flag"
    if own_id == 0:
        return "id_must_not_be_zero"
    if own_id == MAX:
        return "id_must_not_be_int_max"
    stored = ledger.transfers.get(own_id)
    if stored is not None:
        if stored[11] & (POST | VOID):
            return _resolution_difference(e, stored, ledger.transfers[stored[4]])
        return _ordinary_difference(e, stored)
    if own_id in ledger.failed:
        return "id_already_failed"
    if flags & (POST | VOID):
        return _resolution_shape(e) or _resolution(ledger, e, timestamp)
    return _shape(e) or _ordinary(ledger, e, timestamp)


def _time(ledger: PlainLedger, e: Event, imported: int, batch_imported: int) -> str | None:
    if imported != batch_imported:
        return "imported_event_not_expected" if imported else "imported_event_expected"
    if not imported:
        return "timestamp_must_be_zero" if e[12] else None
    if not 0 < e[12] <= TOP:
        return "imported_event_timestamp_out_of_range"
    return "imported_event_timestamp_must_not_advance" if e[12] >= ledger.last else None


def _shape(e: Event) -> str | None:
    flags = e[11]
    for side, account_id in (("debit", e[1]), ("credit", e[2])):
        if account_id == 0:
            return f"{side}_account_id_must_not_be_zero"
        if account_id == MAX:
            return f"{side}_account_id_must_not_be_int_max"
    if e[1] == e[2]:
        return "accounts_must_be_different"
    if e[4]:
        return "pending_id_must_be_zero"
    if not flags & PENDING:
        if e[8]:
            return "timeout_reserved_for_pending_transfer"
        if flags & (CLOSING_DEBIT | CLOSING_CREDIT):
            return "closing_transfer_must_be_pending"
    if not e[9]:
        return "ledger_must_not_be_zero"
    return None if e[10] else "code_must_not_be_zero"


def _ordinary(ledger: PlainLedger, e: Event, timestamp: int) -> str | None:
    debit, credit = ledger.accounts.get(e[1]), ledger.accounts.get(e[2])
    if debit is None:
        return "debit_account_not_found"
    if credit is None:
        return "credit_account_not_found"
    if debit.ledger != credit.ledger:
        return "accounts_must_have_the_same_ledger"
    if e[9] != debit.ledger:
        return "transfer_must_have_the_same_ledger_as_accounts"
    if e[11] & IMPORTED_TRANSFER:
        timestamp = e[12]
        if timestamp <= ledger.newest_transfer or timestamp in ledger.account_times:
            return "imported_event_timestamp_must_not_regress"
        if timestamp <= debit.timestamp:
            return "imported_event_timestamp_must_postdate_debit_account"
        if timestamp <= credit.timestamp:
            return "imported_event_timestamp_must_postdate_credit_account"
        if e[8]:
            return "imported_event_timeout_must_be_zero"
    return _closed(debit, credit) or _amount(e, timestamp, debit, credit)


def _closed(debit: PlainAccount, credit: PlainAccount) -> str | None:
    if debit.flags & CLOSED:
        return "debit_account_already_closed"
    return "credit_account_already_closed" if credit.flags & CLOSED else None


def _amount(e: Event, timestamp: int, debit: PlainAccount, credit: PlainAccount) -> str | None:
    amount, flags = e[3], e[11]
    if flags & BALANCING_DEBIT:
        amount = min(amount, max(0, debit.credits_posted - debit.debits_posted - debit.debits_pending))
    if flags & BALANCING_CREDIT:
        amount = min(amount, max(0, credit.debits_posted - credit.credits_posted - credit.credits_pending))
    if flags & PENDING and debit.debits_pending + amount > TOP:
        return "overflows_debits_pending"
    if flags & PENDING and credit.credits_pending + amount > TOP:
        return "overflows_credits_pending"
    if debit.debits_posted + amount > TOP:
        return "overflows_debits_posted"
    if credit.credits_posted + amount > TOP:
        return "overflows_credits_posted"
    debits = debit.debits_pending + debit.debits_posted + amount
    if debits > TOP:
        return "overflows_debits"
    credits_ = credit.credits_pending + credit.credits_posted + amount
    if credits_ > TOP:
        return "overflows_credits"
    if timestamp + e[8] * SECOND > TOP:
        return "overflows_timeout"
    if debit.flags & DEBIT_LIMIT and debits > debit.credits_posted:
        return "exceeds_credits"
    if credit.flags & CREDIT_LIMIT and credits_ > credit.debits_posted:
        return "exceeds_debits"
    return None


def _resolution_shape(e: Event) -> str | None:
    flags = e[11]
    excluded = PENDING | BALANCING_DEBIT | BALANCING_CREDIT | CLOSING_DEBIT | CLOSING_CREDIT
    if flags & excluded or (flags & POST and flags & VOID):
        return "flags_are_mutually_exclusive"
    if e[4] == 0:
        return "pending_id_must_not_be_zero"
    if e[4] == MAX:
        return "pending_id_must_not_be_int_max"
    if e[4] == e[0]:
        return "pending_id_must_be_different"
    return "timeout_reserved_for_pending_transfer" if e[8] else None


def _resolution(ledger: PlainLedger, e: Event, timestamp: int) -> str | None:
    pending = ledger.transfers.get(e[4])
    if pending is None:
        return "pending_transfer_not_found"
    if not pending[11] & PENDING:
        return "pending_transfer_not_pending"
    for at, name in ((1, "debit_account_id"), (2, "credit_account_id"), (9, "ledger"), (10, "code")):
        if e[at] and e[at] != pending[at]:
            return f"pending_transfer_has_different_{name}"
    everything = 0 if e[11] & VOID else MAX
    amount = pending[3] if e[3] == everything else e[3]
    if amount > pending[3]:
        return "exceeds_pending_transfer_amount"
    if e[11] & VOID and amount < pending[3]:
        return "pending_transfer_has_different_amount"
    fate = ledger.fates[e[4]]
    if fate in ("posted", "voided"):
        return f"pending_transfer_already_{fate}"
    if fate == "expired" or (pending[8] and timestamp >= pending[12] + pending[8] * SECOND):
        return "pending_transfer_expired"
    if e[11] & IMPORTED_TRANSFER and (e[12] <= ledger.newest_transfer or e[12] in ledger.account_times):
        return "imported_event_timestamp_must_not_regress"
    if e[11] & POST:
        return _closed(ledger.accounts[pending[1]], ledger.accounts[pending[2]])
    return None


def _ordinary_difference(e: Event, stored: Event) -> str:
    """Section 6, left column."""
    fields = (
        (11, "flags"),
        (4, "pending_id"),
        (8, "timeout"),
        (1, "debit_account_id"),
        (2, "credit_account_id"),
    )
    for at, name in fields:
        if e[at] != stored[at]:
            return f"exists_with_different_{name}"
    balancing = stored[11] & (BALANCING_DEBIT | BALANCING_CREDIT)
    if e[3] < stored[3] if balancing else e[3] != stored[3]:
        return "exists_with_different_amount"
    for at, name in (
        (5, "user_data_128"),
        (6, "user_data_64"),
        (7, "user_data_32"),
        (9, "ledger"),
        (10, "code"),
    ):
        if e[at] != stored[at]:
            return f"exists_with_different_{name}"
    return "exists"


def _resolution_difference(e: Event, stored: Event, pending: Event) -> str:
    """Section 6, right column: 0 stands for what was inherited."""
    for at, name in ((11, "flags"), (4, "pending_id"), (8, "timeout")):
        if e[at] != stored[at]:
            return f"exists_with_different_{name}"
    for at, name in ((1, "debit_account_id"), (2, "credit_account_id")):
        if e[at] and e[at] != stored[at]:
            return f"exists_with_different_{name}"
    everything = 0 if stored[11] & VOID else MAX
    if stored[3] != (pending[3] if e[3] == everything else e[3]):
        return "exists_with_different_amount"
    for at, name in enumerate(_USER_DATA, 5):
        if e[at] != stored[at] and not (e[at] == 0 and stored[at] == pending[at]):
            return f"exists_with_different_{name}"
    for at, name in ((9, "ledger"), (10, "code")):
        if e[at] and e[at] != stored[at]:
            return f"exists_with_different_{name}"
    return "exists"
