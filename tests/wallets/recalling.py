"""A payer who asks a payment back, a payee and officers, on a real ledger: what tests of recalls share."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from nacl.signing import SigningKey

from benchmarks.bulk.business import device
from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from identity.devices import Device
from identity.keys import KeyAlgorithm, PublicKey
from identity.officers import appoint_officer
from identity.roles import DUTIES
from tests.wallets.conftest import Bank
from wallets.payments import Payment
from wallets.recall_decisions import (
    Disputed,
    Verdict,
    agree_to_recall,
    decline_recall,
    vote_on_recall,
    withdraw_recall,
)
from wallets.recall_orders import RecallOrder, recall_payment
from wallets.recalls import Recall, RecallBooks, Recalled, recall_by_id
from wallets.refunds import Refunded, RefundOrder, refund_payment, refunds_of_payment
from wallets.wallets import Wallet

DAY = 86_400


class Death(Exception):
    """The process dies here."""


@dataclass
class Recalling:
    """@aye has paid @ko_ko 25 USDT of her 100."""

    bank: Bank
    books: RecallBooks
    payer: Wallet
    payee: Wallet
    payment: Payment

    @classmethod
    async def begin(cls, bank: Bank) -> "Recalling":
        payer, payee = await bank.wallet("aye_aye"), await bank.wallet("ko_ko")
        await bank.fund(payer, "100", USDT)
        payment = (await bank.pay(bank.order(payer, payee, "25", USDT))).payment
        return cls.over(bank, payer, payee, payment)

    @classmethod
    def over(cls, bank: Bank, payer: Wallet, payee: Wallet, payment: Payment) -> "Recalling":
        """These people, who are there already."""
        books = RecallBooks(bank.database, bank.ledger, bank.clock, bank.directory, timedelta(hours=24))
        return cls(bank, books, payer, payee, payment)

    def of(self, payment: Payment) -> "Recalling":
        """The same people, about another payment."""
        return replace(self, payment=payment)

    async def given_back(self, payment: Payment) -> int:
        """What was given back of a payment in minor units, by refunds and recall."""
        bank = self.bank
        seen = await refunds_of_payment(bank.ledger, bank.directory, wallet=self.payer, payment_id=payment.id)
        return seen.refunded.minor

    def with_books(self, **changes: Any) -> "Recalling":
        """The same people, with other books before them."""
        return replace(self, books=replace(self.books, **changes))

    def order(self, **changes: Any) -> RecallOrder:
        return replace(RecallOrder(uuid7(self.bank.clock), self.payer, self.payment.id), **changes)

    async def ask(self, order: RecallOrder) -> Recalled:
        return await recall_payment(self.books, order)

    async def asked(self, **changes: Any) -> Recall:
        return (await self.ask(self.order(**changes))).recall

    async def agree(self, recall: Recall, **more: Any) -> Recalled:
        return await agree_to_recall(self.books, **{"payee": self.payee, "recall_id": recall.id, **more})

    async def decline(self, recall: Recall, **more: Any) -> Recalled:
        return await decline_recall(self.books, **{"payee": self.payee, "recall_id": recall.id, **more})

    async def withdraw(self, recall: Recall, **more: Any) -> Recalled:
        return await withdraw_recall(self.books, **{"payer": self.payer, "recall_id": recall.id, **more})

    async def officer(self, name: str) -> Device:
        """A device of somebody who is an officer."""
        person_id = await self.bank.person()
        made = await device(self.bank.database, self.bank.clock, person_id)
        async with self.bank.database.session() as session:
            await appoint_officer(session, self.bank.clock, person_id=person_id, name=name, roles=DUTIES)
        key = PublicKey(KeyAlgorithm.ED25519, bytes(SigningKey.generate().verify_key))
        return Device(made, person_id, key)

    async def vote(self, officer: Device, recall: Recall, says: Verdict, **more: Any) -> Disputed:
        how: dict[str, Any] = {"persons": [officer.person_id], "recall_id": recall.id, "says": says, **more}
        return await vote_on_recall(self.books, device=officer, **how)

    async def refund(self, amount: str) -> Refunded:
        order = RefundOrder(uuid7(self.bank.clock), self.payee, self.payment.id, amount)
        return await refund_payment(self.bank.ledger, self.bank.directory, order)

    async def state(self, recall: Recall) -> str:
        """What both sides see, which must be the same."""
        seen = [
            await recall_by_id(self.books, wallet=wallet, recall_id=recall.id)
            for wallet in (self.payer, self.payee)
        ]
        assert seen[0] == seen[1]
        return seen[0].state.value

    async def held(self) -> tuple[str, str]:
        """What payer and payee have available."""
        return await self.bank.available(self.payer, USDT), await self.bank.available(self.payee, USDT)


async def refused(asking: Awaitable[Any]) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await asking
    return refusal.value


@dataclass
class Mortal:
    """A ledger whose caller dies at its ``left``-th writing, before or after it is done."""

    ledger: Any
    left: int
    after: bool

    def __getattr__(self, name: str) -> Any:
        doing = getattr(self.ledger, name)
        if not name.startswith("create_"):
            return doing

        async def mortal(events: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Death
            answers = await doing(events)
            if self.left == 0:
                raise Death
            return answers

        return mortal
