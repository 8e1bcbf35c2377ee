"""Syncs: all that changed in a wallet since a cursor, after a time without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from nugpay_client.connection import Connection
from nugpay_client.errors import AnswerMalformed
from nugpay_client.models import Balance, Deposit, HistoryLine, PaymentRequest, Withdrawal, read


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed. Store all of it, then keep ``cursor``; in that order nothing is ever missed."""

    lines: list[HistoryLine]
    """New lines, the oldest first; over all answers each comes once."""
    payment_requests: list[PaymentRequest]
    """Those that changed, as they stand; they come again whenever they changed."""
    withdrawals: list[Withdrawal]
    deposits: list[Deposit]
    balances: dict[str, Balance]
    cursor: str
    """From where to go on."""


async def changes_after(
    connection: Connection, cursor: str | None, limit: int | None, *, memos: bool = False
) -> AsyncIterator[Changes]:
    """Answers until nothing more has changed; at least one."""
    while True:
        query = {"cursor": cursor} if cursor is not None else {}
        if limit is not None:
            query["limit"] = str(limit)
        if memos:
            query["memos"] = "true"
        content = (await connection.send("GET", "/v1/sync", query=query)).content
        try:
            found = Changes(
                lines=[read(HistoryLine, each) for each in content["lines"]],
                payment_requests=[read(PaymentRequest, each) for each in content["payment_requests"]],
                withdrawals=[read(Withdrawal, each) for each in content["withdrawals"]],
                deposits=[read(Deposit, each) for each in content["deposits"]],
                balances={each["asset"]: read(Balance, each) for each in content["balances"]},
                cursor=str(content["next_cursor"]),
            )
            has_more = bool(content["has_more"])
        except (KeyError, TypeError):
            raise AnswerMalformed("the answer holds no changes") from None
        yield found
        if not has_more:
            return
        cursor = found.cursor
