"""Recalls over HTTP: asked by the payer, decided by the payee or two officers, seen by both."""

import pytest

from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_officers import appointed

DAY = 86_400


async def asked(api: API, aye: Phone, ko: Phone, amount: str = "25") -> tuple[str, str]:
    """A payment that is recalled: its id and the recall's."""
    payment = (await aye.pay(ko, amount)).json()
    recall_id = str(uuid7(api.clock))
    answer = await aye.post(f"/v1/payments/{payment['id']}/recall", {"id": recall_id})
    assert answer.status_code == 201, answer.text
    return payment["id"], recall_id


async def test_a_payment_is_asked_back_and_given_back(api, aye, ko):
    payment = (await aye.pay(ko, "25")).json()
    body = {"id": str(uuid7(api.clock))}
    path = f"/v1/payments/{payment['id']}/recall"
    made = await aye.post(path, body)
    assert made.status_code == 201
    recall = made.json()
    times = {name: recall[name] for name in ("created_at", "answer_until", "expires_at")}
    assert recall == {
        "id": body["id"],
        "payment_id": payment["id"],
        "state": "open",
        "payer": "@aye_aye",
        "payee": "@ko_ko",
        "asset": "USDT",
        "amount": "25.000000",
        **times,
        "declined_at": None,
        "closed_at": None,
    }
    again = await aye.post(path, body)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    assert (await aye.available(), await ko.available()) == ("74.975000", "1.000000")
    for phone, role in ((aye, "payer"), (ko, "payee")):
        assert (await phone.get(f"/v1/recalls/{body['id']}")).json() == recall
        listed = (await phone.get(f"/v1/recalls?role={role}&state=open")).json()
        assert listed == {"recalls": [recall], "next_before": None}
        line = (await phone.get("/v1/history?kind=recall&limit=1")).json()["lines"][0]
        assert (line["effect"], line["reference"]) == ("reserved", payment["id"])
    done = await ko.post(f"/v1/recalls/{body['id']}/agree")
    assert (done.status_code, done.json()["state"]) == (200, "agreed")
    assert (await ko.post(f"/v1/recalls/{body['id']}/agree")).headers["idempotency-replayed"] == "true"
    assert (await aye.available(), await ko.available()) == ("99.975000", "1.000000")
    assert (await aye.get(f"/v1/payments/{payment['id']}/refunds")).json()["refunded"] == "25.000000"


async def test_a_no_goes_to_two_officers(api, aye, ko):
    may, hla = await appointed(api, "may_may"), await appointed(api, "hla_hla")
    _, recall_id = await asked(api, aye, ko)
    votes = f"/v1/officers/recalls/{recall_id}/votes"
    assert (await may.post(votes, {"says": "return"})).json()["code"] == "recall_not_disputed"
    declined = (await ko.post(f"/v1/recalls/{recall_id}/decline")).json()
    assert (declined["state"], declined["declined_at"] is not None) == ("disputed", True)
    listed = (await may.get("/v1/officers/recalls")).json()
    assert listed == {"disputed": [{"recall": declined, "votes": []}], "next_after": None}
    first = await may.post(votes, {"says": "return"})
    assert first.json() == {"recall": declined, "votes": [{"by": "may_may", "says": "return"}]}
    assert (await may.post(votes, {"says": "keep"})).json()["code"] == "recall_vote_stands"
    assert await aye.available() == "74.975000"
    second = (await hla.post(votes, {"says": "return"})).json()
    assert (second["recall"]["state"], len(second["votes"])) == ("returned", 2)
    assert (await aye.available(), await ko.available()) == ("99.975000", "1.000000")
    assert (await may.get("/v1/officers/recalls")).json()["disputed"] == []


async def test_officers_routes_are_not_there_for_others_nor_their_own_payments_for_officers(api, aye, ko):
    may = await appointed(api, "may_may")
    _, recall_id = await asked(api, may, ko, "5")
    await ko.post(f"/v1/recalls/{recall_id}/decline")
    votes = f"/v1/officers/recalls/{recall_id}/votes"
    for answer in (
        await ko.get("/v1/officers/recalls"),
        await ko.post(votes, {"says": "keep"}),
        await aye.post(f"/v1/officers/recalls/{uuid7(api.clock)}/votes", {"says": "keep"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "approver_is_no_officer")
    assert (await may.post(votes, {"says": "return"})).json()["code"] == "recall_of_own"
    assert (await may.post(votes, {"says": "perhaps"})).json()["code"] == "request_malformed"


async def test_an_officers_decoy_is_the_officer(api, aye, ko):
    may = await appointed(api, "may_may")
    pins = {"pin": "730512", "duress_pin": "914860", "decoy_handle": "may_small"}
    assert (await may.put("/v1/pin", pins)).status_code == 200
    payment = (await aye.pay("@may_small", "5")).json()
    recall_id = str(uuid7(api.clock))
    assert (await aye.post(f"/v1/payments/{payment['id']}/recall", {"id": recall_id})).status_code == 201
    api.clock.advance(3 * DAY + 1)
    told = await may.post(f"/v1/officers/recalls/{recall_id}/votes", {"says": "keep"})
    assert told.json()["code"] == "recall_of_own"


async def test_in_the_decoys_view_a_recall_of_the_real_wallet_is_not_there(api, aye, ko):
    payment_id, recall_id = await asked(api, aye, ko)
    pins = {"pin": "730512", "duress_pin": "914860", "decoy_handle": "ko_small"}
    assert (await ko.put("/v1/pin", pins)).status_code == 200
    sizes = {}
    for pin, there in (("730512", True), ("914860", False)):
        assert (await ko.log_in(pin)).status_code == 201
        listed = await ko.get("/v1/recalls?role=payee")
        assert (len(listed.json()["recalls"]) == 1) is there
        sizes[pin] = len(listed.content)
        answer = await ko.get(f"/v1/recalls/{recall_id}")
        assert answer.status_code == (200 if there else 404)
        assert (await ko.get(f"/v1/payments/{payment_id}")).status_code == (200 if there else 404)
    assert len(set(sizes.values())) == 1


async def test_what_cannot_be_recalled_is_refused_by_name(api, aye, ko, refusals):
    su = await api.phone("su_su")
    payment_id, recall_id = await asked(api, aye, ko)
    other = (await aye.pay(ko, "5")).json()["id"]
    path = f"/v1/payments/{payment_id}/recall"

    def fresh() -> dict[str, str]:
        return {"id": str(uuid7(api.clock))}

    for phone, where, body, code in [
        (aye, path, fresh(), "payment_already_recalled"),
        (aye, f"/v1/payments/{other}/recall", {"id": recall_id}, "recall_id_taken"),
        (ko, path, fresh(), "recall_not_by_payer"),
        (su, path, fresh(), "payment_not_found"),
        (aye, path, {"id": "x" * 36}, "id_malformed"),
        (aye, path, {"id": "0d6e2b60-7c36-4f0a-9a55-000000000000"}, "payment_id_malformed"),
        (aye, path, {**fresh(), "amount": "5"}, "request_malformed"),
    ]:
        assert await refusals.code(phone.post(where, body), nonces=1) == code
    for phone, what in ((su, "agree"), (su, "decline"), (su, "withdraw"), (aye, "agree"), (ko, "withdraw")):
        refusal = phone.post(f"/v1/recalls/{recall_id}/{what}")
        assert await refusals.code(refusal, nonces=1) == "recall_not_found"
    assert (await aye.post(f"/v1/recalls/{recall_id}/withdraw")).json()["state"] == "withdrawn"
    told = await ko.post(f"/v1/recalls/{recall_id}/agree")
    assert (told.json()["code"], told.json()["state"]) == ("recall_not_open", "withdrawn")
    api.clock.advance(DAY + 1)
    late = aye.post(f"/v1/payments/{other}/recall", fresh())
    assert await refusals.code(late, nonces=1) == "recall_too_late"


@pytest.mark.parametrize("hours", [0, 48])
async def test_the_window_is_the_operators(api, aye, ko, hours):
    api.connections.settings = api.connections.settings.model_copy(update={"recall_hours": hours})
    payment = (await aye.pay(ko, "5")).json()
    api.clock.advance(47 * 3600)
    answer = await aye.post(f"/v1/payments/{payment['id']}/recall", {"id": str(uuid7(api.clock))})
    assert answer.status_code == (201 if hours else 409), answer.text
