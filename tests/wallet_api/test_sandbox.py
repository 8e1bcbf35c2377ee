"""The sandbox over HTTP: a clock that is moved, and amounts that force each failure."""

import json
import time
from pathlib import Path

import httpx
import pytest

from chain.deployments import Deployment, TokenInfo, save_deployment
from foundation.assets import DMMK, USDT
from foundation.clock import SettableClock
from foundation.sandbox_clock import SandboxClock, sandbox_clock_path
from foundation.settings import Settings
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_withdrawals import OUTSIDE, TOKEN, VAULT
from wallet_api.app import create_app
from wallet_api.openapi import DOCUMENT
from wallet_api.problem_kinds import PROBLEM_KINDS
from wallet_api.sandbox.forcing import Refuses
from wallet_api.sandbox.magic_amounts import MAGIC_PAYMENTS, MAGIC_WITHDRAWALS

BY_THE_REQUEST_ITSELF = {
    "json_malformed", "cbor_malformed", "host_malformed", "host_not_accepted", "method_not_allowed",
    "body_too_slow", "body_too_large", "content_type_not_accepted", "headers_too_large", "request_malformed",
    "unknown_asset", "amount_malformed", "amount_too_precise", "amount_out_of_range", "id_malformed",
    "payment_id_malformed", "memo_malformed", "amount_not_positive", "handle_malformed", "wallet_not_open",
    "address_malformed", "address_checksum_mismatch", "withdrawal_id_malformed", "session_missing",
    "withdrawal_amount_not_positive", "memo_for_former_handle", "nonce_replayed",
}  # fmt: skip
"""Problems that a client brings about by what it sends, so that nobody has to force them."""

OF_OTHERS = (
    "signature_", "content_digest_", "release_", "cold_", "debt", "fees_are_less", "trip_not_found",
    "internal_error",
)  # fmt: skip
"""How codes begin that a bent signature brings about, or that customers never meet."""

REFUSED_PAYMENTS = [each for each in MAGIC_PAYMENTS.values() if isinstance(each.effect, Refuses)]
REFUSED_WITHDRAWALS = [each for each in MAGIC_WITHDRAWALS.values() if isinstance(each.effect, Refuses)]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    made = Settings(home=tmp_path, database_url=database_url, api_host="api.test", api_port=80, sandbox=True)
    save_deployment(
        made.home,
        Deployment(
            chain_id=made.chain_id,
            genesis_hash="0x" + "00" * 32,
            block_number=1,
            vault=VAULT,
            implementation="0x" + "22" * 20,
            tokens={"USDT": TokenInfo(address=TOKEN, decimals=6)},
        ),
    )
    return made


@pytest.fixture
def clock(settings: Settings) -> SandboxClock:
    return SandboxClock(sandbox_clock_path(settings), SettableClock())


def amount(number: int, units: int = 5) -> str:
    return f"{units}.{number:06d}"


def said(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["nugpay-sandbox"] == "1"
    return answer.status_code, answer.json().get("code", "")


class TestRefusals:
    @pytest.mark.parametrize("magic", REFUSED_PAYMENTS, ids=lambda magic: magic.code)
    async def test_each_refusal_of_a_payment_is_forced_and_moves_nothing(self, aye, ko, magic):
        order = aye.payment(ko, amount(magic.number))
        answer = await aye.post("/v1/payments", order)
        kind = PROBLEM_KINDS[magic.code]
        assert said(answer) == (kind.status, magic.code)
        assert answer.json()["money_moved"] == "false"
        assert answer.json().get("new_id_needed", False) == kind.new_id_needed
        assert ("retry-after" in answer.headers) == (kind.status == 429)
        assert (await aye.available(), await ko.available()) == ("100.000000", "1.000000")
        assert said(await aye.get(f"/v1/payments/{order['id']}")) == (404, "payment_not_found")
        # What a refusal does to its id it does here as well.
        again = await aye.post("/v1/payments", order | {"amount": "5"})
        assert said(again)[1] == ("payment_already_refused" if kind.new_id_needed else "")
        in_burmese = await aye.post("/v1/payments", order, headers={"Accept-Language": "my"})
        assert in_burmese.headers["content-language"] == "my"

    @pytest.mark.parametrize("magic", REFUSED_WITHDRAWALS, ids=lambda magic: magic.code)
    async def test_each_refusal_of_a_withdrawal_is_forced_and_holds_nothing(self, aye, magic):
        order = withdrawal(aye, amount(magic.number))
        answer = await aye.post("/v1/withdrawals", order)
        assert said(answer) == (PROBLEM_KINDS[magic.code].status, magic.code)
        assert answer.json()["money_moved"] == "false"
        assert await aye.available() == "100.000000"
        assert (await aye.get("/v1/withdrawals")).json()["withdrawals"] == []

    @pytest.mark.parametrize(
        ("path", "table"), [("/v1/payments", MAGIC_PAYMENTS), ("/v1/withdrawals", MAGIC_WITHDRAWALS)]
    )
    def test_every_problem_that_nobody_brings_about_by_a_request_can_be_forced(self, path, table):
        responses = json.loads(DOCUMENT.read_text())["paths"][path]["post"]["responses"].values()
        described = {
            code
            for response in responses
            for content in response["content"].values()
            for code in content.get("examples", {})
        }
        wanted = {code for code in described - BY_THE_REQUEST_ITSELF if not code.startswith(OF_OTHERS)}
        forced = {magic.code for magic in table.values()}
        assert wanted <= forced
        assert forced <= described | {"slow"}

    async def test_what_is_wrong_with_a_request_is_refused_first(self, api, aye, ko):
        order = aye.payment(ko, amount(9_911))
        unsigned = await api.http.post("/v1/payments", json=order)
        assert said(unsigned) == (401, "signature_missing")
        assert said(await aye.post("/v1/payments", order | {"more": 1})) == (422, "request_malformed")
        assert said(await aye.post("/v1/payments", raw=b"{")) == (400, "json_malformed")

    async def test_the_last_digits_decide_in_every_asset_and_other_amounts_pay(self, api, aye, ko):
        await api.fund(aye, "1000", DMMK)
        assert said(await aye.pay(ko, "99.11", "DMMK"))[1] == "insufficient_funds"
        assert said(await aye.pay(ko, "0.009911"))[1] == "insufficient_funds"
        for paid in (await aye.pay(ko, "9.911"), await aye.pay(ko, "99.10", "DMMK")):
            assert said(paid) == (201, "")


def withdrawal(phone: Phone, text: str) -> dict[str, str]:
    return {"id": phone.payment("@x_x", "1")["id"], "asset": "USDT", "amount": text, "to_address": OUTSIDE}


class TestUnknown:
    @pytest.mark.parametrize("number", [9_902, 9_904])
    async def test_a_payment_whose_answer_is_lost_was_made_and_is_told_when_asked_for(self, aye, ko, number):
        order = aye.payment(ko, amount(number))
        lost = await aye.post("/v1/payments", order)
        assert said(lost) == (503, MAGIC_PAYMENTS[number].code)
        assert (lost.json()["money_moved"], lost.json()["retryable"]) == ("unknown", "unknown")
        found = await aye.get(f"/v1/payments/{order['id']}")
        assert found.json()["amount"] == amount(number)
        again = await aye.post("/v1/payments", order)
        assert (again.content, again.headers["idempotency-replayed"]) == (found.content, "true")
        assert await ko.available() == "6.00" + str(number)

    async def test_one_that_was_not_made_is_told_as_unknown_too_and_asking_tells(self, aye, ko):
        order = aye.payment(ko, amount(9_903))
        for _ in range(2):
            lost = await aye.post("/v1/payments", order)
            assert (said(lost)[1], lost.json()["money_moved"]) == ("ledger_unavailable", "unknown")
        assert said(await aye.get(f"/v1/payments/{order['id']}")) == (404, "payment_not_found")
        assert await aye.available() == "100.000000"

    async def test_a_withdrawal_whose_answer_is_lost_is_held_once(self, aye):
        order = withdrawal(aye, amount(9_902))
        assert said(await aye.post("/v1/withdrawals", order)) == (503, "ledger_unavailable")
        assert said(await aye.get(f"/v1/withdrawals/{order['id']}"))[0] == 200
        held = await aye.available()
        assert said(await aye.post("/v1/withdrawals", order)) == (201, "")
        assert await aye.available() == held != "100.000000"

    async def test_a_refusal_of_its_own_comes_before_what_is_forced(self, aye, ko):
        assert said(await aye.pay(ko, amount(9_902, 500)))[1] == "insufficient_funds"


class TestPatience:
    async def test_busy_is_told_twice_with_when_to_come_back_and_then_it_is_paid(self, aye, ko):
        order = aye.payment(ko, amount(9_901))
        for _ in range(2):
            busy = await aye.post("/v1/payments", order)
            assert said(busy) == (503, "ledger_busy")
            assert (busy.json()["money_moved"], busy.headers["retry-after"]) == ("false", "2")
        for _ in range(2):
            assert said(await aye.post("/v1/payments", order)) == (201, "")
        assert await ko.available() == "6.009901"

    async def test_a_slow_answer_comes_after_its_time_and_is_paid(self, aye, ko):
        began = time.monotonic()
        assert said(await aye.pay(ko, amount(9_905))) == (201, "")
        assert time.monotonic() - began >= 5


class TestClock:
    async def test_it_is_moved_for_everything_and_forward_only(self, api: API, aye: Phone, ko: Phone):
        before = (await api.http.get("/v1/sandbox")).json()["clock"]
        assert before["ahead_seconds"] == 0
        moved = await api.http.post("/v1/sandbox/clock", json={"advance_seconds": 86_400})
        assert (said(moved), moved.json()["ahead_seconds"]) == ((200, ""), 86_400)
        assert SandboxClock(sandbox_clock_path(api.connections.settings)).ahead_seconds == 86_400
        paid = (await aye.pay(ko, "1")).json()
        assert paid["created_at"] >= moved.json()["now"] > before["now"]
        for wrong in (0, -1, 1.5, 10**9, "5"):
            answer = await api.http.post("/v1/sandbox/clock", json={"advance_seconds": wrong})
            assert said(answer) == (422, "request_malformed")

    async def test_what_needs_time_happens_when_it_is_moved(self, api: API, aye: Phone, ko: Phone):
        asked = {"id": ko.payment(aye, "1")["id"], "payer": "@aye_aye", "amount": "3", "asset": "USDT"}
        made = await ko.post("/v1/payment_requests", asked | {"expires_in_seconds": 3_600})
        assert made.json()["state"] == "open"
        await api.http.post("/v1/sandbox/clock", json={"advance_seconds": 3_600})
        assert (await aye.get(f"/v1/payment_requests/{asked['id']}")).json()["state"] == "expired"


class TestBeingOne:
    async def test_every_answer_says_that_it_is_a_sandbox(self, api: API, aye: Phone):
        for answer in (
            await api.http.get("/v1/health"),
            await api.http.get("/v1/nothing_here"),
            await aye.get("/v1/balances"),
            await aye.get("/v1/history"),
            await api.http.post("/v1/payments", content=b"x"),
        ):
            assert answer.headers.get_list("nugpay-sandbox") == ["1"]

    async def test_it_lists_what_amounts_force(self, api: API):
        listed = (await api.http.get("/v1/sandbox")).json()
        for name, table in (("payments", MAGIC_PAYMENTS), ("withdrawals", MAGIC_WITHDRAWALS)):
            assert [each["minor_units_end_in"] for each in listed[name]] == list(table)
        first = listed["payments"][0]
        assert (first["example"], first["code"]) == ("0.009901", "ledger_busy")


class TestBeingNone:
    """A bank that is no sandbox has nothing of it."""

    async def test_amounts_are_amounts_and_nothing_is_reachable(self, api: API, aye: Phone, ko: Phone):
        settings = Settings(
            home=api.connections.settings.home,
            database_url=api.database.url,
            api_host="api.test",
            api_port=80,
        )
        app = create_app(settings)
        app.state.connections = api.connections
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as http:
            api.http = http
            for magic in MAGIC_PAYMENTS.values():
                paid = await aye.pay(ko, f"0.0{magic.number:05d}")
                assert paid.status_code == 201, paid.text
                assert "nugpay-sandbox" not in paid.headers
            for method, path in (("GET", "/v1/sandbox"), ("POST", "/v1/sandbox/clock")):
                answer = await http.request(method, path)
                assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")

    def test_its_operations_are_not_described_where_nobody_finds_them(self):
        assert "sandbox" not in DOCUMENT.read_text()
        assert USDT.code in DOCUMENT.read_text()
