"""Bodies, paths, queries and enrolments in a form that this API does not read.

Each is a typed refusal, and nothing is written: the number of rows of every table
and the balances of both parties are compared before and after.
"""

import json
from collections.abc import AsyncIterator

from nugpay_client.keys import DeviceKey

from tests.wallet_api.conftest import Phone
from wallet_api.gate import BODY_BYTES_MAX


class TestBody:
    async def test_what_is_not_json(self, aye, refusals, subtests):
        for raw in [
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
        ]:
            with subtests.test(raw=raw):
                assert await refusals.code(aye.post("/v1/payments", raw=raw)) == "json_malformed"

    async def test_json_that_is_no_payment(self, aye, refusals, subtests):
        for raw in [b"[]", b"null", b"1", b'"text"', b"{}"]:
            with subtests.test(raw=raw):
                assert await refusals.code(aye.post("/v1/payments", raw=raw)) == "request_malformed"

    async def test_a_name_that_stands_twice(self, aye, ko, refusals, subtests):
        once = json.dumps(aye.payment(ko, "0.01"))
        for again in ['"amount":"50"', '"amount":"0.01"', '"\\u0061mount":"50"', '"payee":"@aye_aye"']:
            raw = (once.removesuffix("}") + f",{again}}}").encode()
            with subtests.test(again=again):
                assert await refusals.code(aye.post("/v1/payments", raw=raw)) == "request_malformed"
        assert await aye.available() == "100.000000"

    async def test_a_name_that_stands_twice_says_which(self, aye):
        answer = await aye.post("/v1/wallet", raw=b'{"handle":"one_one","handle":"two_two"}')
        assert (answer.status_code, answer.json()["field"]) == (422, "handle")

    async def test_a_name_that_stands_twice_further_inside(self, api):
        phone = Phone(api, DeviceKey.generate())
        body = json.dumps({"code": await api.code(), "public_key": phone.key.public_jwk})
        raw = body.replace('"public_key": {', '"public_key": {"kty": "EC", ').encode()
        before = api.rows()
        answer = await phone.post("/v1/enrolments", raw=raw)
        assert (answer.json()["code"], answer.json()["field"]) == ("request_malformed", "kty")
        assert api.rows() == before

    async def test_two_content_types(self, aye, ko, refusals, subtests):
        for name, values in [
            ("content-type", ("application/json", "text/plain")),
            ("content-type", ("text/plain", "application/json")),
            ("content-type", ("application/json", "application/json")),
            ("content-encoding", ("gzip", "identity")),
        ]:
            with subtests.test(name=name, values=values):
                body = json.dumps(aye.payment(ko, "1")).encode()
                made = {**aye.signed("POST", "/v1/payments", body), "content-type": "application/json"}
                made.pop(name, None)
                headers = [*made.items(), *((name, value) for value in values)]
                sending = aye.api.http.post("/v1/payments", content=body, headers=headers)
                assert await refusals.code(sending) == "content_type_not_accepted"

    async def test_no_body_at_all(self, aye, refusals):
        assert await refusals.code(aye.post("/v1/payments")) == "json_malformed"

    async def test_a_wrong_content_type(self, aye, ko, refusals, subtests):
        for kind in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin-1",
            "multipart/form-data",
            "application/jsonp",
        ]:
            with subtests.test(kind=kind):
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

    async def test_a_length_that_cannot_be(self, aye, ko, refusals, subtests):
        for length in ["-1", "x", "1e3", "999999999999"]:
            with subtests.test(length=length):
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


class TestRoutes:
    async def test_a_path_that_is_nothing(self, api, refusals, subtests):
        for path in ["/", "/v1", "/v2/wallet", "/v1/payment", "/v1/wallet/", "/docs"]:
            with subtests.test(path=path):
                assert await refusals.code(api.http.get(path)) == "route_not_found"

    async def test_a_method_that_is_not_answered(self, api, refusals):
        assert await refusals.code(api.http.delete("/v1/payments")) == "method_not_allowed"
        assert "POST" in (await api.http.delete("/v1/payments")).headers["allow"]

    async def test_a_query_of_another_form(self, aye, refusals, subtests):
        for path, code in [
            ("/v1/history?limit=0", "request_malformed"),
            ("/v1/history?limit=101", "request_malformed"),
            ("/v1/history?limit=1e6", "request_malformed"),
            ("/v1/history?page=2", "request_malformed"),
            ("/v1/fees/payment?asset=USDT", "request_malformed"),
            ("/v1/fees/payment?asset=USDT&amount=1.0000001", "amount_too_precise"),
            ("/v1/fees/payment?asset=XYZ&amount=1", "unknown_asset"),
        ]:
            with subtests.test(path=path):
                assert await refusals.code(aye.get(path)) == code

    async def test_a_query_that_makes_no_sense(self, aye, refusals, subtests):
        for path, code in [
            ("/v1/history?cursor=x", "cursor_malformed"),
            ("/v1/history?asset=XYZ", "unknown_asset"),
            ("/v1/payments/x", "id_malformed"),
            ("/v1/payments/%F0%9F%92%A9", "id_malformed"),
        ]:
            with subtests.test(path=path):
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

    async def test_a_public_key_that_is_none(self, api, subtests):
        for jwk in [
            {},
            {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
            {"kty": "oct", "k": "AAAA"},
            {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA"},
        ]:
            with subtests.test(jwk=jwk):
                phone = Phone(api, DeviceKey.generate())
                body = {"code": await api.code(), "public_key": jwk}
                before = api.rows()
                answer = await phone.post("/v1/enrolments", body)
                assert answer.json()["code"] in {"public_key_malformed", "request_malformed"}
                assert api.rows() == before

    async def test_a_handle_that_cannot_be_had(self, api, refusals, subtests):
        for handle, code in [
            ("ab", "handle_malformed"),
            ("1abc", "handle_malformed"),
            ("support", "handle_reserved"),
            ("@KO_KO", "handle_taken"),
        ]:
            with subtests.test(handle=handle):
                phone = await api.enrolled()
                assert await refusals.code(phone.post("/v1/wallet", {"handle": handle}), nonces=1) == code

    async def test_a_second_handle(self, aye, refusals):
        sending = aye.post("/v1/wallet", {"handle": "other_one"})
        assert await refusals.code(sending, nonces=1) == "wallet_already_open"
