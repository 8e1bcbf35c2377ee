"""Statements: a wallet's month in one asset, as lines that add up or as a file to print or keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from nugpay_client.connection import Connection
from nugpay_client.errors import AnswerMalformed
from nugpay_client.models import HistoryLine, read

_KINDS: Final = {"csv": "text/csv", "pdf": "application/pdf"}
_LAST_ROW: Final = b",closing_balance,"


@dataclass(frozen=True, slots=True)
class MonthLine:
    """A line of a month."""

    line: HistoryLine
    change: Decimal
    """What it added to the balance; below zero for what left."""


@dataclass(frozen=True, slots=True)
class MonthStatement:
    """A month's balances; its lines are ``Statements.lines``."""

    asset: str
    month: str
    is_over: bool
    """False: more lines may come, and the closing balance is the newest one."""
    opening_balance: Decimal
    closing_balance: Decimal


class Statements:
    """A wallet's months; found as ``Wallet.statements``. A month is written ``2026-11``, in UTC."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, asset: str, month: str) -> MonthStatement:
        """A month's balances."""
        content = await self._page(asset, month, {"limit": "1"})
        try:
            return MonthStatement(
                asset=content["asset"],
                month=content["month"],
                is_over=bool(content["is_over"]),
                opening_balance=Decimal(content["opening_balance"]),
                closing_balance=Decimal(content["closing_balance"]),
            )
        except (KeyError, TypeError, ArithmeticError):
            raise AnswerMalformed("the answer holds no statement") from None

    async def lines(self, asset: str, month: str, *, page: int = 50) -> AsyncIterator[MonthLine]:
        """The month's lines in the order of the books, fetched page by page as they are read."""
        query = {"limit": str(page)}
        while True:
            content = await self._page(asset, month, query)
            for each in content["lines"]:
                line: HistoryLine = read(HistoryLine, each)
                yield MonthLine(line, Decimal(each["change"]))
            if content["next_cursor"] is None:
                return
            query["cursor"] = content["next_cursor"]

    async def file(self, asset: str, month: str, kind: Literal["csv", "pdf"]) -> bytes:
        """The whole month as a file; ``AnswerMalformed`` when it was cut off on the way."""
        path = f"/v1/statements/{asset}/{month}"
        content = (await self._connection.send("GET", path, accept=_KINDS[kind])).content
        ends = (
            _LAST_ROW in content[content.rstrip().rfind(b"\n") + 1 :]
            if kind == "csv" and isinstance(content, bytes)
            else isinstance(content, bytes) and content.endswith(b"%%EOF\n")
        )
        if not ends:
            raise AnswerMalformed("the file was cut off")
        return bytes(content)

    async def _page(self, asset: str, month: str, query: dict[str, str]) -> Any:
        return (await self._connection.send("GET", f"/v1/statements/{asset}/{month}", query=query)).content
