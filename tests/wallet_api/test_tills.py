"""Tills over HTTP: who may act there, and what a key of one opens."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from foundation.ids import uuid7
from foundation.postgres import sync_url
from tests.wallet_api.conftest import API, Phone
from wallets.till_keys import KEY_BEGIN, KEYS_MAX


@dataclass
class Shop:
    """A till of a phone's business."""

    owner: Phone
    id: str

    @property
    def path(self) -> str:
        return f"/v1/merchant/tills/{self.id}"

    async def key(self, *rights: str) -> str:
        made = await self.owner.post(f"{self.path}/keys", {"name": "Web shop", "rights": list(rights)})
        assert made.status_code == 201, made.text
        return str(made.json()["key"])

    async def hire(self, person: Phone, *rights: str) -> None:
        path = f"{self.path}/staff/{person.handle}"
        assert (await self.owner.put(path, {"rights": list(rights)})).status_code == 200
        assert (await person.put(f"{self.path}/acceptance")).status_code == 200

    def invoice(self, amount: str, **more: Any) -> dict[str, Any]:
        return {"id": str(uuid7(self.owner.api.clock)), "amount": amount, **more}


async def open_shop(phone: Phone, name: str = "Counter 1") -> Shop:
    assert (await phone.put("/v1/merchant", {"name": "Golden Tea House"})).status_code == 200
    body = {"id": str(uuid7(phone.api.clock)), "name": name, "asset": "USDT"}
    made = await phone.post("/v1/merchant/tills", body)
    assert made.status_code == 201, made.text
    return Shop(phone, body["id"])


async def by_key(api: API, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
    return await api.http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
async def shop(api: API, ko: Phone) -> Shop:
    return await open_shop(ko)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def test_a_wallet_is_a_business_when_it_has_a_name(ko):
    assert code_of(await ko.get("/v1/merchant")) == (404, "merchant_not_found")
    till = {"id": str(uuid7(ko.api.clock)), "name": "One", "asset": "USDT"}
    assert code_of(await ko.post("/v1/merchant/tills", till)) == (404, "merchant_not_found")
    for name in ("Tea", "ရွှေလက်ဖက်ရည်ဆိုင်"):
        assert (await ko.put("/v1/merchant", {"name": name})).json() == {"handle": "@ko_ko", "name": name}
    assert (await ko.get("/v1/merchant")).json()["name"] == "ရွှေလက်ဖက်ရည်ဆိုင်"
    for name in ("", "x" * 61, "a\u0000b", "a\nb", "a\u202eb"):
        assert code_of(await ko.put("/v1/merchant", {"name": name})) == (422, "request_malformed")


async def test_a_till_is_opened_once_under_its_id(api, aye, ko, shop):
    body = {"id": shop.id, "name": "Counter 1", "asset": "USDT"}
    again = await ko.post("/v1/merchant/tills", body)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    for other in ({**body, "name": "Two"}, {**body, "asset": "USDC"}):
        assert code_of(await ko.post("/v1/merchant/tills", other)) == (409, "merchant_id_taken")
    assert (await aye.put("/v1/merchant", {"name": "Other"})).status_code == 200
    assert code_of(await aye.post("/v1/merchant/tills", body)) == (409, "merchant_id_taken")
    assert [till["id"] for till in (await ko.get("/v1/merchant/tills")).json()["tills"]] == [shop.id]
    assert (await aye.get("/v1/merchant/tills")).json() == {"tills": [], "invitations": []}


async def test_a_till_s_code_pays_the_owner_and_names_the_till(aye, ko, shop):
    till = (await ko.get(shop.path)).json()
    assert (till["business"], till["owner"], till["is_owner"]) == ("Golden Tea House", "@ko_ko", True)
    code = (await aye.post("/v1/payment_codes/read", {"code": till["qr_text"]})).json()
    assert (code["payee"], code["asset"], code["amount"], code["expires_at"], code["reference"]) == (
        "@ko_ko", "USDT", None, None, shop.id,
    )  # fmt: skip


async def test_somebody_works_at_a_till_from_the_acceptance_to_the_end(api, aye, ko, shop):
    su = await api.phone("su_su")
    order = shop.invoice("5")
    staff = f"{shop.path}/staff"
    asked = await ko.put(f"{staff}/@su_su", {"rights": ["charge"]})
    assert (asked.json()["rights"], asked.json()["accepted_at"]) == (["see", "charge"], None)
    assert [each["id"] for each in (await su.get("/v1/merchant/tills")).json()["invitations"]] == [shop.id]
    assert code_of(await su.post(f"{shop.path}/invoices", order)) == (404, "till_not_found")
    # Nobody accepts for another one.
    assert code_of(await aye.put(f"{shop.path}/acceptance")) == (404, "till_not_found")
    assert (await su.put(f"{shop.path}/acceptance")).json()["id"] == shop.id
    assert (await su.put(f"{shop.path}/acceptance")).status_code == 200
    assert [each["id"] for each in (await su.get("/v1/merchant/tills")).json()["tills"]] == [shop.id]
    assert (await su.post(f"{shop.path}/invoices", order)).status_code == 201
    assert (await su.get(shop.path)).json()["rights"] == ["see", "charge"]
    payment = (await aye.post("/v1/payments", aye.payment(ko, "5", reference=order["id"]))).json()
    back = {"id": str(uuid7(api.clock)), "amount": "1"}
    refunds = f"{shop.path}/payments/{payment['id']}/refunds"
    refused = await su.post(refunds, back)
    assert (code_of(refused), refused.json()["right"]) == ((403, "till_right_missing"), "refund")
    for what in (
        su.get(staff),
        su.put(f"{staff}/@aye_aye", {"rights": ["see"]}),
        su.get(f"{shop.path}/keys"),
    ):
        assert code_of(await what) == (403, "till_right_missing")
    # Other rights are asked for anew, and none count until they are accepted.
    assert (await ko.put(f"{staff}/su_su", {"rights": ["refund"]})).json()["accepted_at"] is None
    assert code_of(await su.get(shop.path)) == (404, "till_not_found")
    assert (await su.put(f"{shop.path}/acceptance")).status_code == 200
    assert (await su.post(refunds, back)).status_code == 201
    assert code_of(await su.post(f"{shop.path}/invoices", shop.invoice("5"))) == (403, "till_right_missing")
    assert [each["handle"] for each in (await ko.get(staff)).json()["staff"]] == ["@su_su"]
    assert (await ko.delete(f"{staff}/@su_su")).json() == {"handle": "@su_su"}
    assert code_of(await su.get(shop.path)) == (404, "till_not_found")
    assert code_of(await ko.delete(f"{staff}/@su_su")) == (404, "staff_not_found")


async def test_a_person_declines_or_leaves_by_the_own_handle_alone(api, aye, ko, shop):
    su = await api.phone("su_su")
    await shop.hire(su, "see")
    assert (await ko.put(f"{shop.path}/staff/aye_aye", {"rights": ["see"]})).status_code == 200
    assert code_of(await aye.delete(f"{shop.path}/staff/su_su")) == (404, "till_not_found")
    for phone in (aye, su):
        assert (await phone.delete(f"{shop.path}/staff/{phone.handle}")).status_code == 200
        assert code_of(await phone.delete(f"{shop.path}/staff/{phone.handle}")) == (404, "till_not_found")
    assert (await ko.get(f"{shop.path}/staff")).json() == {"staff": []}


async def test_nobody_unknown_is_asked_and_asking_counts_as_a_look_up(ko, shop):
    path = f"{shop.path}/staff"
    for handle in ("nobody_here", "ko_ko"):
        assert code_of(await ko.put(f"{path}/{handle}", {"rights": ["see"]})) == (422, "staff_unknown")
    answers = [await ko.put(f"{path}/nobody_{n}", {"rights": ["see"]}) for n in range(60)]
    assert code_of(answers[-1]) == (429, "too_many_lookups")
    for rights in ([], ["own"], "see"):
        assert code_of(await ko.put(f"{path}/su_su", {"rights": rights})) == (422, "request_malformed")


async def test_a_key_is_shown_once_and_kept_as_a_hash(api, ko, shop):
    made = (await ko.post(f"{shop.path}/keys", {"name": "Web shop", "rights": ["charge"]})).json()
    key = made.pop("key")
    assert key.startswith(KEY_BEGIN)
    assert (made["last_four"], made["rights"], made["revoked_at"]) == (key[-4:], ["see", "charge"], None)
    listed = await ko.get(f"{shop.path}/keys")
    assert listed.json() == {"keys": [made]}
    with psycopg.connect(sync_url(api.database.url)) as connection:
        for row in connection.execute("SELECT t::text FROM wallets_till_key t"):
            assert key not in row[0]
            assert key.removeprefix(KEY_BEGIN).encode().hex() not in row[0]


async def test_a_key_works_at_its_till_and_nowhere_else(api, aye, ko, shop):
    key = await shop.key("charge")
    other = await open_shop(ko, "Counter 2")
    order = shop.invoice("5")
    made = await by_key(api, key, "POST", f"{shop.path}/invoices", order)
    assert made.status_code == 201, made.text
    read = await by_key(api, key, "GET", f"{shop.path}/invoices/{order['id']}")
    assert read.json() == made.json()
    assert (await by_key(api, key, "GET", shop.path)).json()["rights"] == ["see", "charge"]
    assert code_of(await by_key(api, key, "GET", other.path)) == (404, "till_not_found")
    assert code_of(await by_key(api, key, "POST", f"{other.path}/invoices", order)) == (404, "till_not_found")
    payment = ko.payment(aye, "1")
    for method, path, body in [
        ("GET", "/v1/balances", None),
        ("GET", "/v1/history", None),
        ("GET", "/v1/merchant/tills", None),
        ("GET", f"{shop.path}/keys", None),
        ("POST", f"{shop.path}/keys", {"name": "More", "rights": ["refund"]}),
        ("PUT", f"{shop.path}/staff/aye_aye", {"rights": ["refund"]}),
        ("POST", "/v1/payments", payment),
        ("POST", "/v1/withdrawals", {}),
    ]:
        answer = await by_key(api, key, method, path, body)
        assert answer.status_code == 401, f"{method} {path}: {answer.text}"
    assert await ko.available() == "1.000000"


async def test_a_key_that_is_wrong_or_revoked_opens_nothing(api, ko, shop):
    key = await shop.key("see")
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), KEY_BEGIN, key.upper(), "x", key + "x"):
        assert code_of(await by_key(api, wrong, "GET", shop.path)) == (401, "api_key_wrong")
    assert code_of(await api.http.get(shop.path)) == (401, "signature_missing")
    (listed,) = (await ko.get(f"{shop.path}/keys")).json()["keys"]
    other = await open_shop(ko, "Counter 2")
    assert code_of(await ko.delete(f"{other.path}/keys/{listed['id']}")) == (404, "till_key_not_found")
    assert (await by_key(api, key, "GET", shop.path)).status_code == 200
    revoked = await ko.delete(f"{shop.path}/keys/{listed['id']}")
    assert revoked.json()["revoked_at"] is not None
    assert (await ko.delete(f"{shop.path}/keys/{listed['id']}")).json() == revoked.json()
    assert code_of(await by_key(api, key, "GET", shop.path)) == (401, "api_key_wrong")


async def test_a_till_has_so_many_keys_and_no_more_however_they_are_sent(ko, shop):
    body = {"name": "Web shop", "rights": ["see"]}
    answers = await asyncio.gather(*(ko.post(f"{shop.path}/keys", body) for _ in range(KEYS_MAX + 5)))
    assert sorted(answer.status_code for answer in answers) == [201] * KEYS_MAX + [409] * 5
    assert len((await ko.get(f"{shop.path}/keys")).json()["keys"]) == KEYS_MAX


async def test_a_key_gives_back_what_was_paid_at_its_till_and_nothing_else(api, aye, ko, shop):
    other = await open_shop(ko, "Counter 2")
    key = await shop.key("refund")
    weak = await shop.key("charge")
    order, elsewhere = shop.invoice("5"), shop.invoice("5")
    assert (await ko.post(f"{shop.path}/invoices", order)).status_code == 201
    assert (await ko.post(f"{other.path}/invoices", elsewhere)).status_code == 201

    async def paid(**more: str) -> str:
        answer = await aye.post("/v1/payments", aye.payment(ko, "5", **more))
        assert answer.status_code == 201
        return str(answer.json()["id"])

    async def back(key: str, payment_id: str) -> httpx.Response:
        body = {"id": str(uuid7(api.clock)), "amount": "2"}
        return await by_key(api, key, "POST", f"{shop.path}/payments/{payment_id}/refunds", body)

    at_till, of_invoice = await paid(reference=shop.id), await paid(reference=order["id"])
    # A payment that the shop's wallet makes with the till as its reference is none that it got.
    own = (await ko.post("/v1/payments", ko.payment(aye, "1", reference=shop.id))).json()["id"]
    strange = [await paid(), await paid(reference=elsewhere["id"]), await paid(reference=other.id), own]
    before = await ko.available()
    for payment_id in strange:
        assert code_of(await back(key, payment_id)) == (404, "payment_not_found")
    assert code_of(await back(weak, at_till)) == (403, "till_right_missing")
    assert await ko.available() == before
    for payment_id in (at_till, of_invoice):
        answer = await back(key, payment_id)
        assert (answer.status_code, answer.json()["to"]) == (201, "@aye_aye")
    assert [code_of(await back(key, at_till)) for _ in range(2)] == [
        (201, ""), (409, "refund_exceeds_payment"),
    ]  # fmt: skip


async def test_an_invoice_made_up_afterwards_makes_no_older_payment_the_till_s(api, aye, ko, shop):
    key = await shop.key("charge", "refund")
    reference = str(uuid7(api.clock))
    payment = (await aye.post("/v1/payments", aye.payment(ko, "5", reference=reference))).json()
    api.clock.advance(seconds=120)
    made = await by_key(api, key, "POST", f"{shop.path}/invoices", {"id": reference, "amount": "5"})
    assert (made.status_code, made.json()["state"], made.json()["other_payments"]) == (201, "open", [])
    body = {"id": str(uuid7(api.clock)), "amount": "5"}
    refused = await by_key(api, key, "POST", f"{shop.path}/payments/{payment['id']}/refunds", body)
    assert code_of(refused) == (404, "payment_not_found")
    # Nor is another till's id an invoice, or an invoice's id a till.
    other = await open_shop(ko, "Counter 2")
    taken = await by_key(api, key, "POST", f"{shop.path}/invoices", {"id": other.id, "amount": "5"})
    assert code_of(taken) == (409, "merchant_id_taken")
    till = {"id": reference, "name": "Three", "asset": "USDT"}
    assert code_of(await ko.post("/v1/merchant/tills", till)) == (409, "merchant_id_taken")
