"""Callers of a bank under attack: phones that pay one another and settle every doubt by asking again.

Each payment is asked for until its answer is definite, by the same id, at whichever API
process answers; some are sent to two at once, some again after they were answered, some
again with another amount. What was promised is kept in a tally, to be held against the
ledger at the end.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from nugpay_client.signing import signature_headers

from benchmarks.api.customers import Customer
from foundation.clock import SECOND_NS, SystemClock
from foundation.ids import uuid7

PAUSE_SECONDS: Final = 0.05
"""Between two tries of a request that nobody answered."""

AMOUNT_CENTS_MAX: Final = 600_000
"""The largest payment: so large that some find too little money, and some too little room under a limit."""

FINAL_REFUSALS: Final = frozenset(
    {
        "insufficient_funds",
        "daily_value_limit_exceeded",
        "weekly_value_limit_exceeded",
        "payment_already_refused",
    }
)
"""What a payment of this bank may be refused with; its id is used up then."""


@dataclass(frozen=True)
class Order:
    """A payment that a phone asks for, and asks for again."""

    id: str
    payer: int
    payee: int
    cents: int

    def body(self, handle: str, *, more_cents: int = 0) -> bytes:
        """What is sent; ``more_cents`` makes it another payment under the same id."""
        cents = self.cents + more_cents
        amount = f"{cents // 100}.{cents % 100:02d}"
        asked = {"id": self.id, "payee": f"@{handle}", "asset": "USDT", "amount": amount}
        return json.dumps(asked).encode()


@dataclass
class Tally:
    """What was promised, and how often what was done to get there."""

    paid: dict[str, tuple[Order, bytes]] = field(default_factory=dict)
    """By id: the payment, and the bytes of its first answer."""
    refused: dict[str, str] = field(default_factory=dict)
    """By id: the code of a refusal that uses the id up."""
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    """What must never be, in words."""


class Callers:
    """The phones of a bank, and the API processes that they may ask."""

    def __init__(self, http: httpx.AsyncClient, bases: Sequence[str], customers: Sequence[Customer]) -> None:
        self._http = http
        self._bases = bases
        self.customers = customers
        self.tally = Tally()

    async def pay_often(self, payments: int, draw: random.Random) -> None:
        """One caller: so many payments, one after the other."""
        for _ in range(payments):
            payer, payee = draw.sample(range(len(self.customers)), 2)
            cents = int(AMOUNT_CENTS_MAX ** draw.random())
            await self._pay(Order(str(uuid7(SystemClock())), payer, payee, cents), draw)

    async def read_balances(self, draw: random.Random, done: asyncio.Event) -> None:
        """One reader: somebody's balances, again and again."""
        while not done.is_set():
            customer = draw.choice(self.customers)
            answer = await self._send(customer, "GET", "/v1/balances", b"", draw)
            if answer is not None and answer.status_code == 200:
                self.tally.counts["balances read"] += 1
                for balance in answer.json()["balances"]:
                    if balance["available"].startswith("-"):
                        self.tally.violations.append(f"{customer.handle} has {balance}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def again(self, order: Order, first: bytes, draw: random.Random) -> None:
        """The same payment again: the first answer, byte for byte."""
        answer = await self._definite(order, draw)
        self.tally.counts["repeated after the answer"] += 1
        if answer.status_code not in {200, 201} or answer.content != first:
            self._violated(f"payment {order.id} again", answer)
        if answer.headers.get("idempotency-replayed") != "true":
            self._violated(f"payment {order.id} again is no replay", answer)

    async def _pay(self, order: Order, draw: random.Random) -> None:
        at_once = draw.random() < 0.2
        asked = [self._definite(order, draw) for _ in range(2 if at_once else 1)]
        answers = await asyncio.gather(*asked)
        self.tally.counts["sent to two at once"] += at_once
        done = [answer for answer in answers if answer.status_code in {200, 201}]
        if not done:
            self._note_refusal(order, answers)
            return
        if len(done) != len(answers) or len({answer.content for answer in answers}) != 1:
            self._violated(f"payment {order.id} twice at once", *answers)
        self.tally.paid[order.id] = (order, done[0].content)
        if draw.random() < 0.2:
            await self.again(order, done[0].content, draw)
        if draw.random() < 0.1:
            await self._ask_differently(order, draw)

    def _note_refusal(self, order: Order, answers: Sequence[httpx.Response]) -> None:
        codes = [answer.json()["code"] for answer in answers]
        if not FINAL_REFUSALS.issuperset(codes):
            self._violated(f"payment {order.id}", *answers)
        # Which of several tries was told why depends on which came first.
        reason = min(codes, key=lambda code: code == "payment_already_refused")
        self.tally.refused[order.id] = reason
        self.tally.counts[f"refused: {reason}"] += 1

    async def _ask_differently(self, order: Order, draw: random.Random) -> None:
        answer = await self._definite(order, draw, more_cents=1)
        self.tally.counts["the id with another amount"] += 1
        if answer.status_code != 422 or answer.json()["code"] != "payment_id_used_differently":
            self._violated(f"payment {order.id} with another amount", answer)

    async def _definite(self, order: Order, draw: random.Random, *, more_cents: int = 0) -> httpx.Response:
        """Ask until the answer is definite."""
        payer, body = (
            self.customers[order.payer],
            order.body(self.customers[order.payee].handle, more_cents=more_cents),
        )
        while True:
            answer = await self._send(payer, "POST", "/v1/payments", body, draw)
            if answer is not None and answer.status_code < 500:
                return answer
            self.tally.counts["asked again for want of an answer"] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _send(
        self, customer: Customer, method: str, path: str, body: bytes, draw: random.Random
    ) -> httpx.Response | None:
        """One try at one API process; None when the connection or the process died."""
        url = draw.choice(self._bases) + path
        headers = signature_headers(
            customer.key, method=method, url=url, body=body, created=SystemClock().now_ns() // SECOND_NS
        )
        if body:
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._http.request(method, url, content=body, headers=headers)
        except httpx.TransportError:
            return None
        if answer.status_code >= 500:
            self._check_outage(answer)
        return answer

    def _check_outage(self, answer: httpx.Response) -> None:
        """An outage says so, and that asking again is the way to find out."""
        problem: dict[str, Any] = answer.json()
        self.tally.counts[f"outage: {problem['code']}, money moved {problem['money_moved']}"] += 1
        if answer.status_code != 503 or problem["retryable"] not in {True, "true", "unknown"}:
            self._violated("an outage", answer)

    def _violated(self, what: str, *answers: httpx.Response) -> None:
        told = "; ".join(f"{answer.status_code} {answer.text[:300]}" for answer in answers)
        self.tally.violations.append(f"{what}: {told}")
