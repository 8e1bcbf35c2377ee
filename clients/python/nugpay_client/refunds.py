"""Refunds: give a payment back, all or in part, and see what was given back.

An order has the id; keep it before it is sent. However often it is sent, money goes back once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.ids import new_id
from nugpay_client.models import Amount, amount_text, read
from nugpay_client.settling import settle


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """A refund to give, with the id that makes it one however often it is sent."""

    id: UUID
    payment_id: UUID
    amount: str


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund that has happened; it never changes."""

    id: UUID
    payment_id: UUID
    by: str
    """Who was paid, and gave back."""
    to: str
    asset: str
    amount: Decimal
    created_at: datetime


class Refunds:
    """A wallet's refunds; found as ``Wallet.refunds``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def order(self, payment_id: UUID, amount: Amount) -> RefundOrder:
        """An order with a new id: keep it, then ``give`` as often as needed."""
        return RefundOrder(new_id(self._connection.clock), payment_id, amount_text(amount))

    async def give(self, order: RefundOrder) -> Refund:
        """Give back once, however often this is called; raises as ``Wallet.pay`` does."""
        path = f"/v1/payments/{order.payment_id}/refunds"
        body = {"id": str(order.id), "amount": order.amount}
        content = await settle(self._connection, path, f"/v1/refunds/{order.id}", order.id, body)
        return _refund(content)

    async def get(self, refund_id: UUID) -> Refund:
        """A refund that this wallet gave or got; ``NotFound`` when it did not happen or is others'."""
        return _refund((await self._connection.send("GET", f"/v1/refunds/{refund_id}")).content)

    async def of(self, payment_id: UUID) -> list[Refund]:
        """What was given back of a payment of this wallet, the newest first, a hundred at most."""
        content = (await self._connection.send("GET", f"/v1/payments/{payment_id}/refunds")).content
        return [_refund(each) for each in content["refunds"]]


def _refund(content: object) -> Refund:
    found: Refund = read(Refund, content)
    return found
