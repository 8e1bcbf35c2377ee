"""Statements: a wallet's month in one asset, from one balance to the next, to the unit.

A statement is the ledger's own: its opening balance is what the ledger held when the month
began, its closing balance what it held when it ended, and every line between them is an
entry of the books, expiries included. So opening balance and all changes make the closing
balance, and one month's closing balance is the next one's opening balance. Nothing is
stored: the books do not change, so neither does the statement of a month that is over.

A month that is not over says so (``is_over``): its closing balance is that of the newest
line when its first page was read, and all its pages end there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from foundation.assets import Asset
from foundation.clock import SECOND_NS, Clock
from foundation.errors import Refusal
from foundation.money import Money
from ledger.contract import AccountBalance, InvalidFilter
from ledger.interface import Ledger
from ledger.queries.questions import PeriodStatement, StatementEntry
from wallets.errors import WalletCode
from wallets.history import HistoryLine, lines_of
from wallets.statement_errors import StatementCode
from wallets.wallets import Wallet, WalletDirectory, wallet_account

PAGE_MAX: Final = 100
"""Most lines on a page."""

STREAM_LINES: Final = 500
"""Lines that are held at once while a whole month is written."""

OVER_AFTER_SECONDS: Final = 300
"""How long after its end a month counts as over: the ledger's clock may be behind this one by less."""

_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in UTC."""

    year: int
    number: int
    """1 to 12."""

    @property
    def first_ns(self) -> int:
        """Its first nanosecond since 1970."""
        return _ns(datetime(self.year, self.number, 1, tzinfo=UTC))

    @property
    def end_ns(self) -> int:
        """The next month's first nanosecond."""
        later = self.year * 12 + self.number
        return _ns(datetime(later // 12, later % 12 + 1, 1, tzinfo=UTC))

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


@dataclass(frozen=True, slots=True)
class MonthLine:
    """A line of a statement."""

    line: HistoryLine
    change: Money
    """What it added to the balance; below zero for what left, zero for what was only reserved or freed."""


@dataclass(frozen=True, slots=True)
class MonthPage:
    """Lines in the order of the books, between the month's own balances, which every page has."""

    asset: Asset
    month: Month
    is_over: bool
    opening: Money
    closing: Money
    lines: Sequence[MonthLine]
    next_cursor: str | None
    """Asks for the next page; None at the end."""


def parse_month(text: str, clock: Clock) -> Month:
    """A month written yyyy-mm; refused as ``statement_month_malformed``, also before it has begun."""
    match = _MONTH.fullmatch(text)
    month = Month(int(match[1]), int(match[2])) if match is not None else None
    if month is None or month.first_ns > clock.now_ns():
        raise Refusal(
            StatementCode.STATEMENT_MONTH_MALFORMED,
            "A month is written yyyy-mm, and a statement is of one that has begun.",
        )
    return month


async def statement(
    ledger: Ledger,
    directory: WalletDirectory,
    clock: Clock,
    *,
    wallet: Wallet,
    asset: Asset,
    month: Month,
    cursor: str | None = None,
    limit: int = 20,
) -> MonthPage:
    """A page of a wallet's month; refused as ``cursor_malformed``."""
    # Looked at before the books, so that what comes meanwhile is not missed in a month called over.
    is_over = clock.now_ns() >= month.end_ns + OVER_AFTER_SECONDS * SECOND_NS
    account_id = wallet_account(wallet.id, asset)
    question = PeriodStatement(
        account_id, timestamp_min=month.first_ns, timestamp_max=month.end_ns - 1, limit=limit, cursor=cursor
    )
    try:
        page = await ledger.get_period_statement(question)
    except InvalidFilter as error:
        if error.field_name == "account_id":
            # A wallet that is older than an asset has no account in it until it is paid.
            return MonthPage(asset, month, is_over, Money(0, asset), Money(0, asset), (), None)
        if error.field_name == "cursor":
            raise Refusal(
                WalletCode.CURSOR_MALFORMED, "The cursor is not one that a page of this month gave."
            ) from None
        raise
    shown = await lines_of(directory, [(account_id, entry) for entry in page.entries])
    lines = [MonthLine(line, _change(entry, asset)) for line, entry in zip(shown, page.entries, strict=True)]
    return MonthPage(
        asset, month, is_over, _held(page.opening, asset), _held(page.closing, asset), lines, page.cursor
    )


async def statement_pages(
    ledger: Ledger, directory: WalletDirectory, clock: Clock, *, wallet: Wallet, asset: Asset, month: Month
) -> AsyncIterator[MonthPage]:
    """All pages of a month, the first one even if it is empty; one at a time is in memory."""
    cursor: str | None = None
    while True:
        page = await statement(
            ledger,
            directory,
            clock,
            wallet=wallet,
            asset=asset,
            month=month,
            cursor=cursor,
            limit=STREAM_LINES,
        )
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return


def _held(balance: AccountBalance, asset: Asset) -> Money:
    return Money(balance.credits_posted - balance.debits_posted, asset)


def _change(entry: StatementEntry, asset: Asset) -> Money:
    return Money(entry.change.credits_posted - entry.change.debits_posted, asset)


def _ns(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(seconds=1) * SECOND_NS
