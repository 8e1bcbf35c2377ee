"""Asking over HTTP: handles looked up, payment codes as text and picture, requests accepted once."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.assets import ASSETS
from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_bad_payments import JSON_VALUES
from wallets.handle_lookups import LOOKUPS_PER_MINUTE
from wallets.payment_codes import read_payment_code


class TestHandles:
    async def test_a_payer_sees_whom_a_handle_belongs_to(self, aye, ko):
        assert ko.handle == "@ko_ko"
        answer = await aye.get("/v1/handles/@KO_ko")
        assert answer.status_code == 200
        codes = [asset.code for asset in ASSETS]
        assert answer.json() == {"handle": "@ko_ko", "can_be_paid": True, "assets": codes, "memo_key": None}
        own = (await aye.get("/v1/handles/aye_aye")).json()
        assert own == {"handle": "@aye_aye", "can_be_paid": False, "assets": [], "memo_key": None}

    async def test_handles_that_nobody_has_get_answers_of_one_size(self, aye):
        answers = [await aye.get(f"/v1/handles/{handle}") for handle in ("nobody_a", "nobody_b", "nugpay_x")]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
            (404, "handle_not_found")
        }
        assert len({len(answer.content) for answer in answers}) == 1

    async def test_guessing_is_stopped_whichever_way_it_is_tried_and_goes_on_in_time(self, api, aye, ko):
        # Opening the wallet was one as well.
        api.clock.advance(60)
        for number in range(LOOKUPS_PER_MINUTE // 3):
            assert (await aye.get(f"/v1/handles/guess_{number}")).status_code == 404
            assert (await aye.pay(f"guess_{number}", "1")).json()["code"] == "payee_unknown"
            assert (await ask(aye, f"guess_{number}")).json()["code"] == "payer_unknown"
        answer = await aye.get("/v1/handles/ko_ko")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_lookups")
        assert int(answer.headers["retry-after"]) == answer.json()["retry_after_seconds"]
        # Neither is a handle that exists told from one that does not by paying it.
        for payee in ("guess_again", "ko_ko"):
            assert (await aye.pay(payee, "1")).json()["code"] == "too_many_lookups"
            assert (await ask(aye, payee)).json()["code"] == "too_many_lookups"
        assert (await ko.get("/v1/handles/aye_aye")).status_code == 200
        api.clock.advance(answer.json()["retry_after_seconds"])
        assert (await aye.pay(ko, "1")).status_code == 201

    async def test_paying_those_who_exist_is_never_held_up(self, aye, ko):
        for _ in range(LOOKUPS_PER_MINUTE + 5):
            assert (await aye.pay(ko, "0.01")).status_code == 201

    async def test_opening_a_wallet_does_not_guess_handles_either(self, api, aye):
        assert aye.handle == "@aye_aye"
        phone = await api.enrolled()
        answers = [
            (await phone.post("/v1/wallet", {"handle": handle})).json()["code"]
            for handle in ["aye_aye", "ayeaye"] * (LOOKUPS_PER_MINUTE // 2) + ["aye_aye"]
        ]
        assert set(answers[:-1]) == {"handle_taken", "handle_too_similar"}
        assert answers[-1] == "too_many_lookups"


class TestCodes:
    async def test_a_code_is_made_read_and_paid(self, api, aye, ko):
        reference = str(uuid7(api.clock))
        body = {"asset": "USDT", "amount": "25", "expires_in_seconds": 600, "reference": reference}
        made = await ko.post("/v1/payment_codes", body)
        assert made.status_code == 200
        code = made.json()
        assert (code["payee"], code["amount"], code["reference"]) == ("@ko_ko", "25.000000", reference)
        assert code["link"] == "http://api.test/p/" + code["uri"].removeprefix("nugpay:")
        for text in (code["qr_text"], code["uri"], code["link"]):
            assert (await aye.post("/v1/payment_codes/read", {"code": text})).json() == code
        paid = await aye.post(
            "/v1/payments", aye.payment(code["payee"], code["amount"], reference=code["reference"])
        )
        assert paid.status_code == 201
        assert await ko.available() == "26.000000"

        api.clock.advance(600)
        answer = await aye.post("/v1/payment_codes/read", {"code": code["uri"]})
        assert answer.json()["code"] == "payment_code_expired"

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("image/svg+xml", "image/svg+xml"),
            ("image/png, image/svg+xml;q=0.9, */*", "image/svg+xml"),
            ("text/plain", "text/plain; charset=utf-8"),
            ("application/json, image/svg+xml", "application/json"),
            ("*/*", "application/json"),
            ("", "application/json"),
            ("image/png", "application/json"),
        ],
    )
    async def test_accept_chooses_text_or_picture(self, ko, accept, kind):
        answer = await ko.post("/v1/payment_codes", {"asset": "USDT"}, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        start = {"image": "<svg ", "text/": "█" * 9, "appli": "{"}[kind[:5]]
        assert answer.text.startswith(start)

    async def test_codes_that_are_none_are_refused_by_name(self, aye, ko, refusals):
        text = (await ko.post("/v1/payment_codes", {"asset": "USDT"})).json()["qr_text"]
        wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
        for code, expected in [
            ("hello", "payment_code_malformed"),
            (text.replace("NUGPAY:1", "NUGPAY:3"), "payment_code_version_unknown"),
            (text[:12] + ("A" if text[12] != "A" else "B") + text[13:], "payment_code_checksum"),
            ("https://evil.example/p/" + text[7:], "payment_code_malformed"),
        ]:
            assert (
                await refusals.code(aye.post("/v1/payment_codes/read", {"code": code}), nonces=1) == expected
            )
        assert (await aye.post("/v1/payment_codes/read", {"code": wrong})).status_code == 422
        for body, expected in [
            ({"asset": "USDT", "amount": "0"}, "amount_not_positive"),
            ({"asset": "USDT", "amount": "1.0000001"}, "amount_too_precise"),
            ({"asset": "XYZ"}, "unknown_asset"),
            ({"asset": "USDT", "expires_in_seconds": 0}, "request_malformed"),
            ({"asset": "USDT", "expires_in_seconds": "60"}, "request_malformed"),
            ({"asset": "USDT", "payee": "@aye_aye"}, "request_malformed"),
            ({"asset": "USDT", "reference": "x" * 36}, "id_malformed"),
        ]:
            assert await refusals.code(ko.post("/v1/payment_codes", body), nonces=1) == expected

    async def test_a_link_leads_to_a_page_that_says_what_is_to_be_paid(self, api, ko):
        body = {"asset": "USDT", "amount": "25", "expires_in_seconds": 600}
        code = (await ko.post("/v1/payment_codes", body)).json()
        page = await api.http.get(code["link"])
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        for shown in ("@ko_ko", "25.000000 USDT", code["expires_at"], f'href="{code["uri"]}"', "<svg "):
            assert shown in page.text
        assert not re.search(r"<script|<style|\son\w+=|https?://(?!www\.w3\.org)", page.text)
        read = read_payment_code(code["uri"])
        assert read.payee_handle == "ko_ko"
        for path, expected in [("/p/1AAAA", 422), (code["link"].lower(), 422), ("/p/<script>", 422)]:
            answer = await api.http.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (
                expected,
                "application/problem+json",
            )
        api.clock.advance(600)
        assert (await api.http.get(code["link"])).json()["code"] == "payment_code_expired"


async def ask(payee: Phone, payer: Phone | str, amount: str = "25", **more: Any) -> Any:
    handle = payer if isinstance(payer, str) else payer.handle
    body = {"id": str(uuid7(payee.api.clock)), "payer": handle, "asset": "USDT", "amount": amount, **more}
    return await payee.post("/v1/payment_requests", body)


def acceptance(api: API, **more: Any) -> dict[str, Any]:
    return {"payment_id": str(uuid7(api.clock)), **more}


class TestRequests:
    async def test_a_request_is_seen_accepted_and_shown_as_paid(self, api, aye, ko):
        made = await ask(ko, aye)
        assert made.status_code == 201
        path = f"/v1/payment_requests/{made.json()['id']}"
        listed = (await aye.get("/v1/payment_requests?role=payer&state=open")).json()
        assert listed == {"requests": [made.json()], "next_before": None}

        body = acceptance(api, fee_max="0.025")
        first = await aye.post(f"{path}/accept", body)
        again = await aye.post(f"{path}/accept", body)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.content == again.content
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        assert first.json()["reference"] == made.json()["id"]
        assert (await ko.get(f"/v1/payments/{body['payment_id']}")).json() == first.json()
        for phone in (aye, ko):
            seen = (await phone.get(path)).json()
            assert (seen["state"], seen["payment_id"]) == ("accepted", body["payment_id"])
        assert await ko.available() == "26.000000"
        other = await aye.post(f"{path}/accept", acceptance(api))
        assert (other.status_code, other.json()["code"]) == (409, "payment_request_not_open")
        assert (other.json()["state"], other.json()["payment_id"]) == ("accepted", body["payment_id"])

    @pytest.mark.parametrize(("how", "state"), [("decline", "declined"), ("cancel", "cancelled")])
    async def test_a_request_is_closed_once_and_stays_closed(self, api, aye, ko, how, state):
        made = (await ask(ko, aye)).json()
        path = f"/v1/payment_requests/{made['id']}"
        mine, other = (aye, ko) if how == "decline" else (ko, aye)
        first, again = await mine.post(f"{path}/{how}"), await mine.post(f"{path}/{how}")
        assert (first.status_code, first.json()["state"]) == (200, state)
        assert (first.content, again.headers["idempotency-replayed"]) == (again.content, "true")
        assert (await other.post(f"{path}/{how}")).json()["code"] == "payment_request_not_found"
        answer = await aye.post(f"{path}/accept", acceptance(api))
        assert (answer.json()["code"], answer.json()["state"]) == ("payment_request_not_open", state)
        assert await aye.available() == "100.000000"

    async def test_a_hundred_acceptances_at_once_pay_once(self, api, aye, ko):
        path = f"/v1/payment_requests/{(await ask(ko, aye, '1')).json()['id']}/accept"
        answers = await asyncio.gather(*(aye.post(path, acceptance(api)) for _ in range(100)))
        assert sum(answer.status_code == 201 for answer in answers) == 1
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert await ko.available() == "2.000000"

    async def test_the_same_request_a_hundred_times_at_once_is_one(self, api, aye, ko):
        request_id = str(uuid7(api.clock))
        answers = await asyncio.gather(*(ask(ko, aye, id=request_id) for _ in range(100)))
        assert {answer.content for answer in answers} == {answers[0].content}
        assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1

    async def test_requests_of_others_are_as_those_that_do_not_exist(self, api, aye, ko, refusals):
        made = (await ask(ko, aye)).json()
        stranger = await api.phone("stranger")
        paths = [f"/v1/payment_requests/{each}" for each in (made["id"], uuid7(api.clock))]
        sendings: list[Callable[[str], Awaitable[httpx.Response]]] = [
            stranger.get,
            lambda path: stranger.post(f"{path}/accept", acceptance(api)),
            lambda path: stranger.post(f"{path}/decline"),
            lambda path: stranger.post(f"{path}/cancel"),
            lambda path: stranger.get(f"/v1/payment_requests?role=payer&before={path.rpartition('/')[2]}"),
        ]
        for sending in sendings:
            problems = []
            for path in paths:
                answer = await sending(path)
                problem = answer.json()
                assert (answer.status_code, problem["code"]) == (404, "payment_request_not_found")
                del problem["request_id"], problem["instance"]
                problems.append(problem)
            assert problems[0] == problems[1]
        assert await refusals.code(stranger.get(paths[0]), nonces=1) == "payment_request_not_found"
        for role in ("payer", "payee"):
            listed = (await stranger.get(f"/v1/payment_requests?role={role}")).json()
            assert listed == {"requests": [], "next_before": None}

    async def test_what_is_malformed_is_refused_and_leaves_nothing(self, api, aye, ko, refusals, subtests):
        made = (await ask(ko, aye)).json()
        good = {"id": str(uuid7(api.clock)), "payer": "@aye_aye", "asset": "USDT", "amount": "1"}
        changes: list[tuple[dict[str, Any], str]] = [
            ({"id": "x" * 36}, "id_malformed"),
            ({"id": "0198b0c4-6a2e-4c11-9d2b-3f6f0c1d2e4a"}, "payment_id_malformed"),
            ({"amount": "0"}, "amount_not_positive"),
            ({"amount": "-1"}, "amount_malformed"),
            ({"amount": "1.0000001"}, "amount_too_precise"),
            ({"asset": "XYZ"}, "unknown_asset"),
            ({"payer": "no body"}, "handle_malformed"),
            ({"expires_in_seconds": 59}, "request_malformed"),
            ({"expires_in_seconds": 1e9}, "request_malformed"),
            ({"payee": "@ko_ko"}, "request_malformed"),
            ({"state": "accepted"}, "request_malformed"),
            ({"id": made["id"], "amount": "2"}, "payment_request_id_used_differently"),
        ]
        for change, code in changes:
            with subtests.test(change=change):
                sending = ko.post("/v1/payment_requests", {**good, **change})
                assert await refusals.code(sending, nonces=1) == code
        for query in (
            "",
            "?role=both",
            "?role=payer&state=paid",
            "?role=payer&limit=51",
            "?role=payer&limit=0",
        ):
            with subtests.test(query=query):
                sending = ko.get(f"/v1/payment_requests{query}")
                assert await refusals.code(sending, nonces=0) == "request_malformed"

    async def test_more_than_the_payer_has_is_refused_and_the_request_stays_open(self, api, aye, ko):
        path = f"/v1/payment_requests/{(await ask(ko, aye, '1000')).json()['id']}"
        answer = await aye.post(f"{path}/accept", acceptance(api))
        assert (answer.json()["code"], answer.json()["new_id_needed"]) == ("insufficient_funds", True)
        assert (await ko.get(path)).json()["state"] == "open"


GOOD: dict[str, dict[str, Any]] = {
    "/v1/payment_requests": {"payer": "@aye_aye", "asset": "USDT", "amount": "1", "expires_in_seconds": 60},
    "/v1/payment_codes": {"asset": "USDT", "amount": "1", "expires_in_seconds": 60},
    "/v1/payment_codes/read": {"code": "NUGPAY:1FFVW6X3LN4A4B4HVBMSTV5XT"},
}
"""Bodies from which made-up ones are bent; a request's id is added."""

NIL = "00000000-0000-0000-0000-000000000000"

NASTY = ["\x00", "0" * 36, NIL, "9" * 19, "-0", "1e3", "ကြ", "\ud800", 2**63, -1]
"""Values that break what does not expect them."""


FIELDS = ("id", "payer", "asset", "amount", "expires_in_seconds", "reference", "code", "more")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(sorted(GOOD)),
    changes=st.dictionaries(
        st.sampled_from(FIELDS), JSON_VALUES | st.sampled_from(NASTY), min_size=1, max_size=3
    ),
)
async def test_nothing_that_is_made_up_gets_a_fault_or_moves_money(api, aye, ko, path, changes):
    assert aye.handle == "@aye_aye"
    api.clock.advance(60)
    body: dict[str, Any] = dict(GOOD[path])
    if path.endswith("requests"):
        body["id"] = str(uuid7(api.clock))
    body |= changes
    before = api.rows()["ledger_transfer"]
    answer = await ko.post(path, body)
    assert answer.status_code < 500, answer.text
    assert answer.status_code in {200, 201} or answer.json()["money_moved"] == "false"
    assert api.rows()["ledger_transfer"] == before


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/handles/%00",
        "/v1/handles/%F0%9F%92%A9",
        "/v1/handles/..%2Fhealth",
        "/v1/handles/" + "a" * 31,
        "/v1/payment_requests/%00",
        "/v1/payment_requests/00000000-0000-0000-0000-000000000000",
        "/v1/payment_requests?role=payer&before=00000000-0000-0000-0000-000000000000",
        "/v1/payment_requests/%00/accept",
        "/v1/payment_requests/%00/decline",
        "/p/%00",
        "/p/1" + "A" * 400,
    ],
)
async def test_no_path_that_is_made_up_is_answered_with_a_fault(aye, method, path):
    body = {"payment_id": "0198b0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a"} if method == "POST" else None
    answer = await aye.send(method, path, body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["money_moved"] == "false"
