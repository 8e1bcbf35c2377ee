"""Recalls: ask a payment back, see who asks, give it back or say no, take the question back.

An order has the id; keep it before it is sent. However often it is sent, a payment is
asked back once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.ids import new_id
from nugpay_client.models import read
from nugpay_client.settling import settle


@dataclass(frozen=True, slots=True)
class RecallOrder:
    """A payment to ask back, with the id that makes it one however often it is sent."""

    id: UUID
    payment_id: UUID


@dataclass(frozen=True, slots=True)
class Recall:
    """A recall as it stands now; money is held while it is ``open`` or ``disputed``."""

    id: UUID
    payment_id: UUID
    state: str
    """``open``, ``disputed``; or for good ``agreed``, ``returned``, ``kept``, ``withdrawn``, ``expired``."""
    payer: str
    """Who has paid, and asks."""
    payee: str
    asset: str
    amount: Decimal
    """What was held: as much of the payment as was neither given back nor spent."""
    created_at: datetime
    answer_until: datetime
    """From then on officers may decide, whether or not the payee answers."""
    expires_at: datetime
    """From then on nothing is held."""
    declined_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class DisputedRecall:
    """A recall that officers decide on."""

    recall: Recall
    votes: dict[str, str]
    """By officer's name: ``return`` or ``keep``."""


class Recalls:
    """A wallet's recalls; found as ``Wallet.recalls``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def order(self, payment_id: UUID) -> RecallOrder:
        """An order with a new id: keep it, then ``ask`` as often as needed."""
        return RecallOrder(new_id(self._connection.clock), payment_id)

    async def ask(self, order: RecallOrder) -> Recall:
        """Ask a payment back, once however often this is called; raises as ``Wallet.pay`` does."""
        path = f"/v1/payments/{order.payment_id}/recall"
        body = {"id": str(order.id)}
        return recall_of(await settle(self._connection, path, f"/v1/recalls/{order.id}", order.id, body))

    async def get(self, recall_id: UUID) -> Recall:
        """A recall of this wallet; ``NotFound`` when there is none or it is somebody else's."""
        return recall_of((await self._connection.send("GET", f"/v1/recalls/{recall_id}")).content)

    async def list(self, role: str, *, state: str | None = None, page: int = 20) -> AsyncIterator[Recall]:
        """Recalls as ``payer`` or ``payee``, newest first, fetched page by page as they are read."""
        query = {"role": role, "limit": str(page)} | ({"state": state} if state is not None else {})
        while True:
            content = (await self._connection.send("GET", "/v1/recalls", query=query)).content
            for each in content["recalls"]:
                yield recall_of(each)
            if content["next_before"] is None:
                return
            query["before"] = content["next_before"]

    async def agree(self, recall_id: UUID) -> Recall:
        """Give back what is held; safe to repeat. ``RequestRefused`` when it has ended otherwise."""
        return await self._decide(recall_id, "agree")

    async def decline(self, recall_id: UUID) -> Recall:
        """Say no, so that officers decide; safe to repeat. Raises as ``agree`` does."""
        return await self._decide(recall_id, "decline")

    async def withdraw(self, recall_id: UUID) -> Recall:
        """Take a recall of this wallet back; safe to repeat. Raises as ``agree`` does."""
        return await self._decide(recall_id, "withdraw")

    async def _decide(self, recall_id: UUID, what: str) -> Recall:
        return recall_of((await self._connection.send("POST", f"/v1/recalls/{recall_id}/{what}")).content)


def recall_of(content: Any) -> Recall:
    """A recall as an answer has it."""
    found: Recall = read(Recall, content)
    return found


def disputed_of(content: Any) -> DisputedRecall:
    """A recall and the votes on it, as an answer has them."""
    return DisputedRecall(
        recall_of(content["recall"]), {each["by"]: each["says"] for each in content["votes"]}
    )
