"""Splits over HTTP: several are asked, each pays by a request, and one read tells who has."""

from typing import Any

from foundation.ids import uuid7
from tests.wallet_api.conftest import API


def split(api: API, total: str, shares: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"id": str(uuid7(api.clock)), "asset": "USDT", "total": total, "shares": shares, **more}


async def test_an_amount_is_divided_and_one_read_tells_who_has_paid(api, aye, ko):
    su = await api.phone("su_su", "50")
    win = await api.phone("win_win", "50")
    body = split(
        api,
        "10",
        [{"payer": phone.handle} for phone in (aye, su, win)],
        remainder_to="@SU_SU",
        expires_in_seconds=3_600,
    )
    made = await ko.post("/v1/splits", body)
    assert made.status_code == 201, made.text
    found = made.json()
    assert [(each["payer"], each["amount"]) for each in found["requests"]] == [
        ("@aye_aye", "3.333333"),
        ("@su_su", "3.333334"),
        ("@win_win", "3.333333"),
    ]
    again = await ko.post("/v1/splits", body)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    (asked,) = (await su.get("/v1/payment_requests?role=payer")).json()["requests"]
    assert (asked, asked["reference"]) == (found["requests"][1], body["id"])
    accepted = await su.post(
        f"/v1/payment_requests/{asked['id']}/accept", {"payment_id": str(uuid7(api.clock))}
    )
    assert accepted.status_code == 201, accepted.text
    await aye.post(f"/v1/payment_requests/{found['requests'][0]['id']}/decline")
    now = (await ko.get(f"/v1/splits/{body['id']}")).json()
    assert (now["total"], now["paid"]) == ("10.000000", "3.333334")
    assert [each["state"] for each in now["requests"]] == ["declined", "accepted", "open"]
    assert await ko.available() == "4.333334"
    for phone in (aye, su):
        answer = await phone.get(f"/v1/splits/{body['id']}")
        assert (answer.status_code, answer.json()["code"]) == (404, "split_not_found")


async def test_what_cannot_be_split_is_refused_by_name(api, aye, ko, refusals):
    su = await api.phone("su_su")
    shares = [{"payer": "@aye_aye", "amount": "6"}, {"payer": "@su_su", "amount": "4"}]
    body = split(api, "10", shares)
    assert (await ko.post("/v1/splits", body)).status_code == 201
    for phone, asked, code in [
        (ko, split(api, "11", shares), "split_shares_wrong"),
        (ko, split(api, "10", shares, remainder_to="@aye_aye"), "split_shares_wrong"),
        (ko, split(api, "6", [shares[0], {"payer": "@su_su"}]), "split_shares_wrong"),
        (ko, split(api, "10", [{"payer": "@aye_aye"}]), "split_shares_wrong"),
        (ko, split(api, "10", [{"payer": "@aye_aye"}], remainder_to="@su_su"), "split_shares_wrong"),
        (ko, split(api, "10", []), "request_malformed"),
        (ko, split(api, "10", [shares[0], {"payer": "@nobody_here", "amount": "4"}]), "payer_unknown"),
        (ko, split(api, "10", [shares[0], {"payer": "@ko_ko", "amount": "4"}]), "payer_is_payee"),
        (ko, {**body, "expires_in_seconds": 60}, "split_id_used_differently"),
        (su, {**body, "total": "6", "shares": shares[:1]}, "split_id_taken"),
    ]:
        assert await refusals.code(phone.post("/v1/splits", asked), nonces=1) == code
