"""One id is one thing, for ever: a thousand times at once, afterwards, and with another content.

Each operation whose body has an id that the client makes stands here; a new one fails the
test until it does.
"""

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_matrix import DESCRIPTION
from tests.wallet_api.test_standing_orders import standing_order
from tests.wallet_api.test_withdrawals import deployment, order

__all__ = ["deployment"]

TIMES = 1_000

CSV = b"handle,amount,reference\r\n@ko_ko,1.00,one\r\n"

CREATIONS = {
    "/v1/payments": "5",
    "/v1/payment_requests": "5",
    "/v1/payments/{payment_id}/refunds": "0.5",
    "/v1/payments/{payment_id}/recall": "",
    "/v1/withdrawals": "20",
    "/v1/bulk_payments": "",
    "/v1/standing_orders": "5",
    "/v1/splits": "5",
    "/v1/merchant/tills": "",
    "/v1/merchant/tills/{till_id}/invoices": "5",
    "/v1/merchant/tills/{till_id}/payments/{payment_id}/refunds": "0.5",
}
"""Paths, and an amount that the owner can do."""

WITH_A_LIFE = {
    "/v1/withdrawals",
    "/v1/payment_requests",
    "/v1/payments/{payment_id}/recall",
    "/v1/standing_orders",
    "/v1/splits",
    "/v1/merchant/tills/{till_id}/invoices",
}
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


async def creations(api: API, aye: Phone, ko: Phone, path: str) -> tuple[Creation, Creation | None]:
    """What is asked for, and the same id with another content, if there is any."""
    made, amount = str(uuid7(api.clock)), CREATIONS[path]
    if path == "/v1/bulk_payments":
        async with api.database.session() as session:
            await session.execute(text("UPDATE wallets_wallet SET tier = 'business'"))
        target = f"{path}?id={made}&asset=USDT"
        return Creation(target, None, CSV), Creation(target, None, CSV.replace(b"1.00", b"2.00"))
    target, bodies = path, BODIES[path](api, ko, amount)
    if "till" in path:
        assert (await aye.put("/v1/merchant", {"name": "Tea"})).status_code == 200
        till = {"id": str(uuid7(api.clock)), "name": "Two", "asset": "USDT"}
        assert (await aye.post("/v1/merchant/tills", till)).status_code == 201
        target = target.replace("{till_id}", till["id"])
    if "payment_id" in path:
        payer, payee = (aye, ko) if path.endswith("recall") else (ko, aye)
        asked = payer.payment(payee, "1", **({"reference": till["id"]} if "till" in path else {}))
        payment = (await payer.post("/v1/payments", asked)).json()
        target = target.replace("{payment_id}", payment["id"])
    first, *others = (Creation(target, {"id": made, **body}) for body in bodies)
    return first, others[0] if others else None


def _of_amount(**more: str) -> Any:
    """A body whose amount is what can be different."""
    return lambda api, ko, amount: [{"amount": each, **more} for each in (amount, "0.25")]


def _standing(api: API, ko: Phone, amount: str) -> list[dict[str, Any]]:
    made = [standing_order(api, ko, each) for each in (amount, "6")]
    return [{name: value for name, value in one.items() if name != "id"} for one in made]


def _split(api: API, ko: Phone, amount: str) -> list[dict[str, Any]]:
    return [
        {"asset": "USDT", "total": each, "shares": [{"payer": ko.handle, "amount": each}]}
        for each in (amount, "6")
    ]


# Every one is called alike; most need only some of what they are given.
# ruff: noqa: ARG005
BODIES: dict[str, Any] = {
    "/v1/payments": lambda api, ko, amount: _of_amount(asset="USDT", payee=ko.handle)(api, ko, amount),
    "/v1/payment_requests": lambda api, ko, amount: _of_amount(asset="USDT", payer=ko.handle)(
        api, ko, amount
    ),
    "/v1/payments/{payment_id}/refunds": _of_amount(),
    "/v1/payments/{payment_id}/recall": lambda api, ko, amount: [{}],
    "/v1/withdrawals": lambda api, ko, amount: [
        {name: value for name, value in order(api, each).items() if name != "id"} for each in (amount, "21")
    ],
    "/v1/standing_orders": _standing,
    "/v1/splits": _split,
    "/v1/merchant/tills": lambda api, ko, amount: [
        {"name": name, "asset": "USDT"} for name in ("One", "Another")
    ],
    "/v1/merchant/tills/{till_id}/invoices": _of_amount(),
    "/v1/merchant/tills/{till_id}/payments/{payment_id}/refunds": _of_amount(),
}
"""By path: what is asked for but its id, and what is another thing, if anything can be."""


# Half a minute alone; six times as long beside much other work.
@pytest.mark.timeout(600)
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
    if path.endswith("recall"):
        # The ledger makes a recall once; which of several then writes that down is not which made it.
        assert told["true"] >= TIMES - 1
    else:
        assert told == ({None: TIMES} if path == "/v1/withdrawals" else {None: 1, "true": TIMES - 1})
    once = api.rows()
    grown = {name: once[name] - before.get(name, 0) for name in once if name != "identity_nonce"}
    # A payment and its fee; a row and what it holds: a handful, not a thousand.
    assert sum(grown.values()) < 30, grown
    # Afterwards, with another content, and after a long time.
    if other is not None:
        different = await other.ask(aye)
        assert different.status_code in {409, 422}, different.text
        assert different.json()["money_moved"] == "false"
    api.clock.advance(40 * 86_400)
    again = await creation.ask(aye)
    assert again.status_code == 201
    assert path in WITH_A_LIFE or again.content == answers[0].content
