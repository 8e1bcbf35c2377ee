"""The mobile API as a phone sees it: enrol, pay, ask, and the same answer for ever."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn, cast
from uuid import UUID

import httpx
import pytest
from nugpay_client.keys import DeviceKey
from sqlalchemy.exc import OperationalError

from foundation.assets import ASSETS, DMMK, USDT
from foundation.ids import uuid7
from ledger.contract import Transfer
from ledger.interface import Ledger, LedgerBusy, LedgerUnavailable
from tests.wallet_api.conftest import API, Phone


class TestEnrolment:
    @pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256-sha256"])
    async def test_a_phone_enrols_and_opens_a_wallet(self, api, algorithm):
        phone = await api.enrolled(DeviceKey.generate(algorithm))
        opened = await phone.post("/v1/wallet", {"handle": "Aye_Aye"})
        assert opened.status_code == 201
        assert opened.json() == {"handle": "@aye_aye", "created_at": "2027-01-15T08:00:00.000000Z"}
        assert (await phone.get("/v1/wallet")).json() == opened.json()

    async def test_the_same_enrolment_again_gives_the_same_answer(self, api):
        phone = Phone(api, DeviceKey.generate())
        body = {"code": await api.code(lifetime=timedelta(hours=1)), "public_key": phone.key.public_jwk}
        first = await phone.post("/v1/enrolments", body)
        api.clock.advance(86_400)
        again = await phone.post("/v1/enrolments", body)
        assert (first.status_code, first.content) == (again.status_code, again.content)
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"

    async def test_opening_the_wallet_again_gives_the_same_answer(self, api):
        phone = await api.enrolled()
        first = await phone.post("/v1/wallet", {"handle": "aye"})
        api.clock.advance(60)
        again = await phone.post("/v1/wallet", {"handle": "@AYE"})
        assert (first.status_code, first.content) == (again.status_code, again.content)

    async def test_a_second_device_has_the_same_wallet(self, api):
        first = await api.phone("aye", "5")
        device = await api.connections.doorkeeper._devices.find(
            (await first.get("/v1/wallet")).request.headers["signature-input"].split('keyid="')[1][:43]
        )
        second = Phone(api, DeviceKey.generate("ecdsa-p256-sha256"))
        code = await api.code(person_id=device.person_id)
        await second.post("/v1/enrolments", {"code": code, "public_key": second.key.public_jwk})
        assert (await second.get("/v1/wallet")).json()["handle"] == "@aye"
        assert await second.available() == "5.000000"


class TestPayments:
    async def test_a_payment_moves_amount_and_fee(self, api):
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        reference = str(uuid7(api.clock))
        body = aye.payment(ko, "25.5", fee_max="0.03", reference=reference)
        answer = await aye.post("/v1/payments", body)

        assert answer.status_code == 201
        payment = answer.json()
        assert re.fullmatch(r"2027-01-15T08:00:00\.\d{6}Z", payment.pop("created_at"))
        assert payment == {
            "id": body["id"],
            "payer": "@aye",
            "payee": "@ko_ko",
            "asset": "USDT",
            "amount": "25.500000",
            "fee": "0.025500",
            "total": "25.525500",
            "reference": reference,
        }
        assert await aye.available() == "74.474500"
        assert await ko.available() == "25.500000"

    async def test_the_same_payment_again_gives_the_same_bytes_and_pays_once(self, api):
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        body = aye.payment(ko, "25")
        first = await aye.post("/v1/payments", body)
        api.clock.advance(14 * 86_400)
        again = await aye.post("/v1/payments", body)
        asked = await aye.get(f"/v1/payments/{body['id']}")
        assert (first.status_code, again.status_code, asked.status_code) == (201, 201, 200)
        assert first.content == again.content == asked.content
        assert again.headers["idempotency-replayed"] == "true"
        assert await ko.available() == "25.000000"

    async def test_the_same_payment_again_is_the_same_also_if_its_reference_is_nil(self, api):
        aye, ko = await api.phone("aye_aye", "100"), await api.phone("ko_ko")
        body = aye.payment(ko, "25", reference=str(UUID(int=0)))
        first = await aye.post("/v1/payments", body)
        again = await aye.post("/v1/payments", body)
        assert (first.status_code, first.json()["reference"]) == (201, None)
        assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
        assert await aye.available() == "74.975000"

    async def test_the_same_payment_fifty_times_at_once_pays_once(self, api):
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        body = aye.payment(ko, "25")
        answers = await asyncio.gather(*(aye.post("/v1/payments", body) for _ in range(50)))
        assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
        assert Counter(answer.headers.get("idempotency-replayed") for answer in answers) == {
            None: 1,
            "true": 49,
        }
        assert await ko.available() == "25.000000"
        assert await aye.available() == "74.975000"

    async def test_one_signed_request_sent_many_times_at_once_is_carried_out_once(self, api):
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        body = aye.payment(ko, "25")
        answers = await asyncio.gather(
            *(aye.post("/v1/payments", body, nonce="the-very-same-one") for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert Counter(answer.headers.get("idempotency-replayed") for answer in answers) == {
            None: 1,
            "true": 19,
        }
        assert await ko.available() == "25.000000"

    async def test_of_two_payments_that_race_for_one_balance_one_wins(self, api):
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        answers = await asyncio.gather(aye.pay(ko, "60"), aye.pay(ko, "60"))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 1}
        assert await ko.available() == "60.000000"

    async def test_only_its_two_parties_see_a_payment(self, api):
        aye, ko, stranger = await api.phone("aye", "100"), await api.phone("ko_ko"), await api.phone("else")
        body = aye.payment(ko, "25")
        await aye.post("/v1/payments", body)
        path = f"/v1/payments/{body['id']}"
        statuses = [(await phone.get(path)).status_code for phone in (aye, ko, stranger)]
        assert statuses == [200, 200, 404]

    async def test_a_fee_is_told_before_it_is_paid(self, api):
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        quoted = (await api.http.get("/v1/fees/payment?asset=USDT&amount=25")).json()
        assert quoted == {"asset": "USDT", "amount": "25.000000", "fee": "0.025000", "total": "25.025000"}
        paid = (await aye.post("/v1/payments", aye.payment(ko, "25", fee_max=quoted["fee"]))).json()
        assert (paid["fee"], paid["total"]) == (quoted["fee"], quoted["total"])

    async def test_all_of_it_is_small_enough_for_2g(self, api):
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        paid = await aye.pay(ko, "25")
        refused = await aye.pay(ko, "2500")
        balances = await aye.get("/v1/balances")
        assert max(len(answer.content) for answer in (paid, refused, balances)) < 1024


class TestReads:
    async def test_balances_name_every_asset(self, api):
        aye = await api.phone("aye", "100")
        answer = (await aye.get("/v1/balances")).json()["balances"]
        assert [each["asset"] for each in answer] == [asset.code for asset in ASSETS]
        assert answer[0] == {
            "asset": "USDT",
            "balance": "100.000000",
            "reserved": "0.000000",
            "available": "100.000000",
        }

    async def test_history_pages_with_the_balance_after_each_line(self, api):
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        await api.fund(aye, "1000000", DMMK)
        await aye.pay(ko, "25")
        first = (await aye.get("/v1/history?limit=3")).json()
        second = (await aye.get(f"/v1/history?limit=3&cursor={first['next_cursor']}")).json()
        shown = [
            (
                line["kind"],
                line["direction"],
                line["asset"],
                line["amount"],
                line["balance"],
                line["counterparty"],
            )
            for line in first["lines"] + second["lines"]
        ]
        assert shown == [
            ("payment_fee", "out", "USDT", "0.025000", "74.975000", None),
            ("payment", "out", "USDT", "25.000000", "75.000000", "@ko_ko"),
            ("deposit", "in", "DMMK", "1000000.00", "1000000.00", None),
            ("deposit", "in", "USDT", "100.000000", "100.000000", None),
        ]
        assert second["next_cursor"] is None
        only = (await aye.get("/v1/history?asset=DMMK")).json()
        assert [line["asset"] for line in only["lines"]] == ["DMMK"]

    async def test_what_is_open_needs_no_signature(self, api):
        assert (await api.http.get("/v1/time")).json() == {"server_time": "2027-01-15T08:00:00.000000Z"}
        assert (await api.http.get("/v1/health")).json()["status"] == "ok"
        assets = (await api.http.get("/v1/assets")).json()["assets"]
        assert assets[0] == {"asset": "USDT", "name": "Tether USD", "scale": 6}

    async def test_nothing_on_chain_is_told_before_the_contracts_are_deployed(self, api):
        aye = await api.phone("aye")
        for path in ("/v1/deposit_address?asset=USDT", "/v1/deposits"):
            answer = await aye.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "deployment_not_found")


class TestHeaders:
    async def test_every_answer_stays_out_of_caches_and_browsers(self, api):
        for path in ("/v1/time", "/v1/wallet", "/nothing"):
            headers = (await api.http.get(path)).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert "server" not in headers

    async def test_the_request_id_is_echoed_or_made(self, api):
        asked = await api.http.get("/v1/time", headers={"X-Request-Id": "my-request-1"})
        assert asked.headers["x-request-id"] == "my-request-1"
        for bad in ("short", "x" * 65, "a b c d e f", "<script>alert(1)</script>"):
            answer = await api.http.get("/v1/time", headers={"X-Request-Id": bad})
            assert re.fullmatch(r"[0-9a-f]{24}", answer.headers["x-request-id"])


class BrokenLedger:
    """A ledger that fails as it is told, and otherwise is the real one."""

    def __init__(self, ledger: Ledger, error: Exception) -> None:
        self._ledger = ledger
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def create_transfers(self, transfers: Sequence[Transfer]) -> NoReturn:
        del transfers
        raise self._error


class TestTrouble:
    async def problem(self, api: API, error: Exception) -> httpx.Response:
        aye, ko = await api.phone("aye", "100"), await api.phone("ko_ko")
        whole = api.connections.ledger
        api.connections.ledger = cast(Ledger, BrokenLedger(whole, error))
        answer = await aye.pay(ko, "25")
        api.connections.ledger = whole
        return answer

    async def test_an_outcome_that_is_unknown_is_said_to_be(self, api):
        answer = await self.problem(api, LedgerUnavailable("no answer", outcome_unknown=True))
        problem = answer.json()
        assert answer.status_code == 503
        assert (problem["code"], problem["retryable"], problem["money_moved"]) == (
            "ledger_unavailable",
            "unknown",
            "unknown",
        )
        assert int(answer.headers["retry-after"]) >= 1

    async def test_a_busy_ledger_has_done_nothing_and_says_when_to_come_back(self, api):
        answer = await self.problem(api, LedgerBusy(7))
        problem = answer.json()
        assert (problem["code"], problem["retryable"], problem["money_moved"]) == (
            "ledger_busy",
            "true",
            "false",
        )
        assert answer.headers["retry-after"] == "7"

    async def test_a_database_that_goes_away_in_the_middle_leaves_the_outcome_open(self, api):
        error = OperationalError("select", {}, Exception("gone"))
        problem = (await self.problem(api, error)).json()
        assert (problem["code"], problem["money_moved"]) == ("database_unavailable", "unknown")

    async def test_a_fault_of_ours_is_a_problem_too_and_tells_nothing_of_itself(self, api):
        answer = await self.problem(api, ZeroDivisionError("secret detail"))
        problem = answer.json()
        assert answer.status_code == 500
        assert (problem["code"], problem["retryable"], problem["money_moved"]) == (
            "internal_error",
            "unknown",
            "unknown",
        )
        assert "secret" not in answer.text
        assert problem["request_id"] == answer.headers["x-request-id"]

    async def test_a_ledger_that_is_away_is_not_healthy(self, api):
        class Away:
            async def lookup_accounts(self, ids):
                del ids
                raise LedgerUnavailable("gone", outcome_unknown=False)

        whole = api.connections.ledger
        api.connections.ledger = cast(Ledger, Away())
        answer = await api.http.get("/v1/health")
        api.connections.ledger = whole
        assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")


async def test_wallets_that_pay_one_another_at_random_keep_the_sum(api):
    phones = [await api.phone(f"wallet_{i}", "100", USDT) for i in range(8)]
    payments = [
        phones[i % 8].pay(phones[(i * 3 + 1) % 8], f"{i % 30 + 1}")
        for i in range(160)
        if i % 8 != (i * 3 + 1) % 8
    ]
    answers = await asyncio.gather(*payments)
    assert {answer.status_code for answer in answers} <= {201, 409}
    paid = [answer.json() for answer in answers if answer.status_code == 201]
    assert paid
    held = [int((await phone.available()).replace(".", "")) for phone in phones]
    assert sum(held) + sum(int(each["fee"].replace(".", "")) for each in paid) == 800_000_000
