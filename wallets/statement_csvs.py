"""Statements as CSV: RFC 4180, and nothing that a spreadsheet takes for a formula.

Every cell is an enum's word, a time, an id, a handle without its @, or an amount without a
sign: what came in and what went out have columns of their own, so that no cell begins with
=, +, - or @ (OWASP, CSV injection). The first row after the header is the opening balance,
the last one the closing balance: a file without it was cut off on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from foundation.clock import datetime_from_ns
from foundation.money import Money
from wallets.statements import MonthLine, MonthPage

HEADER: Final = (
    "at", "kind", "effect", "counterparty", "reference", "id", "asset",
    "amount", "money_in", "money_out", "balance", "available", "padding",
)  # fmt: skip
"""The columns; the last one is empty but in a session, where it hides how long a month was."""

OPENING: Final = "opening_balance"
CLOSING: Final = "closing_balance"
NOT_OVER: Final = "month_not_over"
"""The closing balance's effect while more lines may come."""


async def statement_csv(pages: AsyncIterator[MonthPage], *, step_bytes: int = 1) -> AsyncIterator[bytes]:
    """The file in pieces, of a page each; its length is a multiple of ``step_bytes``."""
    length = 0
    last: MonthPage | None = None
    async for page in pages:
        rows = [] if last is not None else [HEADER, _balance_row(page, OPENING)]
        rows += [_row(each) for each in page.lines]
        piece = b"".join(_written(row) for row in rows)
        length += len(piece)
        last = page
        yield piece
    assert last is not None, "a statement has one page at least"
    closing = _balance_row(last, CLOSING)
    yield _written((*closing[:-1], " " * (-(length + len(_written(closing))) % step_bytes)))


def _row(each: MonthLine) -> tuple[str, ...]:
    line, change = each.line, each.change
    zero = Money(0, change.asset)
    return (
        _time(line.at_ns),
        line.kind.value,
        line.effect.value,
        line.counterparty or "",
        str(line.reference) if line.reference is not None else "",
        str(line.id),
        change.asset.code,
        line.amount.format(),
        max(change, zero).format(),
        (zero - min(change, zero)).format(),
        line.balance.format(),
        line.available.format(),
        "",
    )


def _balance_row(page: MonthPage, kind: str) -> tuple[str, ...]:
    is_opening = kind == OPENING
    at_ns = page.month.first_ns if is_opening else page.month.end_ns
    effect = NOT_OVER if not is_opening and not page.is_over else ""
    balance = page.opening if is_opening else page.closing
    # A month that is not over has no end yet.
    time = "" if effect else _time(at_ns)
    return (time, kind, effect, "", "", "", page.asset.code, "", "", "", balance.format(), "", "")


def _written(row: tuple[str, ...]) -> bytes:
    # No cell has a comma, a quote or a line break, so none is quoted.
    return (",".join(row) + "\r\n").encode("ascii")


def _time(ns: int) -> str:
    return datetime_from_ns(ns).isoformat(timespec="microseconds").replace("+00:00", "Z")
