"""A till's desk: invoices, refunds and settlements, for a person's device or a shop's server.

A person's is found as ``Wallet.business.till(id)``; a server's is opened by a key:

    async with httpx.AsyncClient() as http:
        desk = till_desk(url, key, till_id, http=http)
        invoice = await desk.invoice(desk.invoice_order("25.00", memo="Table 4"))
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx

from nugpay_client.clock import DeviceClock
from nugpay_client.connection import Connection, RetryPolicy
from nugpay_client.ids import new_id
from nugpay_client.keys import DeviceKey
from nugpay_client.models import Amount, amount_text, read
from nugpay_client.refunds import Refund, RefundOrder
from nugpay_client.settling import settle


@dataclass(frozen=True, slots=True)
class InvoiceOrder:
    """What is due, with the id that makes it one however often it is sent."""

    id: UUID
    amount: str
    expires_in_seconds: int
    memo: str


@dataclass(frozen=True, slots=True)
class TillPayment:
    """A payment that names an invoice."""

    id: UUID
    amount: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True)
class _Plain:
    """What an invoice has but its payments."""

    id: UUID
    state: str
    asset: str
    amount: Decimal
    memo: str
    expires_at: datetime
    qr_text: str
    link: str


@dataclass(frozen=True, slots=True)
class Invoice(_Plain):
    """An invoice as it stands; any state but ``open`` is final."""

    payment: TillPayment | None
    """Once it is ``paid``: the payment that did it."""
    others: tuple[TillPayment, ...]
    """Of another amount, a second time, or too late."""


@dataclass(frozen=True, slots=True)
class DaySettlement:
    """The sums of a till's day of UTC."""

    day: str
    asset: str
    payments: Decimal
    refunds: Decimal
    net: Decimal


class TillDesk:
    """A till, for whoever may act there."""

    def __init__(self, connection: Connection, till_id: UUID) -> None:
        self._connection = connection
        self._path = f"/v1/merchant/tills/{till_id}"

    def invoice_order(
        self, amount: Amount, *, expires_in_seconds: int = 86_400, memo: str = ""
    ) -> InvoiceOrder:
        """An order with a new id: keep it, then ``invoice`` as often as needed."""
        return InvoiceOrder(new_id(self._connection.clock), amount_text(amount), expires_in_seconds, memo)

    async def invoice(self, order: InvoiceOrder) -> Invoice:
        """Make an invoice once, however often this is called; the invoice as it stands."""
        body = {
            "id": str(order.id),
            "amount": order.amount,
            "expires_in_seconds": order.expires_in_seconds,
            "memo": order.memo,
        }
        return _invoice((await self._connection.send("POST", f"{self._path}/invoices", body)).content)

    async def get(self, invoice_id: UUID) -> Invoice:
        """An invoice of the till; ``NotFound`` when there is none."""
        return _invoice((await self._connection.send("GET", f"{self._path}/invoices/{invoice_id}")).content)

    async def invoices(self, *, page: int = 20) -> AsyncIterator[Invoice]:
        """The till's invoices, newest first, fetched page by page as they are read."""
        query = {"limit": str(page)}
        while True:
            content = (await self._connection.send("GET", f"{self._path}/invoices", query=query)).content
            for each in content["invoices"]:
                yield _invoice(each)
            if content["next_before"] is None:
                return
            query["before"] = content["next_before"]

    def refund_order(self, payment_id: UUID, amount: Amount) -> RefundOrder:
        """An order with a new id: keep it, then ``refund`` as often as needed."""
        return RefundOrder(new_id(self._connection.clock), payment_id, amount_text(amount))

    async def refund(self, order: RefundOrder) -> Refund:
        """Give back what was paid at the till, once however often this is called.

        ``RequestRefused`` when it did not happen; ``OutcomeUnknown`` when no attempt could tell:
        call again with the same order.
        """
        path = f"{self._path}/payments/{order.payment_id}/refunds"
        body = {"id": str(order.id), "amount": order.amount}
        found: Refund = read(Refund, await settle(self._connection, path, None, order.id, body))
        return found

    async def settlement(self, day: date | None = None) -> DaySettlement:
        """What the till took and gave back on a day of UTC, today if none is given."""
        query = {"day": day.isoformat()} if day is not None else None
        content = (await self._connection.send("GET", f"{self._path}/settlement", query=query)).content
        found: DaySettlement = read(DaySettlement, content)
        return found


class KeyConnection(Connection):
    """A server's way: a till's key instead of a device's signature."""

    def __init__(self, base_url: str, key: str, *, http: httpx.AsyncClient, retry: RetryPolicy) -> None:
        # No request of this connection is signed; a key of a device is only what the other way has.
        super().__init__(base_url, DeviceKey.generate(), http=http, clock=DeviceClock(), retry=retry)
        self._key = key

    def headers(self, _method: str, _url: str, _content: bytes) -> dict[str, str]:
        """The key."""
        return {"Authorization": f"Bearer {self._key}"}


def till_desk(
    base_url: str, key: str, till_id: UUID, *, http: httpx.AsyncClient, retry: RetryPolicy | None = None
) -> TillDesk:
    """The desk of a till for the holder of its key."""
    return TillDesk(KeyConnection(base_url, key, http=http, retry=retry or RetryPolicy()), till_id)


def _invoice(content: dict[str, Any]) -> Invoice:
    plain: _Plain = read(_Plain, content)
    paid = content.get("payment")
    payment: TillPayment | None = read(TillPayment, paid) if paid is not None else None
    others = tuple(read(TillPayment, each) for each in content.get("other_payments", ()))
    fields = {name: getattr(plain, name) for name in _Plain.__dataclass_fields__}
    return Invoice(**fields, payment=payment, others=others)
