"""Splits: ask several people for their shares of one amount, and see who has paid.

An order has the id; keep it before it is sent. However often it is sent, everybody is asked once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.errors import AnswerMalformed
from nugpay_client.ids import new_id
from nugpay_client.models import Amount, PaymentRequest, amount_text, read
from nugpay_client.settling import settle


@dataclass(frozen=True, slots=True)
class SplitOrder:
    """A split to make. Keep it before you send it: the same again asks once."""

    id: UUID
    asset: str
    total: str
    shares: tuple[tuple[str, str | None], ...]
    """Handle and amount; no amounts where the total is divided equally."""
    remainder_to: str | None
    expires_in_seconds: int

    def to_json(self) -> dict[str, Any]:
        """The order as it is sent, and as it may be kept."""
        shares = [
            {"payer": payer} | ({"amount": amount} if amount is not None else {})
            for payer, amount in self.shares
        ]
        made: dict[str, Any] = {
            "id": str(self.id),
            "asset": self.asset,
            "total": self.total,
            "shares": shares,
            "expires_in_seconds": self.expires_in_seconds,
        }
        return made | ({"remainder_to": self.remainder_to} if self.remainder_to is not None else {})


@dataclass(frozen=True, slots=True)
class Split:
    """A split as it stands now."""

    id: UUID
    asset: str
    total: Decimal
    paid: Decimal
    requests: tuple[PaymentRequest, ...]
    """One for each share, in the order in which they were named."""
    created_at: datetime


class Splits:
    """A wallet's splits; found as ``Wallet.splits``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def order(
        self, total: Amount, asset: str, shares: Mapping[str, Amount], *, expires_in_seconds: int = 7 * 86_400
    ) -> SplitOrder:
        """An order with a new id, of shares that make up the total: keep it, then ``ask``."""
        named = tuple((payer, amount_text(amount)) for payer, amount in shares.items())
        return SplitOrder(
            new_id(self._connection.clock), asset, amount_text(total), named, None, expires_in_seconds
        )

    def equal_order(
        self,
        total: Amount,
        asset: str,
        payers: Sequence[str],
        *,
        remainder_to: str,
        expires_in_seconds: int = 7 * 86_400,
    ) -> SplitOrder:
        """The same in equal shares; what does not divide goes to ``remainder_to``, one of the payers."""
        named = tuple((payer, None) for payer in payers)
        return SplitOrder(
            new_id(self._connection.clock), asset, amount_text(total), named, remainder_to, expires_in_seconds
        )

    async def ask(self, order: SplitOrder) -> Split:
        """Ask everybody, once however often this is called; all are asked or nobody."""
        path = f"/v1/splits/{order.id}"
        return _split(await settle(self._connection, "/v1/splits", path, order.id, order.to_json()))

    async def get(self, split_id: UUID) -> Split:
        """A split of this wallet; ``NotFound`` when there is none or it is somebody else's."""
        return _split((await self._connection.send("GET", f"/v1/splits/{split_id}")).content)


def _split(content: Any) -> Split:
    try:
        return Split(
            id=UUID(content["id"]),
            asset=content["asset"],
            total=Decimal(content["total"]),
            paid=Decimal(content["paid"]),
            requests=tuple(read(PaymentRequest, each) for each in content["requests"]),
            created_at=datetime.fromisoformat(content["created_at"]),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise AnswerMalformed(f"not a Split: {error!r}") from error
