"""Refunds over HTTP: given by the payee, seen by both, once whatever is sent."""

from foundation.ids import uuid7


async def test_a_payment_is_given_back_in_parts_and_both_see_it(api, aye, ko):
    payment = (await aye.pay(ko, "25")).json()
    body = {"id": str(uuid7(api.clock)), "amount": "5.00"}
    path = f"/v1/payments/{payment['id']}/refunds"
    made = await ko.post(path, body)
    assert made.status_code == 201
    refund = made.json()
    assert refund == {
        "id": body["id"],
        "payment_id": payment["id"],
        "by": "@ko_ko",
        "to": "@aye_aye",
        "asset": "USDT",
        "amount": "5.000000",
        "created_at": refund["created_at"],
    }
    again = await ko.post(path, body)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    for phone in (aye, ko):
        assert (await phone.get(path)).json() == {
            "asset": "USDT",
            "refunded": "5.000000",
            "refunds": [refund],
        }
        assert (await phone.get(f"/v1/refunds/{body['id']}")).json() == refund
        line = (await phone.get("/v1/history?asset=USDT&limit=1")).json()["lines"][0]
        assert (line["kind"], line["reference"]) == ("refund", payment["id"])
    assert (await aye.available(), await ko.available()) == ("79.975000", "21.000000")
    assert (await aye.get(f"/v1/payments/{payment['id']}")).json() == payment


async def test_what_cannot_be_given_back_is_refused_by_name(api, aye, ko, refusals):
    su = await api.phone("su_su")
    payment = (await aye.pay(ko, "25")).json()
    path = f"/v1/payments/{payment['id']}/refunds"
    # Opens the payment's room, which is no money, so that refusals afterwards leave everything as it is.
    assert (await ko.post(path, {"id": str(uuid7(api.clock)), "amount": "1"})).status_code == 201

    def asked(amount: str, **more: str) -> dict[str, str]:
        return {"id": str(uuid7(api.clock)), "amount": amount, **more}

    for phone, body, code in [
        (aye, asked("5"), "refund_not_by_payee"),
        (su, asked("5"), "payment_not_found"),
        (ko, asked("24.000001"), "refund_exceeds_payment"),
        (ko, asked("0"), "amount_not_positive"),
        (ko, asked("0.0000001"), "amount_too_precise"),
        (ko, asked("5", id=payment["id"]), "payment_id_taken"),
        (ko, asked("5", id="x" * 36), "id_malformed"),
    ]:
        assert await refusals.code(phone.post(path, body), nonces=1) == code
    assert await refusals.code(su.get(path), nonces=1) == "payment_not_found"
    assert await refusals.code(ko.get(f"/v1/refunds/{payment['id']}"), nonces=1) == "refund_not_found"
