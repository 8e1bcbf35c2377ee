"""Bulk payments: bring a file of payments with one device, release it with another, follow it.

An order has the id; keep it before it is sent. However often a file is brought and released,
each of its lines is paid once.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.ids import new_id
from nugpay_client.models import Amount, amount_text, read

_PATH = "/v1/bulk_payments"


@dataclass(frozen=True, slots=True)
class BulkOrder:
    """A file of payments to bring, with the id that makes it one however often it is sent."""

    id: UUID
    asset: str
    content: bytes
    """CSV in UTF-8 with the header handle,amount,reference."""


@dataclass(frozen=True, slots=True)
class BulkPayment:
    """A file of payments as it stood when it was read."""

    id: UUID
    state: str
    """``wrong``, ``checked``, ``released``, ``finished`` or ``cancelled``."""
    payer: str
    asset: str
    digest: str
    """SHA-256 of the file in hexadecimal digits."""
    lines: int
    wrong: int
    """Lines that cannot be paid; with one of them the file is never released."""
    total: Decimal
    """What the payees of all good lines get; ``fees`` come on top."""
    fees: Decimal
    done: int
    """Lines that have a result."""
    paid: int
    paid_total: Decimal
    created_at: datetime
    released_at: datetime | None
    finished_at: datetime | None
    cancelled_at: datetime | None


@dataclass(frozen=True, slots=True)
class BulkLine:
    """A line of a file as it stood when it was read."""

    number: int
    """As a spreadsheet counts: the header is line 1."""
    state: str
    """``wrong``, ``waiting``, ``paid`` or ``refused``."""
    payee: str
    amount: Decimal | None
    fee: Decimal | None
    reference: str
    code: str | None
    """Why it is wrong, or was refused."""
    payment_id: UUID | None


class BulkPayments:
    """A wallet's files of payments; found as ``Wallet.bulk_payments``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def order(self, content: bytes, asset: str) -> BulkOrder:
        """An order with a new id: keep it, then ``bring`` it as often as needed."""
        return BulkOrder(new_id(self._connection.clock), asset, content)

    async def bring(self, order: BulkOrder) -> BulkPayment:
        """Have a file checked and kept; nothing moves. ``RequestRefused`` when it cannot be read.

        Lines that cannot be paid make its state ``wrong``; ``lines`` tells them.
        """
        query = {"id": str(order.id), "asset": order.asset}
        return _bulk((await self._connection.send("POST", _PATH, order.content, query=query)).content)

    async def release(self, bulk_id: UUID, content: bytes, total: Amount) -> BulkPayment:
        """Have a file's lines paid, by another device than the one that brought it; safe to repeat.

        ``content`` is the file as this device has it and ``total`` what its payees get together:
        the server pays only if both are what was brought.
        """
        body = {"digest": hashlib.sha256(content).hexdigest(), "total": amount_text(total)}
        return _bulk((await self._connection.send("POST", f"{_PATH}/{bulk_id}/release", body)).content)

    async def cancel(self, bulk_id: UUID) -> BulkPayment:
        """Have a file never be paid, by any device of the wallet; safe to repeat.

        ``RequestRefused`` as ``bulk_released`` when a device has released it.
        """
        return _bulk((await self._connection.send("POST", f"{_PATH}/{bulk_id}/cancel")).content)

    async def get(self, bulk_id: UUID) -> BulkPayment:
        """How far a file of this wallet is; ``NotFound`` when there is none or it is somebody else's."""
        return _bulk((await self._connection.send("GET", f"{_PATH}/{bulk_id}")).content)

    async def list(self, *, page: int = 20) -> AsyncIterator[BulkPayment]:
        """The wallet's files, newest first, fetched page by page as they are read."""
        query = {"limit": str(page)}
        while True:
            content = (await self._connection.send("GET", _PATH, query=query)).content
            for each in content["bulk_payments"]:
                yield _bulk(each)
            if content["next_before"] is None:
                return
            query["before"] = content["next_before"]

    async def lines(
        self, bulk_id: UUID, *, state: str | None = None, page: int = 100
    ) -> AsyncIterator[BulkLine]:
        """Lines in the file's order, in one state or in all, fetched page by page as they are read."""
        query = {"limit": str(page)} | ({"state": state} if state is not None else {})
        while True:
            content = (await self._connection.send("GET", f"{_PATH}/{bulk_id}/lines", query=query)).content
            for each in content["lines"]:
                line: BulkLine = read(BulkLine, each)
                yield line
            if content["next_after"] is None:
                return
            query["after"] = str(content["next_after"])


def _bulk(content: Any) -> BulkPayment:
    found: BulkPayment = read(BulkPayment, content)
    return found
