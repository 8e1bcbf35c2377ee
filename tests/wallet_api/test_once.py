"""One id is one thing, for ever: a thousand times at once, afterwards, and with another content.

Each operation whose body has an id that the client makes stands here; a new one fails the
test until it does.
"""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_matrix import DESCRIPTION
from tests.wallet_api.test_withdrawals import deployment, order

__all__ = ["deployment"]

TIMES = 1_000

CSV = b"handle,amount,reference\r\n@ko_ko,1.00,one\r\n"

CREATIONS = {
    "/v1/payments": "5",
    "/v1/payment_requests": "5",
    "/v1/payments/{payment_id}/refunds": "0.5",
    "/v1/withdrawals": "20",
    "/v1/bulk_payments": "",
}
"""Paths, and an amount that the owner can do."""

WITH_A_LIFE = {"/v1/withdrawals", "/v1/payment_requests"}
"""What goes on by itself: asked for again, its answer says how far it is by then."""


def test_every_operation_that_takes_an_id_of_the_clients_stands_here() -> None:
    found = set()
    for path, operations in DESCRIPTION["paths"].items():
        operation = operations.get("post", {})
        content = operation.get("requestBody", {}).get("content", {})
        example = content.get("application/json", {}).get("example", {})
        in_query = any(
            one["name"] == "id" and one["in"] == "query" for one in operation.get("parameters", ())
        )
        if "id" in example or in_query:
            found.add(path)
    assert found == CREATIONS.keys()


class Creation:
    """One thing that is to be made, as often as it is asked for."""

    def __init__(self, path: str, body: dict[str, Any] | None, raw: bytes | None = None) -> None:
        self.path = path
        self.body = body
        self.raw = raw

    async def ask(self, phone: Phone) -> Any:
        """Ask until there is an answer: so many at once may wait too long for the database."""
        headers = {"Content-Type": "text/csv"} if self.raw is not None else {}
        while True:
            answer = await phone.post(self.path, self.body, raw=self.raw, headers=headers)
            if answer.status_code != 503:
                return answer


async def creations(api: API, aye: Phone, ko: Phone, path: str) -> tuple[Creation, Creation]:
    """What is asked for, and the same id with another content."""
    made, amount = str(uuid7(api.clock)), CREATIONS[path]
    if path == "/v1/bulk_payments":
        async with api.database.session() as session:
            await session.execute(text("UPDATE wallets_wallet SET tier = 'business'"))
        target = f"{path}?id={made}&asset=USDT"
        return Creation(target, None, CSV), Creation(target, None, CSV.replace(b"1.00", b"2.00"))
    if path == "/v1/withdrawals":
        return Creation(path, order(api, amount, id=made)), Creation(path, order(api, "21", id=made))
    target, body = path, {"id": made, "amount": amount, "asset": "USDT"}
    if "refunds" in path:
        payment = (await ko.pay(aye, "1")).json()
        target = path.replace("{payment_id}", payment["id"])
        body = {"id": made, "amount": amount}
    else:
        body["payee" if path == "/v1/payments" else "payer"] = ko.handle
    return Creation(target, body), Creation(target, {**body, "amount": "0.25"})


@pytest.mark.parametrize("path", CREATIONS)
async def test_a_thousand_times_at_once_is_once(api: API, path: str) -> None:
    aye, ko = await api.phone("aye_aye", "100"), await api.phone("ko_ko", "10")
    creation, other = await creations(api, aye, ko, path)
    before = api.rows()
    answers = await asyncio.gather(*(creation.ask(aye) for _ in range(TIMES)))
    assert {answer.status_code for answer in answers} == {201}, Counter(a.text for a in answers).most_common(
        2
    )
    assert {answer.content for answer in answers} == {answers[0].content}
    told = Counter(answer.headers.get("idempotency-replayed") for answer in answers)
    assert told == ({None: TIMES} if path == "/v1/withdrawals" else {None: 1, "true": TIMES - 1})
    once = api.rows()
    grown = {name: once[name] - before.get(name, 0) for name in once if name != "identity_nonce"}
    # A payment and its fee; a row and what it holds: a handful, not a thousand.
    assert sum(grown.values()) < 30, grown
    # Afterwards, with another content, and after a long time.
    different = await other.ask(aye)
    assert (different.status_code, different.json()["money_moved"]) == (422, "false")
    assert json.loads(different.content)["field"]
    api.clock.advance(40 * 86_400)
    again = await creation.ask(aye)
    assert again.status_code == 201
    assert path in WITH_A_LIFE or again.content == answers[0].content
