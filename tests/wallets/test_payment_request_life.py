"""Requests as a plain model would have them: whatever is done in whatever order, state by state.

A process may die between the two halves of an acceptance, and the second half may come
late, straight to the ledger. The model knows for each request its state and which payment
ids are used up; money is what the accepted ones sum to.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from foundation.assets import USDT
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.money import Money
from ledger.chart import open_system_accounts
from ledger.engine import LedgerEngine
from tests.ledger.invariants import check_journal
from tests.wallets.asking import Asking
from tests.wallets.conftest import Bank
from wallets.handle_lookups import HandleLookups
from wallets.limits import Limits
from wallets.payment_request_orders import OPEN_MAX
from wallets.payment_requests import Books, PaymentRequest, change, load_request
from wallets.wallets import WalletDirectory

FEE = 10_000
"""The least fee, which all payments here cost, in minor units."""


@dataclass
class Modelled:
    """A request as the model has it."""

    real: PaymentRequest
    ends_at: int
    state: str = "open"
    meant: UUID | None = None
    """The payment that a dead acceptance left behind."""
    paid_with: UUID | None = None
    used_up: set[UUID] = field(default_factory=set)

    @property
    def minor(self) -> int:
        return self.real.amount.minor


class Requests(RuleBasedStateMachine):
    """Real requests beside modelled ones."""

    url: str
    runner: asyncio.Runner
    lives = 0

    requests = Bundle("requests")
    halves = Bundle("halves")

    def __init__(self) -> None:
        super().__init__()
        # Each life has people of its own in the same bank.
        type(self).lives += 1
        self.clock = SettableClock(1_800_000_000_000_000_000 + type(self).lives * 10**15)
        self.asking = self.run(self.begin())
        self.made: list[Modelled] = []
        self.funds = 0
        self.paid_out = 0
        self.received = 0

    def run(self, doing: Any) -> Any:
        return self.runner.run(doing)

    async def begin(self) -> Asking:
        database = Database(self.url)
        ledger = await LedgerEngine.start(self.url, self.clock)
        await open_system_accounts(ledger)
        bank = Bank(
            database,
            ledger,
            self.clock,
            WalletDirectory(database, ledger, self.clock),
            Limits(ledger, self.clock),
        )
        number = type(self).lives
        payer, payee = await bank.wallet(f"payer_{number}"), await bank.wallet(f"payee_{number}")
        books = Books(database, ledger, self.clock, bank.directory, bank.limits)
        return Asking(bank, books, HandleLookups(database, self.clock), payer, payee)

    def teardown(self) -> None:
        async def end() -> None:
            await self.asking.bank.ledger.close()
            await self.asking.bank.database.close()

        self.run(end())

    def tried(self, doing: Any) -> str:
        """Do it: "done", or the code of the refusal."""

        async def trying() -> str:
            try:
                await doing
            except Refusal as refusal:
                return str(refusal.code)
            return "done"

        return str(self.run(trying()))

    # What may happen -------------------------------------------------------------

    @rule(amount=st.integers(1, 300_000))
    def fund(self, amount: int) -> None:
        asking = self.asking
        self.run(asking.bank.fund(asking.payer, Money(amount, USDT).format(), USDT))
        self.funds += amount

    @rule(target=requests, amount=st.integers(1, 200_000), seconds=st.sampled_from([60, 600, 3_600]))
    def ask(self, amount: int, seconds: int) -> Any:
        self.clock.advance(1)
        order = self.asking.order(amount=Money(amount, USDT), seconds=seconds)
        now_open = sum(each.state == "open" for each in self.made)
        if now_open >= OPEN_MAX:
            assert self.tried(self.asking.ask(order)) == "too_many_open_requests"
            return None
        real = self.run(self.asking.ask(order)).request
        made = Modelled(real, self.clock.now_ns() // 1_000 * 1_000 + seconds * 10**9)
        self.made.append(made)
        return made

    @rule(request=requests, reused=st.booleans())
    def accept(self, request: Modelled | None, reused: bool) -> None:
        if request is None:
            return
        payment_id = self.asking.new_id()
        if reused:
            payment_id = request.paid_with or request.meant or payment_id
        told = self.tried(self.asking.accept(request.real, payment_id))
        assert told == self.expected(request, payment_id)

    def expected(self, request: Modelled, payment_id: UUID) -> str:
        if request.state != "open":
            return "done" if payment_id == request.paid_with else "payment_request_not_open"
        if request.meant is not None and request.meant != payment_id:
            request.used_up.add(request.meant)
        request.meant = payment_id
        if payment_id in request.used_up:
            return "payment_already_refused"
        return self.settle(request, payment_id)

    def settle(self, request: Modelled, payment_id: UUID) -> str:
        cost = request.minor + FEE
        if cost > self.funds - self.paid_out:
            request.used_up.add(payment_id)
            return "insufficient_funds"
        self.paid_out += cost
        self.received += request.minor
        request.state, request.paid_with = "accepted", payment_id
        return "done"

    @rule(target=halves, request=requests)
    def die_half_way(self, request: Modelled | None) -> Any:
        """The row names a payment, and nothing is submitted."""
        if request is None or request.state != "open" or request.meant is not None:
            return None
        payment_id = self.asking.new_id()

        async def intend() -> None:
            row = await load_request(self.asking.bank.database, request.real.id)
            assert row is not None
            assert await change(self.asking.bank.database, row, payment_id=payment_id) is not None

        self.run(intend())
        request.meant = payment_id
        return request, payment_id

    @rule(half=consumes(halves))
    def come_late(self, half: Any) -> None:
        """The second half comes after all, whatever happened to the request meanwhile."""
        if half is None:
            return
        request, payment_id = half
        bank = self.asking.bank
        told = self.tried(bank.pay(self.asking.payment(request.real, payment_id)))
        if request.paid_with == payment_id:
            assert told == "done"
        elif payment_id in request.used_up:
            assert told == "payment_already_refused"
        else:
            # The request is open and means this payment still.
            assert (request.state, request.meant) == ("open", payment_id)
            assert told == self.settle(request, payment_id)

    @rule(request=requests, how=st.sampled_from(["decline", "cancel"]))
    def close(self, request: Modelled | None, how: str) -> None:
        if request is None:
            return
        state = {"decline": "declined", "cancel": "cancelled"}[how]
        told = self.tried(getattr(self.asking, how)(request.real))
        if request.state == "open":
            self.end(request, state)
        assert told == ("done" if request.state == state else "payment_request_not_open")

    def end(self, request: Modelled, state: str) -> None:
        request.state = state
        if request.meant is not None:
            request.used_up.add(request.meant)

    @rule(seconds=st.sampled_from([1, 30, 300, 4_000]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)
        for request in self.made:
            if request.state == "open" and request.ends_at <= self.clock.now_ns():
                # Looked at by the invariant below, which is what makes it final.
                self.end(request, "expired")

    # What always holds -------------------------------------------------------------

    @invariant()
    def both_sides_see_what_the_model_says(self) -> None:
        for request in self.made:
            assert self.run(self.asking.state(request.real)) == request.state

    @invariant()
    def money_moved_once_for_each_accepted_request(self) -> None:
        assert self.run(self.asking.received()) == Money(self.received, USDT).format()
        available = self.run(self.asking.bank.available(self.asking.payer, USDT))
        assert available == Money(self.funds - self.paid_out, USDT).format()


@pytest.mark.slow
def test_requests_live_as_the_model_says(database_url: str) -> None:
    with asyncio.Runner() as runner:
        machine = type("Life", (Requests,), {"url": database_url, "runner": runner})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=25,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    check_journal(database_url)
