"""The naive answers to the queries beyond the contract's: row by row, from the model's dictionaries."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ledger.contract import Account, AccountBalance, Transfer
from ledger.queries.questions import (
    AccountCriteria,
    AccountSearch,
    CounterChange,
    TransferCriteria,
    TransferSearch,
)
from tests.ledger.model import Model
from tests.ledger.model_books import CLOSED, POST, TOP, Change, expires_at

FATES = ["none", "pending", "posted", "voided", "expired"]
COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


def search_transfers(model: Model, search: TransferSearch) -> list[Transfer]:
    """All transfers that a search means, in its order, whatever its limit."""
    found = [
        t
        for t in model.books.transfers.values()
        if search.timestamp_min <= t.timestamp <= (search.timestamp_max or TOP)
        and (not search.any_of or any(_is_meant(model, t, one) for one in search.any_of))
    ]
    return sorted(found, key=lambda t: t.timestamp, reverse=search.newest_first)


def _is_meant(model: Model, t: Transfer, one: TransferCriteria) -> bool:
    fate = FATES.index(model.books.fates.get(t.id, "none"))
    sides = {t.debit_account_id, t.credit_account_id}
    return (
        (not one.account_ids or bool(sides & set(one.account_ids)))
        and (not one.debit_account_ids or t.debit_account_id in one.debit_account_ids)
        and (not one.credit_account_ids or t.credit_account_id in one.credit_account_ids)
        and one.amount_min <= t.amount <= (TOP if one.amount_max is None else one.amount_max)
        and (not one.ledgers or t.ledger in one.ledgers)
        and (not one.codes or t.code in one.codes)
        and _has_data(t, one)
        and _has_flags(t.flags, one)
        and (not one.pending_status or fate in [int(status) for status in one.pending_status])
    )


def search_accounts(model: Model, search: AccountSearch) -> list[Account]:
    """All accounts that a search means, in its order, whatever its limit."""
    accounts = [model.account(i) for i in model.books.accounts]
    found = [
        a
        for a in accounts
        if search.timestamp_min <= a.timestamp <= (search.timestamp_max or TOP)
        and (not search.any_of or any(_is_account_meant(a, one) for one in search.any_of))
    ]
    return sorted(found, key=lambda a: a.timestamp, reverse=search.newest_first)


def _is_account_meant(a: Account, one: AccountCriteria) -> bool:
    return (
        (not one.ledgers or a.ledger in one.ledgers)
        and (not one.codes or a.code in one.codes)
        and _has_data(a, one)
        and _has_flags(a.flags, one)
        and _is_between(a.credits_posted - a.debits_posted, one.balance_min, one.balance_max)
        and all(
            _is_between(getattr(a, name), getattr(one, f"{name}_min"), getattr(one, f"{name}_max"))
            for name in COUNTERS
        )
    )


def _has_data(item: Any, one: Any) -> bool:
    return all(
        not getattr(one, name) or getattr(item, name) in getattr(one, name)
        for name in ("user_data_128", "user_data_64", "user_data_32")
    )


def _has_flags(flags: int, one: Any) -> bool:
    return bool(
        flags & one.flags_all == one.flags_all
        and (not one.flags_any or flags & one.flags_any != 0)
        and flags & one.flags_none == 0
    )


def _is_between(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def changes_of(model: Model, account_id: int) -> list[tuple[Change, Account]]:
    """An account's changes in the order in which they were made, and the account after each."""
    return [
        (change, account)
        for change in model.books.changes
        for account in (change.debit, change.credit)
        if account.id == account_id
    ]


def account_as_of(model: Model, account_id: int, timestamp: int) -> Account | None:
    """An account after the last change that is dated up to a time; None before it was created."""
    created = model.books.accounts[account_id]
    if created.timestamp > timestamp:
        return None
    changes = changes_of(model, account_id)
    past = [after for change, after in changes if change.timestamp <= timestamp]
    # What was created closed has never changed; what has changed was created open.
    flags = created.flags & ~CLOSED if changes else created.flags
    return past[-1] if past else replace(created, flags=flags)


def pending_state(model: Model, transfer_id: int) -> tuple[str, int, int, int, int]:
    """Status, end, who resolved it, when, and how much was posted."""
    transfer = model.books.transfers[transfer_id]
    fate = model.books.fates.get(transfer_id, "none")
    if fate == "none":
        return "none", 0, 0, 0, 0
    ends = expires_at(transfer) or 0
    if fate == "pending":
        return fate, ends, 0, 0, 0
    if fate == "expired":
        (at,) = (
            c.timestamp for c in model.books.changes if c.kind == "expired" and c.transfer.id == transfer_id
        )
        return fate, ends, 0, at, 0
    (by,) = (t for t in model.books.transfers.values() if t.pending_id == transfer_id)
    return fate, ends, by.id, by.timestamp, by.amount if by.flags & POST else 0


def counters(account: Account | AccountBalance | CounterChange) -> Sequence[int]:
    """An account's four counters."""
    return [getattr(account, name) for name in COUNTERS]
