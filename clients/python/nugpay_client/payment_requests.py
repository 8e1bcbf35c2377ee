"""Requests to pay: ask, list, accept, decline, take back.

An order or an acceptance has the ids; keep it before it is sent. However often it is
sent, somebody is asked once and a request is paid once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.ids import new_id
from nugpay_client.models import Acceptance, Amount, Payment, PaymentRequest, RequestOrder, amount_text, read
from nugpay_client.settling import settle

_PATH = "/v1/payment_requests"


class Requests:
    """A wallet's requests to pay; found as ``Wallet.requests``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def order(
        self,
        payer: str,
        amount: Amount,
        asset: str,
        *,
        expires_in_seconds: int = 7 * 86_400,
        reference: UUID | None = None,
    ) -> RequestOrder:
        """An order with a new id: keep it, then ``ask`` as often as needed."""
        return RequestOrder(
            id=new_id(self._connection.clock),
            payer=payer,
            amount=amount_text(amount),
            asset=asset,
            expires_in_seconds=expires_in_seconds,
            reference=reference,
        )

    async def ask(self, order: RequestOrder) -> PaymentRequest:
        """Ask somebody to pay, once however often this is called; the request as it stands."""
        return _request((await self._connection.send("POST", _PATH, order.to_json())).content)

    async def get(self, request_id: UUID) -> PaymentRequest:
        """A request of this wallet; ``NotFound`` when there is none or it is somebody else's."""
        return _request((await self._connection.send("GET", f"{_PATH}/{request_id}")).content)

    async def list(
        self, role: str, *, state: str | None = None, page: int = 20
    ) -> AsyncIterator[PaymentRequest]:
        """Requests as ``payer`` or ``payee``, newest first, fetched page by page as they are read."""
        query = {"role": role, "limit": str(page)} | ({"state": state} if state is not None else {})
        while True:
            content = (await self._connection.send("GET", _PATH, query=query)).content
            for each in content["requests"]:
                yield _request(each)
            if content["next_before"] is None:
                return
            query["before"] = content["next_before"]

    def acceptance(self, request: PaymentRequest, *, fee_max: Amount | None = None) -> Acceptance:
        """An acceptance with the id of its payment: keep it, then ``accept`` as often as needed."""
        return Acceptance(
            request.id,
            new_id(self._connection.clock),
            amount_text(fee_max) if fee_max is not None else None,
        )

    async def accept(self, acceptance: Acceptance) -> Payment:
        """Pay a request once, however often this is called.

        ``RequestNotOpen`` when it was decided before, else raises as ``Wallet.pay`` does.
        After a refusal that ``needs_new_id`` make another acceptance.
        """
        path = f"{_PATH}/{acceptance.request_id}/accept"
        body = {"payment_id": str(acceptance.payment_id)}
        if acceptance.fee_max is not None:
            body["fee_max"] = acceptance.fee_max
        own_path = f"/v1/payments/{acceptance.payment_id}"
        paid: Payment = read(
            Payment, await settle(self._connection, path, own_path, acceptance.payment_id, body)
        )
        return paid

    async def decline(self, request_id: UUID) -> PaymentRequest:
        """Say no, for good; safe to repeat. ``RequestNotOpen`` when it was decided before."""
        return _request((await self._connection.send("POST", f"{_PATH}/{request_id}/decline")).content)

    async def cancel(self, request_id: UUID) -> PaymentRequest:
        """Take a request back, for good; safe to repeat. ``RequestNotOpen`` when it was decided before."""
        return _request((await self._connection.send("POST", f"{_PATH}/{request_id}/cancel")).content)


def _request(content: Any) -> PaymentRequest:
    found: PaymentRequest = read(PaymentRequest, content)
    return found
