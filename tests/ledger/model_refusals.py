"""The refusing half of the model: why an event is not created, most important reason first.

Each function yields every reason that it sees, in order of precedence; whoever asks
takes the first one and lets the rest go.
"""

from collections.abc import Iterator

from ledger.contract import Account, Transfer
from tests.ledger.model_books import (
    BALANCING_CREDIT,
    BALANCING_DEBIT,
    CLOSED,
    CLOSING_CREDIT,
    CLOSING_DEBIT,
    CREDIT_LIMIT,
    DEBIT_LIMIT,
    IMPORTED_ACCOUNT,
    IMPORTED_TRANSFER,
    MAX,
    PENDING,
    POST,
    SECOND,
    TOP,
    VOID,
    Books,
    expires_at,
    moved_amount,
    resolved_amount,
)

SIDES = ("debit", "credit")
USER_DATA = ("user_data_128", "user_data_64", "user_data_32")


def time_refusals(
    event: Account | Transfer, last: int, *, imported: bool, batch_imported: bool
) -> Iterator[str]:
    """Section 5.1, steps 4 and 5."""
    if batch_imported and not imported:
        yield "imported_event_expected"
    if imported and not batch_imported:
        yield "imported_event_not_expected"
    if not imported and event.timestamp != 0:
        yield "timestamp_must_be_zero"
    if imported and (event.timestamp == 0 or event.timestamp > TOP):
        yield "imported_event_timestamp_out_of_range"
    if imported and event.timestamp >= last:
        yield "imported_event_timestamp_must_not_advance"


def account_refusals(books: Books, e: Account) -> Iterator[str]:
    """Section 5.2."""
    if e.reserved:
        yield "reserved_field"
    if e.flags > 63:
        yield "reserved_flag"
    yield from _id_refusals(e.id)
    if e.id in books.accounts:
        for name in ("flags", *USER_DATA, "ledger", "code"):
            if getattr(e, name) != getattr(books.accounts[e.id], name):
                yield f"exists_with_different_{name}"
        yield "exists"
    if e.flags & DEBIT_LIMIT and e.flags & CREDIT_LIMIT:
        yield "flags_are_mutually_exclusive"
    for name in ("debits_pending", "debits_posted", "credits_pending", "credits_posted"):
        if getattr(e, name):
            yield f"{name}_must_be_zero"
    yield from _zero_refusals(e)
    newest = max(books.account_times, default=0)
    if e.flags & IMPORTED_ACCOUNT and (e.timestamp <= newest or e.timestamp in books.transfer_times):
        yield "imported_event_timestamp_must_not_regress"


def transfer_refusals(books: Books, failed: set[int], e: Transfer, timestamp: int) -> Iterator[str]:
    """Sections 5.3 and 5.4."""
    if e.flags >= 512:
        yield "reserved_flag"
    yield from _id_refusals(e.id)
    if e.id in books.transfers:
        stored = books.transfers[e.id]
        if stored.flags & (POST | VOID):
            yield from _resolution_differences(e, stored, books.transfers[stored.pending_id])
        else:
            yield from _ordinary_differences(e, stored)
        yield "exists"
    if e.id in failed:
        yield "id_already_failed"
    if e.flags & (POST | VOID):
        yield from _resolution_shape_refusals(e)
        yield from _resolution_refusals(books, e, timestamp)
    else:
        yield from _shape_refusals(e)
        yield from _ordinary_refusals(books, e, timestamp)


def _id_refusals(own_id: int) -> Iterator[str]:
    if own_id == 0:
        yield "id_must_not_be_zero"
    if own_id == MAX:
        yield "id_must_not_be_int_max"


def _zero_refusals(e: Account | Transfer) -> Iterator[str]:
    if e.ledger == 0:
        yield "ledger_must_not_be_zero"
    if e.code == 0:
        yield "code_must_not_be_zero"


def _ordinary_differences(e: Transfer, stored: Transfer) -> Iterator[str]:
    """Section 6, left column."""
    for name in ("flags", "pending_id", "timeout", "debit_account_id", "credit_account_id"):
        if getattr(e, name) != getattr(stored, name):
            yield f"exists_with_different_{name}"
    balancing = stored.flags & (BALANCING_DEBIT | BALANCING_CREDIT)
    if e.amount < stored.amount if balancing else e.amount != stored.amount:
        yield "exists_with_different_amount"
    for name in (*USER_DATA, "ledger", "code"):
        if getattr(e, name) != getattr(stored, name):
            yield f"exists_with_different_{name}"


def _resolution_differences(e: Transfer, stored: Transfer, pending: Transfer) -> Iterator[str]:
    """Section 6, right column: 0 stands for what was inherited."""
    for name in ("flags", "pending_id", "timeout"):
        if getattr(e, name) != getattr(stored, name):
            yield f"exists_with_different_{name}"
    for name in ("debit_account_id", "credit_account_id"):
        if getattr(e, name) not in {0, getattr(stored, name)}:
            yield f"exists_with_different_{name}"
    if stored.flags & VOID:
        same = e.amount in {0, stored.amount}
    else:
        same = stored.amount == (pending.amount if e.amount == MAX else e.amount)
    if not same:
        yield "exists_with_different_amount"
    for name in USER_DATA:
        asked, kept = getattr(e, name), getattr(stored, name)
        if asked != kept and not (asked == 0 and kept == getattr(pending, name)):
            yield f"exists_with_different_{name}"
    for name in ("ledger", "code"):
        if getattr(e, name) not in {0, getattr(stored, name)}:
            yield f"exists_with_different_{name}"


def _shape_refusals(e: Transfer) -> Iterator[str]:
    """Section 5.3, steps 4 to 7."""
    for side in SIDES:
        account_id = getattr(e, f"{side}_account_id")
        if account_id == 0:
            yield f"{side}_account_id_must_not_be_zero"
        if account_id == MAX:
            yield f"{side}_account_id_must_not_be_int_max"
    if e.debit_account_id == e.credit_account_id:
        yield "accounts_must_be_different"
    if e.pending_id:
        yield "pending_id_must_be_zero"
    if not e.flags & PENDING and e.timeout:
        yield "timeout_reserved_for_pending_transfer"
    if not e.flags & PENDING and e.flags & (CLOSING_DEBIT | CLOSING_CREDIT):
        yield "closing_transfer_must_be_pending"
    yield from _zero_refusals(e)


def _ordinary_refusals(books: Books, e: Transfer, timestamp: int) -> Iterator[str]:
    """Section 5.3, from step 8 on."""
    for side in SIDES:
        if getattr(e, f"{side}_account_id") not in books.accounts:
            yield f"{side}_account_not_found"
    debit, credit = books.accounts[e.debit_account_id], books.accounts[e.credit_account_id]
    if debit.ledger != credit.ledger:
        yield "accounts_must_have_the_same_ledger"
    if e.ledger != debit.ledger:
        yield "transfer_must_have_the_same_ledger_as_accounts"
    if e.flags & IMPORTED_TRANSFER:
        if _regresses(books, e):
            yield "imported_event_timestamp_must_not_regress"
        for side, account in zip(SIDES, (debit, credit), strict=True):
            if e.timestamp <= account.timestamp:
                yield f"imported_event_timestamp_must_postdate_{side}_account"
        if e.timeout:
            yield "imported_event_timeout_must_be_zero"
    yield from _closed_refusals(debit, credit)
    yield from _amount_refusals(books, e, e.timestamp if e.flags & IMPORTED_TRANSFER else timestamp)


def _regresses(books: Books, e: Transfer) -> bool:
    return e.timestamp <= max(books.transfer_times, default=0) or e.timestamp in books.account_times


def _closed_refusals(debit: Account, credit: Account) -> Iterator[str]:
    if debit.flags & CLOSED:
        yield "debit_account_already_closed"
    if credit.flags & CLOSED:
        yield "credit_account_already_closed"


def _amount_refusals(books: Books, e: Transfer, timestamp: int) -> Iterator[str]:
    """Section 5.3, steps 13 to 15."""
    amount = moved_amount(books, e)
    debits_pending, debits_posted, _, credits_of_debit = books.balances[e.debit_account_id]
    _, debits_of_credit, credits_pending, credits_posted = books.balances[e.credit_account_id]
    sums = {
        "debits_pending": debits_pending if e.flags & PENDING else -amount,
        "credits_pending": credits_pending if e.flags & PENDING else -amount,
        "debits_posted": debits_posted,
        "credits_posted": credits_posted,
        "debits": debits_pending + debits_posted,
        "credits": credits_pending + credits_posted,
    }
    for name, before in sums.items():
        if before + amount > TOP:
            yield f"overflows_{name}"
    if timestamp + e.timeout * SECOND > TOP:
        yield "overflows_timeout"
    debit, credit = books.accounts[e.debit_account_id], books.accounts[e.credit_account_id]
    if debit.flags & DEBIT_LIMIT and sums["debits"] + amount > credits_of_debit:
        yield "exceeds_credits"
    if credit.flags & CREDIT_LIMIT and sums["credits"] + amount > debits_of_credit:
        yield "exceeds_debits"


def _resolution_shape_refusals(e: Transfer) -> Iterator[str]:
    """Section 5.4, steps 1 and 2."""
    excluded = PENDING | BALANCING_DEBIT | BALANCING_CREDIT | CLOSING_DEBIT | CLOSING_CREDIT
    if e.flags & excluded or (e.flags & POST and e.flags & VOID):
        yield "flags_are_mutually_exclusive"
    if e.pending_id == 0:
        yield "pending_id_must_not_be_zero"
    if e.pending_id == MAX:
        yield "pending_id_must_not_be_int_max"
    if e.pending_id == e.id:
        yield "pending_id_must_be_different"
    if e.timeout:
        yield "timeout_reserved_for_pending_transfer"


def _resolution_refusals(books: Books, e: Transfer, timestamp: int) -> Iterator[str]:
    """Section 5.4, from step 3 on."""
    if e.pending_id not in books.transfers:
        yield "pending_transfer_not_found"
    pending = books.transfers[e.pending_id]
    if not pending.flags & PENDING:
        yield "pending_transfer_not_pending"
    for name in ("debit_account_id", "credit_account_id", "ledger", "code"):
        if getattr(e, name) not in {0, getattr(pending, name)}:
            yield f"pending_transfer_has_different_{name}"
    amount = resolved_amount(e, pending)
    if amount > pending.amount:
        yield "exceeds_pending_transfer_amount"
    if e.flags & VOID and amount < pending.amount:
        yield "pending_transfer_has_different_amount"
    fate, ends = books.fates[pending.id], expires_at(pending)
    if fate in {"posted", "voided"}:
        yield f"pending_transfer_already_{fate}"
    if fate == "expired" or (ends is not None and timestamp >= ends):
        yield "pending_transfer_expired"
    if e.flags & IMPORTED_TRANSFER and _regresses(books, e):
        yield "imported_event_timestamp_must_not_regress"
    if e.flags & POST:
        accounts = books.accounts
        yield from _closed_refusals(accounts[pending.debit_account_id], accounts[pending.credit_account_id])
