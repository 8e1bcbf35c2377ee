"""Bad input: each kind is a typed refusal, and nothing is written.

Every test compares the number of rows of every table before and after, and the
balances of both parties with them.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nugpay_client.keys import DeviceKey

from foundation.assets import USDT
from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from wallet_api.gate import BODY_BYTES_MAX
from wallet_api.problem_kinds import PROBLEM_KINDS

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def aye(api):
    return await api.phone("aye_aye", "100")


@pytest.fixture
async def ko(api):
    return await api.phone("ko_ko", "1")


class Refusals:
    """Sends requests that must be refused, and checks that nothing has happened."""

    def __init__(self, api: API, *phones: Phone) -> None:
        self.api = api
        self.phones = phones

    async def state(self) -> tuple[list[Any], dict[str, int]]:
        balances = [(await phone.get("/v1/balances")).json() for phone in self.phones]
        return balances, {
            # Asking for balances leaves nonces of its own, and so does a request whose
            # signature is good and whose content is not.
            name: count
            for name, count in self.api.rows().items()
            if name != "identity_nonce"
        }

    async def code(self, sending: Awaitable[httpx.Response], *, nonces: int = 0) -> str:
        """The code of the problem that the request gets; ``nonces`` of them may be recorded."""
        before = await self.state()
        nonces_before = self.api.rows()["identity_nonce"]
        answer = await sending
        nonces_after = self.api.rows()["identity_nonce"]
        assert answer.status_code >= 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert answer.status_code == problem["status"] == PROBLEM_KINDS[problem["code"]].status
        assert problem["money_moved"] == "false"
        assert problem["retryable"] in {"true", "false"}
        assert problem["what_to_do"]
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert nonces_after - nonces_before == nonces
        balances, rows = await self.state()
        if problem.get("new_id_needed"):
            # The ledger remembers that this id failed: that is what makes it stay refused.
            for name in ("ledger_failed_id", "ledger_batch"):
                rows[name] = before[1][name]
        assert (balances, rows) == before
        return str(problem["code"])


@pytest.fixture
def refusals(api, aye, ko):
    return Refusals(api, aye, ko)


class TestSignature:
    async def test_a_request_that_is_not_signed(self, api, aye, ko, refusals):
        body = aye.payment(ko, "1")
        assert await refusals.code(api.http.post("/v1/payments", json=body)) == "signature_missing"
        for path in (
            "/v1/wallet",
            "/v1/balances",
            "/v1/history",
            "/v1/deposits",
            f"/v1/payments/{body['id']}",
        ):
            assert await refusals.code(api.http.get(path)) == "signature_missing"

    async def test_a_wrong_signature(self, aye, ko, refusals):
        body = aye.payment(ko, "1")
        other = "sig=:" + "A" * 86 + "==:"
        sending = aye.post("/v1/payments", body, headers={"Signature": other})
        assert await refusals.code(sending) == "signature_wrong"

    async def test_a_key_that_nobody_enrolled(self, aye, ko, refusals):
        sending = aye.post("/v1/payments", aye.payment(ko, "1"), key=DeviceKey.generate())
        assert await refusals.code(sending) == "signature_key_unknown"

    async def test_somebody_elses_key_id(self, aye, ko, refusals):
        class Impostor:
            algorithm = aye.key.algorithm
            public_jwk = aye.key.public_jwk
            sign = staticmethod(ko.key.sign)

        sending = aye.post("/v1/payments", aye.payment(ko, "1"), key=Impostor())
        assert await refusals.code(sending) == "signature_wrong"

    @pytest.mark.parametrize("seconds", [-301, 301, -86_400 * 14])
    async def test_a_wrong_clock_and_the_answer_carries_the_servers_time(
        self, api, aye, ko, refusals, seconds
    ):
        created = api.clock.now_ns() // 10**9 + seconds
        body = aye.payment(ko, "1")
        assert await refusals.code(aye.post("/v1/payments", body, created=created)) == (
            "signature_clock_out_of_window"
        )
        problem = (await aye.post("/v1/payments", body, created=created)).json()
        assert problem["server_time"] == "2027-01-15T08:00:00.000Z"

    async def test_a_replayed_nonce(self, aye, ko, refusals):
        nonce = "nonce-0123456789"
        assert (await aye.get("/v1/wallet", nonce=nonce)).status_code == 200
        sending = aye.post("/v1/payments", aye.payment(ko, "1"), nonce=nonce)
        assert await refusals.code(sending) == "nonce_replayed"

    async def test_a_changed_body(self, aye, ko, refusals):
        body, larger = aye.payment(ko, "1"), aye.payment(ko, "99")
        sending = aye.post("/v1/payments", body, sent=json.dumps(larger).encode())
        assert await refusals.code(sending) == "content_digest_mismatch"

    async def test_another_path_or_query(self, aye, refusals):
        assert await refusals.code(aye.get("/v1/balances", signed_path="/v1/wallet")) == "signature_wrong"
        assert await refusals.code(aye.get("/v1/history?limit=2", signed_path="/v1/history")) == (
            "signature_wrong"
        )

    async def test_another_algorithm(self, aye, ko, refusals):
        class Confused:
            algorithm = "ecdsa-p256-sha256"
            public_jwk = aye.key.public_jwk
            sign = staticmethod(aye.key.sign)

        sending = aye.post("/v1/payments", aye.payment(ko, "1"), key=Confused())
        assert await refusals.code(sending) == "signature_algorithm_not_accepted"

    async def test_a_signature_over_other_components(self, aye, refusals):
        header = '("@method");created=1800000000;nonce="nonce-0123456789";keyid="%s";alg="ed25519"'
        sending = aye.get("/v1/wallet", headers={"Signature-Input": "sig=" + header % ("A" * 43)})
        assert await refusals.code(sending) == "signature_components_not_accepted"

    async def test_a_401_says_how_to_sign(self, api):
        answer = await api.http.get("/v1/wallet")
        assert answer.headers["www-authenticate"].startswith("Signature")
        assert '"@target-uri"' in answer.headers["accept-signature"]


class TestPayment:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"asset": "EUR"}, "unknown_asset"),
            ({"asset": "usdt"}, "unknown_asset"),
            ({"amount": "0"}, "amount_not_positive"),
            ({"amount": "0.000000"}, "amount_not_positive"),
            ({"amount": "-1"}, "amount_malformed"),
            ({"amount": "+1"}, "amount_malformed"),
            ({"amount": "1e3"}, "amount_malformed"),
            ({"amount": "1,000"}, "amount_malformed"),
            ({"amount": "01"}, "amount_malformed"),
            ({"amount": "1."}, "amount_malformed"),
            ({"amount": ".5"}, "amount_malformed"),
            ({"amount": " 1"}, "amount_malformed"),
            ({"amount": "NaN"}, "amount_malformed"),
            ({"amount": "Infinity"}, "amount_malformed"),
            ({"amount": "١٢"}, "amount_malformed"),
            ({"amount": "1.0000001"}, "amount_too_precise"),
            ({"amount": "1.0000000"}, "amount_too_precise"),
            ({"amount": "9223372036854.775808"}, "amount_out_of_range"),
            ({"amount": "9223372036854.775807"}, "insufficient_funds"),
            ({"amount": "100.000001"}, "insufficient_funds"),
            ({"amount": "100"}, "insufficient_funds"),
            ({"payee": "@nobody_here"}, "payee_unknown"),
            ({"payee": "no body"}, "handle_malformed"),
            ({"payee": "@"}, "handle_malformed"),
            ({"payee": "@AYE_aye"}, "payee_is_payer"),
            ({"fee_max": "0.000001"}, "fee_above_maximum"),
            ({"fee_max": "x"}, "amount_malformed"),
            ({"id": "0198b0c4-6a2e-4c11-9d2b-3f6f0c1d2e4a"}, "payment_id_malformed"),
            ({"id": "x" * 36}, "id_malformed"),
            ({"id": "00000000-0000-0000-0000-000000000000"}, "payment_id_malformed"),
            ({"id": "ffffffff-ffff-ffff-ffff-ffffffffffff"}, "payment_id_malformed"),
            ({"reference": "x" * 36}, "id_malformed"),
        ],
        ids=str,
    )
    async def test_content_that_makes_no_sense(self, aye, ko, refusals, change, code):
        body = {**aye.payment(ko, "1"), **change}
        assert await refusals.code(aye.post("/v1/payments", body), nonces=1) == code

    @pytest.mark.parametrize(
        "change",
        [
            {"amount": 1},
            {"amount": 1.5},
            {"amount": None},
            {"amount": True},
            {"amount": ["1"]},
            {"amount": ""},
            {"amount": "1" * 41},
            {"amount": "1" * 5000},
            {"asset": "U" * 17},
            {"asset": 1},
            {"payee": "a" * 32},
            {"payee": {"$ne": ""}},
            {"id": "1"},
            {"id": "a" * 37},
            {"reference": "a" * 37},
            {"fee": "0"},
            {"payer": "@ko_ko"},
            {"created_at": "2020-01-01T00:00:00Z"},
            {"__proto__": {}},
        ],
        ids=lambda change: str(change)[:40],
    )
    async def test_fields_of_another_form_or_unknown_ones_or_too_long_ones(self, aye, ko, refusals, change):
        body = {**aye.payment(ko, "1"), **change}
        assert await refusals.code(aye.post("/v1/payments", body), nonces=1) == "request_malformed"

    async def test_a_missing_field_is_named(self, aye, ko):
        for field in ("id", "payee", "asset", "amount"):
            body = aye.payment(ko, "1")
            del body[field]
            problem = (await aye.post("/v1/payments", body)).json()
            assert (problem["code"], problem["field"]) == ("request_malformed", field)

    async def test_the_id_of_somebody_elses_payment(self, aye, ko, refusals):
        body = aye.payment(ko, "5")
        assert (await aye.post("/v1/payments", body)).status_code == 201
        stolen = {**ko.payment(aye, "0.5"), "id": body["id"]}
        assert await refusals.code(ko.post("/v1/payments", stolen), nonces=1) == "payment_id_taken"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("amount", "5.000001"),
            ("asset", "USDC"),
            ("payee", "@third"),
            ("reference", "0198b0c4-6a2e-4c11-9d2b-3f6f0c1d2e4a"),
        ],
    )
    async def test_an_id_with_other_content_names_the_field_that_differs(
        self, api, aye, ko, refusals, field, value
    ):
        await api.phone("third")
        body = aye.payment(ko, "5")
        assert (await aye.post("/v1/payments", body)).status_code == 201
        changed = {**body, field: value}
        assert await refusals.code(aye.post("/v1/payments", changed), nonces=1) == (
            "payment_id_used_differently"
        )
        answer = await aye.post("/v1/payments", changed)
        assert (answer.status_code, answer.json()["field"]) == (422, field)

    async def test_a_refused_id_needs_a_new_one_and_says_so(self, aye, ko, refusals):
        body = aye.payment(ko, "1000")
        first = await aye.post("/v1/payments", body)
        assert first.json()["code"] == "insufficient_funds"
        assert first.json()["new_id_needed"] is True
        assert await refusals.code(aye.post("/v1/payments", body), nonces=1) == "payment_already_refused"


class TestBody:
    @pytest.mark.parametrize(
        "raw",
        [
            b"{",
            b"{]",
            b"not json",
            b'{"id": }',
            b"\xff\xfe{}",
            b'"\\ud800"' * 2,
            b"{" + b'"a":' * 500,
            b"[" * 5000,
            b"{}{}",
            b"\x00",
        ],
        ids=lambda raw: repr(raw[:12]),
    )
    async def test_what_is_not_json(self, aye, refusals, raw):
        assert await refusals.code(aye.post("/v1/payments", raw=raw), nonces=1) == "json_malformed"

    @pytest.mark.parametrize("raw", [b"[]", b"null", b"1", b'"text"', b"{}"], ids=repr)
    async def test_json_that_is_no_payment(self, aye, refusals, raw):
        assert await refusals.code(aye.post("/v1/payments", raw=raw), nonces=1) == "request_malformed"

    async def test_no_body_at_all(self, aye, refusals):
        assert await refusals.code(aye.post("/v1/payments"), nonces=1) == "json_malformed"

    @pytest.mark.parametrize(
        "kind",
        ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
         "multipart/form-data", "application/jsonp"],
    )  # fmt: skip
    async def test_a_wrong_content_type(self, aye, ko, refusals, kind):
        sending = aye.post("/v1/payments", aye.payment(ko, "1"), headers={"Content-Type": kind})
        assert await refusals.code(sending) == "content_type_not_accepted"

    async def test_a_compressed_body(self, aye, ko, refusals):
        sending = aye.post("/v1/payments", aye.payment(ko, "1"), headers={"Content-Encoding": "gzip"})
        assert await refusals.code(sending) == "content_type_not_accepted"

    async def test_a_charset_of_utf_8_is_accepted(self, aye, ko):
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        assert (await aye.post("/v1/payments", aye.payment(ko, "1"), headers=headers)).status_code == 201

    async def test_a_body_that_is_too_long(self, aye, refusals):
        raw = b" " * (BODY_BYTES_MAX + 1)
        assert await refusals.code(aye.post("/v1/payments", raw=raw)) == "body_too_large"

    async def test_a_body_that_is_too_long_and_does_not_say_so(self, api, refusals):
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(BODY_BYTES_MAX // 1000 + 2):
                yield b" " * 1000

        sending = api.http.post(
            "/v1/payments", content=chunks(), headers={"Content-Type": "application/json"}
        )
        assert await refusals.code(sending) == "body_too_large"

    @pytest.mark.parametrize("length", ["-1", "x", "1e3", "999999999999"])
    async def test_a_length_that_cannot_be(self, aye, ko, refusals, length):
        sending = aye.post("/v1/payments", aye.payment(ko, "1"), headers={"Content-Length": length})
        assert await refusals.code(sending) == "body_too_large"

    async def test_a_body_of_a_read_is_refused(self, aye, refusals):
        sending = aye.send("GET", "/v1/balances", sent=b"{}", headers={"Content-Type": "application/json"})
        assert await refusals.code(sending) == "content_digest_missing"

    async def test_a_path_or_header_that_is_too_long(self, aye, refusals):
        assert await refusals.code(aye.get("/v1/history?cursor=" + "a" * 3000)) == "headers_too_large"
        assert await refusals.code(aye.get("/v1/wallet", headers={"X-Long": "a" * 20_000})) == (
            "headers_too_large"
        )


class TestOtherPeoplesThings:
    async def test_a_payment_of_others_is_not_found(self, api, aye, ko, refusals):
        body = aye.payment(ko, "5")
        await aye.post("/v1/payments", body)
        stranger = await api.phone("stranger")
        path = f"/v1/payments/{body['id']}"
        assert await refusals.code(stranger.get(path), nonces=1) == "payment_not_found"
        unknown = f"/v1/payments/{uuid7(api.clock)}"
        problems = [(await stranger.get(each)).json() for each in (path, unknown)]
        for problem in problems:
            del problem["request_id"], problem["instance"]
        assert problems[0] == problems[1]

    async def test_a_device_without_a_wallet_gets_told_to_open_one(self, api, refusals):
        phone = await api.enrolled()
        for path in ("/v1/wallet", "/v1/balances", "/v1/history"):
            assert await refusals.code(phone.get(path), nonces=1) == "wallet_not_open"


class TestRoutes:
    @pytest.mark.parametrize("path", ["/", "/v1", "/v2/wallet", "/v1/payment", "/v1/wallet/", "/docs"])
    async def test_a_path_that_is_nothing(self, api, refusals, path):
        assert await refusals.code(api.http.get(path)) == "route_not_found"

    async def test_a_method_that_is_not_answered(self, api, refusals):
        assert await refusals.code(api.http.delete("/v1/payments")) == "method_not_allowed"
        assert "POST" in (await api.http.delete("/v1/payments")).headers["allow"]

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/v1/history?limit=0", "request_malformed"),
            ("/v1/history?limit=101", "request_malformed"),
            ("/v1/history?limit=1e6", "request_malformed"),
            ("/v1/history?page=2", "request_malformed"),
            ("/v1/fees/payment?asset=USDT", "request_malformed"),
            ("/v1/fees/payment?asset=USDT&amount=1.0000001", "amount_too_precise"),
            ("/v1/fees/payment?asset=XYZ&amount=1", "unknown_asset"),
        ],
    )
    async def test_a_query_of_another_form(self, aye, refusals, path, code):
        assert await refusals.code(aye.get(path)) == code

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/v1/history?cursor=x", "cursor_malformed"),
            ("/v1/history?asset=XYZ", "unknown_asset"),
            ("/v1/payments/x", "id_malformed"),
            ("/v1/payments/%F0%9F%92%A9", "id_malformed"),
        ],
    )
    async def test_a_query_that_makes_no_sense(self, aye, refusals, path, code):
        assert await refusals.code(aye.get(path), nonces=1) == code


class TestEnrolment:
    async def test_a_wrong_code(self, api, refusals):
        key = DeviceKey.generate()
        phone = Phone(api, key)
        body = {"code": "K7QF2M9X-3JD8WZ-PQ4T7V-N2C5RA", "public_key": key.public_jwk}
        assert await refusals.code(phone.post("/v1/enrolments", body)) == "enrolment_code_wrong"

    async def test_a_key_that_the_sender_does_not_hold(self, api, refusals):
        key = DeviceKey.generate()
        phone = Phone(api, key)
        body = {"code": await api.code(), "public_key": DeviceKey.generate().public_jwk}
        assert await refusals.code(phone.post("/v1/enrolments", body)) == "signature_key_unknown"

    async def test_a_body_that_was_changed_on_its_way(self, api, refusals):
        key = DeviceKey.generate()
        phone = Phone(api, key)
        body = {"code": await api.code(), "public_key": key.public_jwk}
        other = json.dumps({**body, "code": await api.code()}).encode()
        sending = phone.post("/v1/enrolments", body, sent=other)
        assert await refusals.code(sending) == "content_digest_mismatch"

    @pytest.mark.parametrize(
        "jwk",
        [
            {},
            {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
            {"kty": "oct", "k": "AAAA"},
            {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA"},
        ],
        ids=str,
    )
    async def test_a_public_key_that_is_none(self, api, jwk):
        phone = Phone(api, DeviceKey.generate())
        body = {"code": await api.code(), "public_key": jwk}
        before = api.rows()
        answer = await phone.post("/v1/enrolments", body)
        assert answer.json()["code"] in {"public_key_malformed", "request_malformed"}
        assert api.rows() == before

    @pytest.mark.parametrize(
        ("handle", "code"),
        [
            ("ab", "handle_malformed"),
            ("1abc", "handle_malformed"),
            ("support", "handle_reserved"),
            ("@KO_KO", "handle_taken"),
        ],
    )
    async def test_a_handle_that_cannot_be_had(self, api, refusals, handle, code):
        phone = await api.enrolled()
        assert await refusals.code(phone.post("/v1/wallet", {"handle": handle}), nonces=1) == code

    async def test_a_second_handle(self, aye, refusals):
        sending = aye.post("/v1/wallet", {"handle": "other_one"})
        assert await refusals.code(sending, nonces=1) == "wallet_already_open"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(
        st.sampled_from(["id", "payee", "asset", "amount", "fee_max", "reference", "more"]),
        JSON_VALUES,
        min_size=1,
        max_size=4,
    )
)
async def test_no_payment_that_is_made_up_is_answered_with_a_fault_or_moves_money(api, aye, ko, changes):
    body = {**aye.payment(ko, "1"), "reference": None, **changes}
    before = api.rows()["ledger_transfer"]
    answer = await aye.post("/v1/payments", body)
    harmless = {key: value for key, value in changes.items() if value is not None}
    if answer.status_code == 201:
        assert not harmless.keys() - {"amount"}
        assert re.fullmatch(r"[0-9.]+", str(changes.get("amount", "1")))
    else:
        assert 400 <= answer.status_code < 500
        assert answer.json()["money_moved"] == "false"
        assert api.rows()["ledger_transfer"] == before


async def test_funds_stay_where_they_are_after_all_this(api, aye, ko):
    await api.fund(aye, "1", USDT)
    assert await aye.available() == "101.000000"
    assert await ko.available() == "1.000000"
