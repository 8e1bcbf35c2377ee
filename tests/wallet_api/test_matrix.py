"""Role × operation × somebody else's object, generated from the OpenAPI document.

Whoever may not see or change an object gets the answer that an object gets which is not
there: the same status, code, headers and size; and nothing changes. An operation with an
id in its path that has no place here fails the test.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from nugpay_client.keys import DeviceKey
from nugpay_client.keys import key_id as thumbprint
from sqlalchemy import text

from foundation.assets import USDT
from foundation.ids import uuid7
from foundation.postgres import sync_url
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_standing_orders import standing_order
from tests.wallet_api.test_withdrawals import deployment, order
from wallet_api.openapi import DOCUMENT

__all__ = ["deployment"]

DESCRIPTION = json.loads(DOCUMENT.read_text())
OPERATIONS = [
    (method.upper(), path, operation)
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
    # A month names nobody's object: whoever asks gets his own (test_statements.py).
    if "{" in path and "{month}" not in path
]
PIN = "730512"

NOT_OF_MONEY = {"identity_nonce", "wallets_handle_lookups", "ledger_batch", "ledger_checkpoint"}
"""Tables that any request may write."""


@dataclass
class Owner:
    """Somebody with one object of each kind."""

    phone: Phone
    ids: dict[str, str]
    """An object's id by the name of the parameter that names it."""
    bulk: dict[str, Any]


@pytest.fixture
async def owner(api: API, aye: Phone, ko: Phone) -> Owner:
    async with api.database.session() as session:
        await session.execute(text("UPDATE wallets_wallet SET tier = 'business' WHERE handle = 'aye_aye'"))
    payment = (await aye.pay(ko, "5")).json()
    back = await ko.pay(aye, "1")
    refund = await aye.post(
        f"/v1/payments/{back.json()['id']}/refunds", {"id": str(uuid7(api.clock)), "amount": "0.5"}
    )
    assert refund.status_code == 201, refund.text
    asked = await ko.post(
        "/v1/payment_requests",
        {"id": str(uuid7(api.clock)), "payer": aye.handle, "asset": "USDT", "amount": "2"},
    )
    assert asked.status_code == 201, asked.text
    withdrawal = await aye.post("/v1/withdrawals", order(api))
    assert withdrawal.status_code == 201, withdrawal.text
    bulk = await aye.post(
        f"/v1/bulk_payments?id={uuid7(api.clock)}&asset=USDT",
        raw=b"handle,amount,reference\r\n@ko_ko,1.00,one\r\n",
        headers={"Content-Type": "text/csv"},
    )
    assert bulk.status_code == 201, bulk.text
    business = await with_business(api, aye)
    recall = await aye.post(f"/v1/payments/{payment['id']}/recall", {"id": str(uuid7(api.clock))})
    assert recall.status_code == 201, recall.text
    standing = await aye.post("/v1/standing_orders", standing_order(api, ko, "2"))
    assert standing.status_code == 201, standing.text
    split = await aye.post(
        "/v1/splits",
        {
            "id": str(uuid7(api.clock)),
            "asset": "USDT",
            "total": "2",
            "shares": [{"payer": ko.handle, "amount": "2"}],
        },
    )
    assert split.status_code == 201, split.text
    assert (await aye.set_pin(PIN)).status_code == 200
    session_id = (await aye.log_in(PIN)).json()["id"]
    devices = await aye.get("/v1/devices")
    assert devices.status_code == 200, devices.text
    ids = {
        "payment_id": payment["id"],
        "request_id": asked.json()["id"],
        "refund_id": refund.json()["id"],
        "withdrawal_id": withdrawal.json()["id"],
        "recall_id": recall.json()["id"],
        "split_id": split.json()["id"],
        "order_id": standing.json()["id"],
        "bulk_id": bulk.json()["id"],
        **business,
        "device_id": devices.json()["devices"][0]["id"],
        "session_id": session_id,
        # Of a trip nobody but an officer may know whether there is one.
        "trip_id": str(uuid4()),
        # A handle is for everybody to look up, and belongs to nobody here.
        "handle": "@nobody_here",
    }
    return Owner(aye, ids, bulk.json())


async def with_business(api: API, phone: Phone) -> dict[str, str]:
    """A till with a key and an invoice, by the names of their ids."""
    assert (await phone.put("/v1/merchant", {"name": "Tea"})).status_code == 200
    till_id, invoice_id = str(uuid7(api.clock)), str(uuid7(api.clock))
    tills = "/v1/merchant/tills"
    made = await phone.post(tills, {"id": till_id, "name": "One", "asset": "USDT"})
    assert made.status_code == 201, made.text
    key = await phone.post(f"{tills}/{till_id}/keys", {"name": "Shop", "rights": ["see"]})
    assert key.status_code == 201, key.text
    invoice = await phone.post(f"{tills}/{till_id}/invoices", {"id": invoice_id, "amount": "1"})
    assert invoice.status_code == 201, invoice.text
    webhook = await phone.post("/v1/merchant/webhooks", {"url": "http://127.0.0.1:8009/told"})
    assert webhook.status_code == 201, webhook.text
    return {
        "till_id": till_id,
        "key_id": key.json()["id"],
        "invoice_id": invoice_id,
        "webhook_id": webhook.json()["id"],
        "event_id": str(uuid7(api.clock)),
    }


async def revoked(api: API) -> Phone:
    phone = await api.phone("gone_phone")
    async with api.database.session() as session:
        await session.execute(
            text("UPDATE identity_device SET revoked_at = now() WHERE key_id = :key"),
            {"key": thumbprint(phone.key.public_jwk)},
        )
    return phone


async def strangers(api: API) -> dict[str, Phone]:
    """Everybody who is not the owner, by role."""
    in_session = await api.phone("thiri", "10", USDT)
    assert (await in_session.set_pin("840613")).status_code == 200
    assert (await in_session.log_in("840613")).status_code == 201
    return {
        "never enrolled": Phone(api, DeviceKey.generate()),
        "enrolled without a wallet": await api.enrolled(),
        "a stranger": await api.phone("stranger", "10", USDT),
        "a stranger in a session": in_session,
        "a revoked device": await revoked(api),
    }


def body_of(operation: dict[str, Any], owner: Owner, api: API) -> dict[str, Any] | None:
    """What the document shows as a body, with ids of its own; a release's says what is true."""
    if "requestBody" not in operation:
        return None
    shown: dict[str, Any] = dict(operation["requestBody"]["content"]["application/json"]["example"])
    for name in ("id", "payment_id"):
        if name in shown:
            shown[name] = str(uuid7(api.clock))
    return shown | {name: owner.bulk[name] for name in ("digest", "total") if name in shown}


def seen(answer: httpx.Response) -> tuple[int, str, int, tuple[str, ...]]:
    """What tells one answer from another, but for the names of object and request."""
    code = answer.json().get("code", "")
    return answer.status_code, code, len(answer.content), tuple(sorted(answer.headers))


def contents(api: API) -> dict[str, str]:
    """A digest of every table that says anything about anybody's money or rights."""
    with psycopg.connect(sync_url(api.database.url)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            if name not in NOT_OF_MONEY
        ]
        found = {}
        for name in names:
            row = connection.execute(
                f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM \"{name}\" t"
            ).fetchone()
            assert row is not None
            found[name] = str(row[0])
        return found


def filled(path: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, f"{path} names an object that the matrix does not know"
    return path


async def test_nobody_learns_or_changes_anything_of_somebody_elses_objects(api: API, owner: Owner) -> None:
    roles = await strangers(api)
    nowhere = {name: str(uuid7(api.clock)) for name in owner.ids} | {"handle": "@nobody_else"}
    before = contents(api)
    asked = 0
    for method, path, operation in OPERATIONS:
        real, absent = filled(path, owner.ids), filled(path, nowhere)
        unsigned = [await api.http.request(method, target) for target in (real, absent)]
        assert seen(unsigned[0]) == seen(unsigned[1]), f"nobody: {method} {path}"
        assert unsigned[0].status_code == 401, f"nobody: {method} {path}"
        for role, phone in roles.items():
            answers = [
                await phone.send(method, target, body_of(operation, owner, api)) for target in (real, absent)
            ]
            assert seen(answers[0]) == seen(answers[1]), f"{role}: {method} {path}"
            assert 400 <= answers[0].status_code < 500, f"{role}: {method} {path}: {answers[0].text}"
            asked += 1
    assert contents(api) == before
    assert asked == len(roles) * len(OPERATIONS) >= 5 * 19


async def test_the_owner_has_what_nobody_else_may_see(api: API, owner: Owner) -> None:
    for method, path, _ in OPERATIONS:
        if method == "GET" and "officers" not in path and "handles" not in path:
            answer = await owner.phone.get(filled(path, owner.ids))
            assert answer.status_code == 200, f"{path}: {answer.text}"
