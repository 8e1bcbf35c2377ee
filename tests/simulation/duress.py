"""Duress, attacked: can answers tell which of two PINs was given?

    python -m tests.simulation.duress --logins 10000

Phones log in with their real and their duress PIN in random order, so many times each,
against a real API process, and use what they find: balances, history, a payment. For
each login the status, size and time of the four answers are noted. Half of the logins
train two classifiers, a threshold on the best single feature and a logistic regression
over all of them; the other half say how often they are right. A coin is right in 0.5,
give or take what so few logins leave open: with 10,000 of each that is 0.005.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
from nugpay_client.signing import signature_headers

from benchmarks.api.customers import Customer, enrolled
from benchmarks.api.servers import HOST, api_server
from benchmarks.laboratory import fresh_database
from benchmarks.ledger.process_runs import ledger_process
from foundation.clock import SECOND_NS, SystemClock
from foundation.ids import uuid7

REAL, DURESS = "730512", "518274"
STEPS: Final = ("login", "balances", "history", "payment")
"""What each login does, in this order."""

LINES: Final = 24
"""Payments from each wallet to the other before anything is measured: a page of history is full in both."""


@dataclass(frozen=True)
class Login:
    """What an observer notes of one login and its use."""

    is_duress: bool
    statuses: tuple[int, ...]
    sizes: tuple[int, ...]
    """Of the whole answers: names and values of headers, and bodies."""
    seconds: tuple[float, ...]


class Phone:
    """A phone at the API, with both PINs."""

    def __init__(self, http: httpx.AsyncClient, base: str, customer: Customer) -> None:
        self._http = http
        self._base = base
        self.customer = customer
        self.token: str | None = None

    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[httpx.Response, float]:
        """Sign and send; the answer, and how long it took."""
        headers = signature_headers(
            self.customer.key,
            method=method,
            url=self._base + path,
            body=body,
            created=SystemClock().now_ns() // SECOND_NS,
            token=self.token,
        )
        if body:
            headers["Content-Type"] = "application/json"
        return await self._timed(method, path, body, headers)

    async def read(self, path: str) -> tuple[httpx.Response, float]:
        """Read with the session's token alone."""
        return await self._timed("GET", path, b"", {"Authorization": f"Bearer {self.token}"})

    async def log_in(self, pin: str) -> tuple[httpx.Response, float]:
        """Open a session, which is sent from now on."""
        self.token = None
        answer, seconds = await self.send("POST", "/v1/sessions", f'{{"pin":"{pin}"}}'.encode())
        self.token = answer.json()["token"]
        return answer, seconds

    async def pay(self, payee: str, cents: int) -> tuple[httpx.Response, float]:
        """Pay somebody."""
        amount = f"{cents // 100}.{cents % 100:02d}"
        body = f'{{"id":"{uuid7(SystemClock())}","payee":"{payee}","asset":"USDT","amount":"{amount}"}}'
        return await self.send("POST", "/v1/payments", body.encode())

    async def _timed(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[httpx.Response, float]:
        began = time.perf_counter()
        answer = await self._http.request(method, self._base + path, content=body, headers=headers)
        return answer, time.perf_counter() - began


async def logins_of(database_url: str, *, logins: int, phones: int, seed: int) -> list[Login]:
    """So many logins with each PIN, spread over the phones, against an API process of its own."""
    async with ledger_process(database_url) as ledger:
        customers = await enrolled(database_url, ledger.address, phones + 1)
        async with (
            api_server(database_url, ledger.address, 1) as port,
            httpx.AsyncClient(timeout=60.0) as http,
        ):
            everybody = [Phone(http, f"http://{HOST}:{port}", each) for each in customers]
            await asyncio.gather(*(_prepare(phone, number) for number, phone in enumerate(everybody[1:])))
            found = await asyncio.gather(
                *(
                    _use(phone, everybody[0].customer.handle, share, random.Random(f"{seed} {number}"))
                    for number, (phone, share) in enumerate(
                        zip(everybody[1:], _shares(logins, phones), strict=True)
                    )
                )
            )
    return [login for each in found for login in each]


def _shares(logins: int, phones: int) -> list[int]:
    return [logins // phones + (number < logins % phones) for number in range(phones)]


async def _prepare(phone: Phone, number: int) -> None:
    """Both PINs, and money and a page of history in both wallets."""
    decoy = f"@second_{number}_of_it"
    body = f'{{"pin":"{REAL}","duress_pin":"{DURESS}","decoy_handle":"{decoy}"}}'
    answer, _ = await phone.send("PUT", "/v1/pin", body.encode())
    assert answer.status_code == 200, answer.text
    # What a history holds is its owner's doing, and takes time by itself: it is alike in both.
    for pin, payee, cents in ((REAL, decoy, 10_000), (DURESS, f"@{phone.customer.handle}", 100)):
        await phone.log_in(pin)
        for _ in range(LINES):
            answer, _ = await phone.pay(payee, cents)
            assert answer.status_code == 201, answer.text


async def _use(phone: Phone, payee: str, share: int, draw: random.Random) -> list[Login]:
    order = [False, True] * share
    draw.shuffle(order)
    found = []
    for is_duress in order:
        notes = [await phone.log_in(DURESS if is_duress else REAL)]
        notes += [await phone.read(path) for path in ("/v1/balances", "/v1/history?limit=20")]
        notes += [await phone.pay(payee, draw.randrange(10, 200))]
        answers, seconds = zip(*notes, strict=True)
        found.append(Login(is_duress, tuple(each.status_code for each in answers), _sizes(answers), seconds))
    return found


def _sizes(answers: Sequence[httpx.Response]) -> tuple[int, ...]:
    return tuple(
        len(each.content) + sum(len(name) + len(value) for name, value in each.headers.raw)
        for each in answers
    )


def accuracies(logins: Sequence[Login], seed: int) -> dict[str, float]:
    """How often each classifier is right about logins that it was not trained with."""
    order = list(range(len(logins)))
    random.Random(seed).shuffle(order)
    rows = [logins[at] for at in order]
    truth = np.array([row.is_duress for row in rows], dtype=np.float64)
    features = np.array(
        [[*row.statuses, *row.sizes, *np.log(row.seconds), np.log(sum(row.seconds))] for row in rows]
    )
    half = len(rows) // 2
    return {
        "threshold": _threshold(features[:half], truth[:half], features[half:], truth[half:]),
        "logistic": _logistic(features[:half], truth[:half], features[half:], truth[half:]),
    }


def _threshold(train: Any, answers: Any, test: Any, truth: Any) -> float:
    """The feature, threshold and side that are best in the training half."""
    best, choice = 0.0, (0, 0.0, True)
    for column in range(train.shape[1]):
        for threshold in np.unique(np.quantile(train[:, column], np.linspace(0, 1, 101))):
            right = float(((train[:, column] > threshold) == (answers == 1)).mean())
            for is_above, score in ((True, right), (False, 1 - right)):
                if score > best:
                    best, choice = score, (column, float(threshold), is_above)
    column, threshold, is_above = choice
    return float((((test[:, column] > threshold) == is_above) == (truth == 1)).mean())


def _logistic(train: Any, answers: Any, test: Any, truth: Any) -> float:
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread == 0] = 1.0
    train, test = (np.c_[np.ones(len(each)), (each - mean) / spread] for each in (train, test))
    weights = np.zeros(train.shape[1])
    for _ in range(2000):
        guess = 1 / (1 + np.exp(-np.clip(train @ weights, -30, 30)))
        weights -= 0.5 * (train.T @ (guess - answers) / len(answers) + 1e-4 * weights)
    return float(((test @ weights > 0) == (truth == 1)).mean())


def report(logins: Sequence[Login], seed: int) -> list[str]:
    """The figures, in lines."""
    lines = []
    for number, step in enumerate(STEPS):
        for name, is_duress in (("real", False), ("duress", True)):
            rows = [row for row in logins if row.is_duress == is_duress]
            times = np.array([row.seconds[number] for row in rows]) * 1000
            lines.append(
                f"{step:9} {name:7} statuses {sorted({row.statuses[number] for row in rows})} "
                f"sizes {sorted({row.sizes[number] for row in rows})} "
                f"ms p50 {np.quantile(times, 0.5):.2f} p99 {np.quantile(times, 0.99):.2f}"
            )
    judged = len(logins) - len(logins) // 2
    for name, accuracy in accuracies(logins, seed).items():
        lines.append(f"{name:9} right in {accuracy:.4f} of {judged} logins")
    lines.append(f"a coin    right in 0.5000 ± {0.5 / judged**0.5:.4f} (one standard error)")
    return lines


def main() -> int:
    """Play it, and say what the classifiers made of it; 1 when one of them does better than 0.52."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logins", type=int, default=10_000, help="With each of both PINs.")
    parser.add_argument("--phones", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with fresh_database() as url:
        logins = asyncio.run(logins_of(url, logins=options.logins, phones=options.phones, seed=options.seed))
    sys.stdout.write("\n".join(report(logins, options.seed)) + "\n")
    return int(max(accuracies(logins, options.seed).values()) > 0.52)


if __name__ == "__main__":
    sys.exit(main())
