"""The own handle over HTTP: changed, unlisted, and alike for whoever looks on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from foundation.changes import Changes
from tests.wallet_api.conftest import API, BASE, Phone
from tests.wallet_api.test_duress import form
from tests.wallet_api.test_memos import KEY, memo
from tests.wallet_api.test_pins import DURESS, PIN
from tests.wallet_api.test_tills import open_shop
from wallet_api.app import create_app
from wallet_api.connections import Connections

DAYS_90 = 90 * 86_400


async def renamed(phone: Phone, handle: str) -> httpx.Response:
    phone.api.clock.advance(1)
    answer = await phone.put("/v1/wallet/handle", {"handle": handle})
    phone.api.clock.advance(1)
    if answer.status_code == 200:
        phone.handle = answer.json()["handle"]
    return answer


async def unlisted(phone: Phone, *, listed: bool = False) -> None:
    phone.api.clock.advance(1)
    answer = await phone.put("/v1/wallet/listing", {"listed": listed})
    assert (answer.status_code, answer.json()["listed"]) == (200, listed), answer.text


async def code_of(asking) -> str:
    return str((await asking).json().get("code"))


class TestChanging:
    async def test_it_is_answered_again_and_shown_with_the_handle_of_before(self, aye, ko):
        made = await renamed(ko, "@Ko_Min")
        assert made.status_code == 200, made.text
        assert made.json()["handle"] == "@ko_min"
        assert [each["handle"] for each in made.json()["former"]] == ["@ko_ko"]
        assert (await renamed(ko, "ko_min")).json() == made.json()
        assert (await ko.get("/v1/wallet/handle")).json() == made.json()
        assert (await ko.get("/v1/wallet")).json()["handle"] == "@ko_min"
        assert (await aye.get("/v1/handles/@ko_ko")).json()["handle"] == "@ko_min"

    async def test_refusals_change_nothing(self, ko, refusals):
        for handle, code in (("@aye_aye", "handle_taken"), ("@ayeaye", "handle_too_similar")):
            assert await refusals.code(ko.put("/v1/wallet/handle", {"handle": handle}), nonces=1) == code
        for handle in ("ko_one", "ko_two", "ko_three"):
            await renamed(ko, handle)
        answer = await ko.put("/v1/wallet/handle", {"handle": "ko_four"})
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_handle_changes")
        assert 0 < int(answer.headers["retry-after"]) <= 30 * 86_400

    async def test_history_receipt_and_answers_say_what_they_said(self, aye, ko):
        order = aye.payment(ko, "5", memo=memo())
        paid = await aye.post("/v1/payments", order)
        receipt = (await ko.get(f"/v1/payments/{order['id']}/receipt")).content
        await renamed(ko, "ko_min")
        await renamed(aye, "aye_chan")
        for phone, other in ((aye, "@ko_ko"), (ko, "@aye_aye")):
            assert (await phone.get(f"/v1/payments/{order['id']}")).json() == paid.json()
            lines = (await phone.get("/v1/history?kind=payment&memos=true")).json()["lines"]
            assert [(line["counterparty"], line["memo"]) for line in lines] == [(other, order["memo"])]
        assert (await ko.get(f"/v1/payments/{order['id']}/receipt")).content == receipt
        again = await aye.post("/v1/payments", order)
        assert (again.content, again.headers["idempotency-replayed"]) == (paid.content, "true")
        filtered = await aye.get("/v1/history?counterparty=ko_min&kind=payment")
        assert len(filtered.json()["lines"]) == 1

    async def test_a_memo_is_not_carried_to_a_handle_that_was_given_up(self, aye, ko, refusals):
        await ko.put("/v1/memo_key", {"memo_key": KEY})
        await renamed(ko, "ko_min")
        order = aye.payment("ko_ko", "5", memo=memo())
        assert await refusals.code(aye.post("/v1/payments", order)) == "memo_for_former_handle"
        assert (await aye.post("/v1/payments", order | {"payee": "ko_min"})).status_code == 201

    async def test_a_request_is_the_same_and_is_paid_after_both_sides_changed(self, aye, ko):
        asked = {"id": aye.payment(ko, "1")["id"], "payer": "@aye_aye", "amount": "3", "asset": "USDT"}
        asked["expires_in_seconds"] = 3600
        made = await ko.post("/v1/payment_requests", asked)
        assert made.status_code == 201, made.text
        await renamed(ko, "ko_min")
        await renamed(aye, "aye_chan")
        await unlisted(ko)
        # The same order again, with the payer's handle of that time, is the same request.
        again = await ko.post("/v1/payment_requests", asked)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
        assert again.json()["payer"] == "@aye_chan"
        accepted = await aye.post(
            f"/v1/payment_requests/{asked['id']}/accept", {"payment_id": aye.payment(ko, "1")["id"]}
        )
        assert (accepted.status_code, accepted.json()["payee"]) == (201, "@ko_min"), accepted.text

    async def test_a_printed_code_pays_its_owner_for_ninety_days_and_never_a_stranger(self, api, aye, ko):
        code = (await ko.post("/v1/payment_codes", {"asset": "USDT"})).json()["qr_text"]
        await renamed(ko, "ko_min")
        stranger = await api.enrolled()
        assert await code_of(stranger.post("/v1/wallet", {"handle": "ko_ko"})) == "handle_taken"
        read = (await aye.post("/v1/payment_codes/read", {"code": code})).json()
        assert (await aye.pay(read["payee"], "2")).json()["payee"] == "@ko_min"
        api.clock.advance(DAYS_90)
        assert await code_of(aye.pay(read["payee"], "2")) == "payee_unknown"
        assert await code_of(stranger.post("/v1/wallet", {"handle": "ko_ko"})) == "handle_taken"


class TestUnlisted:
    async def test_the_handle_is_answered_as_nobodys_to_the_byte(self, aye, ko):
        await unlisted(ko)
        answers = [await aye.get(f"/v1/handles/{handle}") for handle in ("ko_ko", "no_no")]
        assert {answer.status_code for answer in answers} == {404}
        bodies = [
            answer.text.replace(handle, "H").replace(answer.headers["x-request-id"], "R")
            for answer, handle in zip(answers, ("ko_ko", "no_no"), strict=True)
        ]
        assert bodies[0] == bodies[1]
        assert len({len(answer.content) for answer in answers}) == 1
        assert (await ko.get("/v1/handles/ko_ko")).json()["can_be_paid"] is False

    @pytest.mark.parametrize("handle", ["ko_ko", "no_no"])
    async def test_whatever_names_it_by_the_bare_handle_is_refused_as_unknown(self, api, aye, ko, handle):
        await unlisted(ko)
        shop = await open_shop(aye)
        new_id = aye.payment(ko, "1")["id"]
        asked = {"id": new_id, "payer": handle, "amount": "3", "asset": "USDT", "expires_in_seconds": 3600}
        standing = aye.payment(handle, "1") | {
            "first_on": api.clock.now().date().isoformat(),
            "repeats": "daily",
        }
        codes = [
            await code_of(aye.pay(handle, "1")),
            await code_of(aye.post("/v1/payment_requests", asked)),
            await code_of(aye.post("/v1/standing_orders", standing)),
            await code_of(aye.get(f"/v1/history?counterparty={handle}")),
            await code_of(aye.put(f"{shop.path}/staff/{handle}", {"rights": ["charge"]})),
            await code_of(aye.put("/v1/recovery", {"trusted": [handle, "@aye_aye"], "needed": 2})),
        ]
        assert codes == [
            "payee_unknown",
            "payer_unknown",
            "payee_unknown",
            "counterparty_unknown",
            "staff_unknown",
            "recovery_trusted_unknown",
        ]

    async def test_its_own_codes_carry_a_pass_by_which_it_is_shown_and_paid(self, api, aye, ko):
        await unlisted(ko)
        made = (await ko.post("/v1/payment_codes", {"asset": "USDT", "amount": "2"})).json()
        assert made["qr_text"].startswith("NUGPAY:2")
        read = (await aye.post("/v1/payment_codes/read", {"code": made["link"]})).json()
        assert read["payee_pass"] == made["payee_pass"]
        shown = await aye.get(f"/v1/handles/ko_ko?payee_pass={read['payee_pass']}")
        assert (shown.status_code, shown.json()["can_be_paid"]) == (200, True)
        order = aye.payment("ko_ko", "2", payee_pass=read["payee_pass"])
        paid = await aye.post("/v1/payments", order)
        assert paid.status_code == 201, paid.text
        wrong = aye.payment("ko_ko", "2", payee_pass="A" * 16)
        assert await code_of(aye.post("/v1/payments", wrong)) == "payee_unknown"
        # Listed and unlisted again, the code of before has ended; the payment of before has not.
        await unlisted(ko, listed=True)
        await unlisted(ko)
        assert (
            await code_of(
                aye.post("/v1/payments", aye.payment("ko_ko", "2") | {"payee_pass": made["payee_pass"]})
            )
            == "payee_unknown"
        )
        assert (await aye.post("/v1/payments", order)).content == paid.content
        assert (await api.http.get(made["link"].removeprefix(BASE))).status_code == 200

    async def test_its_till_and_its_invoices_are_paid_by_their_codes(self, aye, ko):
        shop = await open_shop(ko)
        made = await ko.post(f"{shop.path}/invoices", shop.invoice("2"))
        assert made.status_code == 201, made.text
        await unlisted(ko)
        invoice = (await ko.get(f"{shop.path}/invoices/{made.json()['id']}")).json()
        for code in ((await ko.get(shop.path)).json()["qr_text"], invoice["qr_text"]):
            read = (await aye.post("/v1/payment_codes/read", {"code": code})).json()
            order = aye.payment(read["payee"], "2", reference=read["reference"])
            assert await code_of(aye.post("/v1/payments", order)) == "payee_unknown"
            paid = await aye.post("/v1/payments", order | {"payee_pass": read["payee_pass"]})
            assert paid.status_code == 201, paid.text
        assert (await ko.get(f"{shop.path}/invoices/{invoice['id']}")).json()["state"] == "paid"

    async def test_a_listed_wallets_code_is_as_it_was(self, ko):
        made = (await ko.post("/v1/payment_codes", {"asset": "USDT"})).json()
        assert made["qr_text"].startswith("NUGPAY:1")
        assert "payee_pass" not in made

    async def test_guessing_is_bounded_as_looking_up_is(self, aye, ko):
        await unlisted(ko)
        codes = [await code_of(aye.pay("ko_ko", "1")) for _ in range(62)]
        known = codes.index("too_many_lookups")
        assert codes == ["payee_unknown"] * known + ["too_many_lookups"] * (len(codes) - known)
        # Opening the wallet counted as well.
        assert known == 59


class TestTwoProcesses:
    @asynccontextmanager
    async def second(self, api: API, changes: Changes) -> AsyncIterator[httpx.AsyncClient]:
        """A second application over the same database and ledger, which remembers what it reads."""
        settings = api.connections.settings
        connections = Connections(settings, api.clock, api.database, api.ledger, changes)

        @asynccontextmanager
        async def connect(_settings):
            async with changes.followed():
                while not changes.are_followed:
                    await asyncio.sleep(0.01)
                yield connections

        app = create_app(settings, connect=connect)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as http,
        ):
            yield http

    async def test_a_change_in_one_counts_in_the_other_and_money_goes_to_the_same_wallet(self, api, aye, ko):
        changes = Changes(api.database.url)
        async with self.second(api, changes) as http:
            there = replace(aye, api=replace(api, http=http))
            assert (await there.pay("ko_ko", "1")).json()["payee"] == "@ko_ko"
            seen = changes.count
            await renamed(ko, "ko_min")
            su = await api.phone("su_su")
            assert await code_of(su.put("/v1/wallet/handle", {"handle": "ko_ko"})) == "handle_taken"
            # Before the notice has come and after it: the wallet that had the handle, or nobody.
            for handle in ("ko_ko", "ko_min", "ko_ko"):
                assert (await there.pay(handle, "1")).status_code == 201
            async with asyncio.timeout(10):
                while changes.count == seen or (await there.pay("ko_ko", "1")).json()["payee"] != "@ko_min":
                    await asyncio.sleep(0.01)
            await unlisted(ko)
            async with asyncio.timeout(10):
                while (answer := await there.pay("ko_min", "1")).status_code == 201:
                    await asyncio.sleep(0.01)
            assert answer.json()["code"] == "payee_unknown"
        assert await su.available() == "0.000000"
        mine = (await aye.get("/v1/history?kind=payment&limit=100")).json()["lines"]
        assert {each["counterparty"] for each in mine} <= {"@ko_ko", "@ko_min"}
        assert float(await ko.available()) == 1 + len(mine)


class TestDuress:
    @pytest.mark.usefixtures("ko")
    async def test_both_views_change_their_own_handle_alike_and_know_nothing_of_the_other(self, api):
        aye = await api.phone("aye_aye", "100")
        assert (await aye.set_pin(PIN, duress_pin=DURESS, decoy_handle="@min_min")).status_code == 200
        seen = []
        for pin, handle in ((PIN, "@aye_one"), (DURESS, "@min_one")):
            await aye.log_in(pin)
            answers = [
                await aye.get("/v1/wallet/handle"),
                await renamed(aye, handle),
                await aye.put("/v1/wallet/handle", {"handle": "@ko_ko"}),
                await aye.put("/v1/wallet/listing", {"listed": False}),
                await aye.get("/v1/wallet/handle"),
            ]
            assert answers[-1].json()["handle"] == handle
            assert len(answers[-1].json()["former"]) == 1
            seen.append([form(answer) for answer in answers])
        assert seen[0] == seen[1]
