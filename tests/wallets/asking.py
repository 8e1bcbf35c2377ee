"""A payee who asks and a payer who decides, on a real ledger: what tests of requests share."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest

from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import Money
from tests.wallets.conftest import Bank
from wallets.handle_lookups import HandleLookups
from wallets.payment_request_decisions import accept_request, cancel_request, decline_request
from wallets.payment_request_orders import RequestOrder, ask_for_payment
from wallets.payment_requests import Books, PaymentRequest, Requested, payment_request_by_id
from wallets.payments import Paid, PaymentOrder
from wallets.wallets import Wallet


@dataclass
class Asking:
    """@ko_ko asks @aye, who has 100 USDT."""

    bank: Bank
    books: Books
    lookups: HandleLookups
    payer: Wallet
    payee: Wallet

    @classmethod
    async def begin(cls, bank: Bank) -> "Asking":
        books = Books(bank.database, bank.ledger, bank.clock, bank.directory, bank.limits)
        lookups = HandleLookups(bank.database, bank.clock)
        payer, payee = await bank.wallet("aye"), await bank.wallet("ko_ko")
        await bank.fund(payer, "100", USDT)
        return cls(bank, books, lookups, payer, payee)

    def with_books(self, **changes: Any) -> "Asking":
        """The same people, with other books before them."""
        return replace(self, books=replace(self.books, **changes))

    def new_id(self) -> UUID:
        return uuid7(self.bank.clock)

    def order(self, text: str = "25", **changes: Any) -> RequestOrder:
        made = RequestOrder(self.new_id(), self.payee, self.payer.handle, Money.parse(text, USDT), 3_600)
        return replace(made, **changes)

    async def ask(self, order: RequestOrder) -> Requested:
        return await ask_for_payment(self.books, self.lookups, order)

    async def asked(self, text: str = "25", **changes: Any) -> PaymentRequest:
        return (await self.ask(self.order(text, **changes))).request

    async def accept(self, request: PaymentRequest, payment_id: UUID, **more: Any) -> Paid:
        how: dict[str, Any] = {
            "payer": self.payer,
            "request_id": request.id,
            "payment_id": payment_id,
            **more,
        }
        return await accept_request(self.books, **how)

    async def decline(self, request: PaymentRequest, **more: Any) -> Requested:
        return await decline_request(self.books, **{"payer": self.payer, "request_id": request.id, **more})

    async def cancel(self, request: PaymentRequest, **more: Any) -> Requested:
        return await cancel_request(self.books, **{"payee": self.payee, "request_id": request.id, **more})

    async def state(self, request: PaymentRequest) -> str:
        """What both sides see, which must be the same."""
        seen = [
            await payment_request_by_id(self.books, wallet=wallet, request_id=request.id)
            for wallet in (self.payer, self.payee)
        ]
        assert seen[0] == seen[1]
        return seen[0].state.value

    def payment(self, request: PaymentRequest, payment_id: UUID) -> PaymentOrder:
        """The second half of an acceptance: what is submitted to the ledger."""
        amount = request.amount.format()
        more = {"id": payment_id, "reference": request.id}
        return self.bank.order(self.payer, self.payee, amount, request.amount.asset, **more)

    async def received(self) -> str:
        return await self.bank.available(self.payee, USDT)


async def refused(asking: Awaitable[Any]) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await asking
    return refusal.value
