"""Standing orders: pay somebody on days to come, see what became of it, confirm, cancel.

A request has the id; keep it before it is sent. However often it is sent, one order is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.ids import new_id
from nugpay_client.models import Amount, amount_text, read
from nugpay_client.settling import settle

_PATH = "/v1/standing_orders"


@dataclass(frozen=True, slots=True)
class StandingRequest:
    """A standing order to make. Keep it before you send it: the same again makes one."""

    id: UUID
    payee: str
    amount: str
    asset: str
    first_on: str
    repeats: str = "once"
    until: str | None = None
    times: int | None = None
    fee_max: str | None = None
    reference: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The request as it is sent, and as it may be kept."""
        made: dict[str, Any] = {"id": str(self.id)}
        names = ("payee", "amount", "asset", "first_on", "repeats", "until", "times", "fee_max", "reference")
        return made | {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """A standing order as it stands now; days are of UTC, written as ``2027-01-31``."""

    id: UUID
    state: str
    """``active``, ``paused`` (a device was revoked: ``confirm`` it), ``cancelled`` or ``finished``."""
    payee: str
    asset: str
    amount: Decimal
    fee_max: Decimal | None
    reference: UUID | None
    first_on: str
    repeats: str
    """``once``, ``daily``, ``weekly`` or ``monthly``."""
    until: str | None
    times: int | None
    next_on: str | None
    last_code: str | None
    """Why the last attempt of today was refused."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StandingPayment:
    """What became of one day's payment: paid, or missed with a code."""

    number: int
    on: str
    payment_id: UUID | None
    code: str | None
    settled_at: datetime


class StandingOrders:
    """A wallet's standing orders; found as ``Wallet.standing_orders``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def request(
        self,
        payee: str,
        amount: Amount,
        asset: str,
        first_on: date,
        *,
        repeats: str = "once",
        until: date | None = None,
        times: int | None = None,
        fee_max: Amount | None = None,
        reference: UUID | None = None,
    ) -> StandingRequest:
        """A request with a new id: keep it, then ``make`` as often as needed."""
        return StandingRequest(
            id=new_id(self._connection.clock),
            payee=payee,
            amount=amount_text(amount),
            asset=asset,
            first_on=first_on.isoformat(),
            repeats=repeats,
            until=until.isoformat() if until is not None else None,
            times=times,
            fee_max=amount_text(fee_max) if fee_max is not None else None,
            reference=str(reference) if reference is not None else None,
        )

    async def make(self, request: StandingRequest) -> StandingOrder:
        """Make the order once, however often this is called; raises as ``Wallet.pay`` does."""
        path = f"{_PATH}/{request.id}"
        return _order(await settle(self._connection, _PATH, path, request.id, request.to_json()))

    async def get(self, order_id: UUID) -> StandingOrder:
        """An order of this wallet; ``NotFound`` when there is none or it is somebody else's."""
        return _order((await self._connection.send("GET", f"{_PATH}/{order_id}")).content)

    async def list(self, *, page: int = 20) -> AsyncIterator[StandingOrder]:
        """This wallet's orders, newest first, fetched page by page as they are read."""
        query = {"limit": str(page)}
        while True:
            content = (await self._connection.send("GET", _PATH, query=query)).content
            for each in content["orders"]:
                yield _order(each)
            if content["next_before"] is None:
                return
            query["before"] = content["next_before"]

    async def payments(self, order_id: UUID, *, page: int = 20) -> AsyncIterator[StandingPayment]:
        """What became of an order's payments, newest first, fetched page by page as they are read."""
        query = {"limit": str(page)}
        while True:
            path = f"{_PATH}/{order_id}/payments"
            content = (await self._connection.send("GET", path, query=query)).content
            for each in content["payments"]:
                found: StandingPayment = read(StandingPayment, each)
                yield found
            if content["next_before"] is None:
                return
            query["before"] = str(content["next_before"])

    async def cancel(self, order_id: UUID) -> StandingOrder:
        """Pay nothing more of it from now on; safe to repeat."""
        return _order((await self._connection.send("POST", f"{_PATH}/{order_id}/cancel")).content)

    async def confirm(self, order_id: UUID) -> StandingOrder:
        """Say that it is wanted, after a device was revoked; safe to repeat."""
        return _order((await self._connection.send("POST", f"{_PATH}/{order_id}/confirm")).content)


def _order(content: Any) -> StandingOrder:
    found: StandingOrder = read(StandingOrder, content)
    return found
