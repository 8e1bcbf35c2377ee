"""Requests that are not signed as they must be.

Each is a typed refusal, and nothing is written: the number of rows of every table
and the balances of both parties are compared before and after.
"""

import json

from nugpay_client.keys import DeviceKey


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

    async def test_a_wrong_clock_and_the_answer_carries_the_servers_time(
        self, api, aye, ko, refusals, subtests
    ):
        for seconds in [-301, 301, -86_400 * 14]:
            with subtests.test(seconds=seconds):
                created = api.clock.now_ns() // 10**9 + seconds
                body = aye.payment(ko, "1")
                assert await refusals.code(aye.post("/v1/payments", body, created=created)) == (
                    "signature_clock_out_of_window"
                )
                problem = (await aye.post("/v1/payments", body, created=created)).json()
                assert problem["server_time"] == "2027-01-15T08:00:00.000Z"

    async def test_a_replayed_nonce(self, aye, refusals):
        nonce = "nonce-0123456789"
        assert (await aye.get("/v1/wallet", nonce=nonce)).status_code == 200
        assert await refusals.code(aye.get("/v1/balances", nonce=nonce)) == "nonce_replayed"

    async def test_a_replayed_payment_is_the_same_payment_and_moves_nothing(self, aye, ko):
        body, nonce = aye.payment(ko, "1"), "nonce-0123456789"
        first = await aye.post("/v1/payments", body, nonce=nonce)
        before = await ko.available()
        again = await aye.post("/v1/payments", body, nonce=nonce)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert await ko.available() == before

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
