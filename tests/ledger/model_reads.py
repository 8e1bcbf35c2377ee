"""The reading half of the model: look-ups, queries, histories and change events (section 10)."""

from collections.abc import Iterator, Sequence
from typing import Any

from ledger.contract import (
    Account,
    AccountBalance,
    AccountFilter,
    ChangeEvent,
    ChangeEventsFilter,
    ChangeEventType,
    QueryFilter,
    StatementLine,
    Transfer,
)
from tests.ledger.model import Model
from tests.ledger.model_books import HISTORY, MAX, TOP

KINDS = ["single_phase", "pending", "posted", "voided", "expired"]
"""Kinds of change in the order of their numbers."""


def is_valid(asked: AccountFilter | QueryFilter | ChangeEventsFilter) -> bool:
    """Whether section 10.1 (and our own limits on a page) let the asked pass."""
    limit_max = 2730 if isinstance(asked, ChangeEventsFilter) else 8189
    if not 0 < asked.limit <= limit_max or asked.reserved:
        return False
    if asked.timestamp_min > TOP or asked.timestamp_max > TOP:
        return False
    if asked.timestamp_max and asked.timestamp_min > asked.timestamp_max:
        return False
    if isinstance(asked, AccountFilter):
        return asked.account_id not in (0, MAX) and asked.flags in (1, 2, 3, 5, 6, 7)
    return not isinstance(asked, QueryFilter) or asked.flags in (0, 1)


def lookup_accounts(model: Model, ids: Sequence[int]) -> list[Account]:
    return [model.account(i) for i in ids if i in model.books.accounts]


def lookup_transfers(model: Model, ids: Sequence[int]) -> list[Transfer]:
    return [model.books.transfers[i] for i in ids if i in model.books.transfers]


def get_account_transfers(model: Model, asked: AccountFilter) -> list[Transfer]:
    return [line.transfer for line in _history(model, asked)]


def get_account_balances(model: Model, asked: AccountFilter) -> list[AccountBalance]:
    account = model.books.accounts.get(asked.account_id)
    if account is None or not account.flags & HISTORY:
        return []
    return [line.balance for line in _history(model, asked)]


def get_statement(model: Model, account_id: int, before: int | None, limit: int) -> list[StatementLine]:
    lines = list(_all_lines(model, account_id))
    lines.sort(key=lambda line: -line.transfer.timestamp)
    return [line for line in lines if before is None or line.transfer.timestamp < before][:limit]


def query_transfers(model: Model, asked: QueryFilter) -> list[Transfer]:
    return _page([t for t in model.books.transfers.values() if _matches(t, asked)], asked)


def query_accounts(model: Model, asked: QueryFilter) -> list[Account]:
    ids = [a.id for a in _page([a for a in model.books.accounts.values() if _matches(a, asked)], asked)]
    return [model.account(i) for i in ids]


def get_change_events(model: Model, asked: ChangeEventsFilter) -> list[ChangeEvent]:
    wanted = [e for e in model.books.changes if _in_time(e.timestamp, asked)]
    wanted.sort(key=lambda e: (e.timestamp, e.kind == "expired"))
    return [
        ChangeEvent(ChangeEventType(KINDS.index(e.kind)), e.timestamp, e.transfer, e.debit, e.credit)
        for e in wanted[: asked.limit]
    ]


def _history(model: Model, asked: AccountFilter) -> list[StatementLine]:
    lines = [
        line
        for line in _all_lines(model, asked.account_id)
        if _matches(line.transfer, asked)
        and (
            (asked.flags & 1 and line.transfer.debit_account_id == asked.account_id)
            or (asked.flags & 2 and line.transfer.credit_account_id == asked.account_id)
        )
    ]
    lines.sort(key=lambda line: line.transfer.timestamp, reverse=bool(asked.flags & 4))
    return lines[: asked.limit]


def _all_lines(model: Model, account_id: int) -> Iterator[StatementLine]:
    for change in model.books.changes:
        if change.kind != "expired":
            for account in (change.debit, change.credit):
                if account.id == account_id:
                    balance = AccountBalance(
                        account.debits_pending, account.debits_posted,
                        account.credits_pending, account.credits_posted, change.timestamp,
                    )  # fmt: skip
                    yield StatementLine(change.transfer, balance)


def _matches(item: Any, asked: AccountFilter | QueryFilter) -> bool:
    names = ["user_data_128", "user_data_64", "user_data_32", "code"]
    if isinstance(asked, QueryFilter):
        names.append("ledger")
    fields = all(getattr(asked, name) in (0, getattr(item, name)) for name in names)
    return fields and _in_time(item.timestamp, asked)


def _in_time(timestamp: int, asked: AccountFilter | QueryFilter | ChangeEventsFilter) -> bool:
    return asked.timestamp_min <= timestamp <= (asked.timestamp_max or TOP)


def _page(items: list[Any], asked: QueryFilter) -> list[Any]:
    items.sort(key=lambda item: item.timestamp, reverse=bool(asked.flags & 1))
    return items[: asked.limit]
