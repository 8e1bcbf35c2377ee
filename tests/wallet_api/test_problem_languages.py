"""Problems in the language that is asked for: every code, every header, and nothing that a program reads."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nugpay_client import InsufficientFunds, Wallet

from foundation.errors import Refusal, RefusalCode, Unavailable
from foundation.languages.catalogues import all_texts
from tests.wallet_api.conftest import BASE
from wallet_api.problem import internal_response, refusal_response, unavailable_response
from wallet_api.problem_kinds import PROBLEM_KINDS

SPOKEN = ("title", "detail", "about_money", "what_to_do")
"""The members of a problem that are for people."""

DATA: dict[str, Any] = {
    "amount": "1250.500000", "fee": "0.025000", "limit": "100.00", "asset": "USDT", "handle": "ko_ko",
    "field": "payee", "scale": 6, "window_seconds": 300,
}  # fmt: skip
ASKED = {"path": "/v1/x", "request_id": "request-1"}


def told(code: RefusalCode | str, language: str) -> tuple[dict[str, Any], Any]:
    if isinstance(code, RefusalCode):
        refusal = Refusal(code, "An English sentence.", **DATA)
        answer = refusal_response(refusal, **ASKED, accept_language=language)
    else:
        away = Unavailable(code, "An English sentence.", outcome_unknown=True)
        answer = unavailable_response(away, **ASKED, accept_language=language)
    return json.loads(bytes(answer.body)), answer.headers


def is_burmese(text: str) -> bool:
    return any("\u1000" <= sign <= "\u109f" for sign in text)


@pytest.mark.parametrize("code", list(PROBLEM_KINDS), ids=str)
@pytest.mark.parametrize("language", ["my", "ksw", "rki-MM"])
def test_every_code_is_told_in_burmese_and_programs_read_the_same(code, language):
    english, headers = told(code, "en")
    burmese, burmese_headers = told(code, language)
    assert (headers["content-language"], burmese_headers["content-language"]) == ("en", "my")
    assert headers["vary"] == burmese_headers["vary"] == "Accept-Language"
    assert english["detail"] == "An English sentence."
    for member in SPOKEN:
        assert not is_burmese(english[member])
        assert is_burmese(burmese[member])
        assert "{" not in burmese[member]
    assert {key: value for key, value in english.items() if key not in SPOKEN} == {
        key: value for key, value in burmese.items() if key not in SPOKEN
    }


def test_an_unknown_outcome_and_a_fault_of_ours_are_told_in_burmese():
    answer = internal_response(**ASKED, accept_language="my", may_have_moved=True)
    problem = json.loads(bytes(answer.body))
    assert (problem["code"], problem["money_moved"]) == ("internal_error", "unknown")
    assert "မသိရသေးပါ" in problem["about_money"]
    assert problem["about_money"] != told("ledger_busy", "en")[0]["about_money"]


class TestThroughTheAPI:
    async def test_a_payment_that_is_refused_is_explained_with_burmese_digits(self, aye, ko):
        answer = await aye.post(
            "/v1/payments", aye.payment(ko, "1250.5"), headers={"Accept-Language": "my-MM, en;q=0.5"}
        )
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "insufficient_funds")
        assert "၁,၂၅၀.၅၀ USDT" in problem["detail"]
        assert problem["amount"] == "1250.500000"
        assert answer.headers["content-language"] == "my"
        assert answer.headers["vary"] == "Accept-Language"

    async def test_without_the_header_it_is_english(self, aye, ko):
        answer = await aye.pay(ko, "1250.5")
        assert answer.headers["content-language"] == "en"
        assert answer.json()["about_money"] == "This request has moved no money."

    async def test_the_gate_s_own_refusals_are_translated_and_several_headers_are_one_list(self, api):
        headers = [("Accept-Language", "fr"), ("Accept-Language", "my;q=0.5"), ("Content-Length", "999999")]
        answer = await api.http.post("/v1/payments", headers=headers)
        assert answer.json()["code"] == "body_too_large"
        assert answer.headers["content-language"] == "my"

    async def test_a_place_without_a_field_s_name_is_told_by_its_title(self, aye):
        answer = await aye.post("/v1/wallet", raw=b"[]", headers={"Accept-Language": "my"})
        problem = answer.json()
        assert problem["code"] == "request_malformed"
        assert problem["detail"] == problem["title"]
        assert is_burmese(problem["detail"])

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.binary(max_size=60) | st.text("mykswen*-_;=,.01 ", max_size=60).map(str.encode))
    async def test_no_header_makes_another_answer_of_it(self, api, header):
        answer = await api.http.get("/v1/nothing", headers=[(b"accept-language", header)])
        assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")
        assert answer.headers["content-language"] in {"en", "my"}

    async def test_no_answer_reads_a_catalogue(self, api):
        before = all_texts.cache_info().misses
        for language in ("my", "ksw", "en", "shn;q=0.1"):
            await api.http.get("/v1/nothing", headers={"Accept-Language": language})
        assert all_texts.cache_info().misses == before

    async def test_the_client_asks_in_its_language_and_has_the_text_for_people(self, api, aye, ko):
        async with Wallet(BASE, aye.key, http=api.http, language="my") as wallet:
            with pytest.raises(InsufficientFunds) as caught:
                await wallet.pay(wallet.order(ko.handle, "1250.5", "USDT"))
        problem = caught.value.problem
        assert "၁,၂၅၀.၅၀ USDT" in problem.text
        assert problem.about_money in problem.text
        assert problem.what_to_do in problem.text
