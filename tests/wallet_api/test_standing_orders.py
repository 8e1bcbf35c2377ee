"""Standing orders over HTTP: made, paid by the worker, seen by who pays, cancelled and confirmed."""

from datetime import timedelta
from typing import Any

import pytest

from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from wallets.standing_execution import StandingReport, StandingTools, advance_standing_orders

DAY = 86_400


def standing_order(api: API, payee: Phone, amount: str, **more: Any) -> dict[str, Any]:
    tomorrow = (api.clock.now() + timedelta(days=1)).date().isoformat()
    made = {"id": str(uuid7(api.clock)), "payee": payee.handle, "asset": "USDT", "amount": amount}
    return {**made, "first_on": tomorrow} | more


async def worked(api: API) -> StandingReport:
    c = api.connections
    return await advance_standing_orders(
        StandingTools(api.database, api.ledger, api.clock, c.wallets, c.limits)
    )


async def test_an_order_is_paid_on_its_days_and_shows_what_became_of_them(api, aye, ko):
    body = standing_order(api, ko, "60", repeats="daily", times=2, fee_max="1")
    made = await aye.post("/v1/standing_orders", body)
    assert made.status_code == 201, made.text
    order = made.json()
    assert order == {
        "id": body["id"],
        "state": "active",
        "payee": "@ko_ko",
        "asset": "USDT",
        "amount": "60.000000",
        "fee_max": "1.000000",
        "reference": None,
        "first_on": body["first_on"],
        "repeats": "daily",
        "until": None,
        "times": 2,
        "next_on": body["first_on"],
        "last_code": None,
        "created_at": order["created_at"],
    }
    again = await aye.post("/v1/standing_orders", body)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    path = f"/v1/standing_orders/{body['id']}"
    for _ in range(3):
        api.clock.advance(DAY)
        await worked(api)
    found = (await aye.get(f"{path}/payments")).json()
    missed, paid = found["payments"]
    assert found["next_before"] is None
    assert (missed["number"], missed["payment_id"], missed["code"]) == (1, None, "insufficient_funds")
    assert (paid["number"], paid["on"], paid["code"]) == (0, body["first_on"], None)
    payment = (await ko.get(f"/v1/payments/{paid['payment_id']}")).json()
    assert (payment["payer"], payment["amount"]) == ("@aye_aye", "60.000000")
    assert (await aye.get(f"{path}/payments?limit=1")).json() == {"payments": [missed], "next_before": 1}
    assert (await aye.get(f"{path}/payments?before=1")).json() == {"payments": [paid], "next_before": None}
    done = (await aye.get(path)).json()
    assert (done["state"], done["next_on"]) == ("finished", None)
    assert (await aye.get("/v1/standing_orders")).json() == {"orders": [done], "next_before": None}
    assert (await ko.get("/v1/standing_orders")).json() == {"orders": [], "next_before": None}


async def test_it_is_cancelled_for_good(api, aye, ko):
    body = standing_order(api, ko, "5")
    await aye.post("/v1/standing_orders", body)
    path = f"/v1/standing_orders/{body['id']}"
    done = await aye.post(f"{path}/cancel")
    assert (done.status_code, done.json()["state"]) == (200, "cancelled")
    again = await aye.post(f"{path}/cancel")
    assert (again.content, again.headers["idempotency-replayed"]) == (done.content, "true")
    assert (await aye.post(f"{path}/confirm")).json()["code"] == "standing_order_over"
    api.clock.advance(DAY)
    assert await worked(api) == StandingReport()
    assert await aye.available() == "100.000000"


async def test_a_revoked_device_pauses_it_until_it_is_confirmed(api, aye, ko):
    body = standing_order(api, ko, "5")
    await aye.post("/v1/standing_orders", body)
    path = f"/v1/standing_orders/{body['id']}"
    assert (await aye.set_pin("730512")).status_code == 200
    assert (await aye.log_in("730512")).status_code == 201
    code = (await aye.post("/v1/devices/codes")).json()["code"]
    other = Phone(api, type(aye.key).generate())
    enrolled = await other.post("/v1/enrolments", {"code": code, "public_key": other.key.public_jwk})
    assert enrolled.status_code == 201, enrolled.text
    api.clock.advance(60)
    gone = await aye.delete(f"/v1/devices/{enrolled.json()['device_id']}")
    assert gone.status_code < 300, gone.text
    assert (await aye.get(path)).json()["state"] == "paused"
    api.clock.advance(60)
    confirmed = await aye.post(f"{path}/confirm")
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "active")
    api.clock.advance(DAY)
    assert await worked(api) == StandingReport(paid=1)


async def test_what_cannot_be_ordered_is_refused_by_name(api, aye, ko, refusals):
    body = standing_order(api, ko, "5")
    assert (await aye.post("/v1/standing_orders", body)).status_code == 201
    path = f"/v1/standing_orders/{body['id']}"

    def other(**more: Any) -> dict[str, Any]:
        return standing_order(api, ko, "5") | more

    for phone, asked, code in [
        (aye, other(first_on="2020-01-01"), "standing_order_days_wrong"),
        (aye, other(first_on="2027-02-30"), "standing_order_days_wrong"),
        (aye, other(first_on="2027-W05-1"), "standing_order_days_wrong"),
        (aye, other(until="2099-01-01"), "standing_order_days_wrong"),
        (aye, other(times=0), "request_malformed"),
        (aye, other(repeats="yearly"), "request_malformed"),
        (aye, other(amount="0"), "amount_not_positive"),
        (aye, other(payee="@nobody_here"), "payee_unknown"),
        (aye, {**body, "amount": "6"}, "standing_order_id_used_differently"),
        (ko, {**body, "payee": "@aye_aye"}, "standing_order_id_taken"),
    ]:
        assert await refusals.code(phone.post("/v1/standing_orders", asked), nonces=1) == code
    for what in ("", "/payments"):
        assert await refusals.code(ko.get(path + what), nonces=1) == "standing_order_not_found"
    for what in ("/cancel", "/confirm"):
        assert await refusals.code(ko.post(path + what), nonces=1) == "standing_order_not_found"


@pytest.mark.parametrize("path", ["/v1/standing_orders", "/v1/standing_orders/{id}/payments"])
async def test_in_both_views_lists_have_one_size(api, aye, ko, path):
    body = standing_order(api, ko, "5")
    assert (await aye.post("/v1/standing_orders", body)).status_code == 201
    pins = {"pin": "730512", "duress_pin": "914860", "decoy_handle": "aye_small"}
    assert (await aye.put("/v1/pin", pins)).status_code == 200
    sizes = set()
    for pin in ("730512", "914860"):
        assert (await aye.log_in(pin)).status_code == 201
        if pin == "914860":
            assert (await aye.get(f"/v1/standing_orders/{body['id']}")).status_code == 404
            body = standing_order(api, ko, "5")
            assert (await aye.post("/v1/standing_orders", body)).status_code == 201
        sizes.add(len((await aye.get(path.replace("{id}", body["id"]))).content))
    assert len(sizes) == 1
