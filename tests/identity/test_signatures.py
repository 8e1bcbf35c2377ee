"""The strict profile of RFC 9421: what is accepted, and each refusal by its code."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import http_message_signatures
import http_message_signatures.algorithms as library_algorithms
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from nugpay_client.keys import DeviceKey
from nugpay_client.signing import signature_headers

from foundation.clock import SECOND_NS, SettableClock, SystemClock, datetime_from_ns
from foundation.errors import Refusal
from identity.errors import IdentityCode
from identity.keys import PublicKey
from identity.signatures import (
    WINDOW_SECONDS,
    SignedRequest,
    check_content_digest,
    check_created,
    content_digest,
    parse_signature,
    signature_base,
    verify_signature,
)

NOW = 1_800_000_000
URL = "https://api.example.org/v1/payments?x=1%20y"
TOKEN = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
BODY = b'{"amount":"12.50"}'
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "rfc9421.json").read_text())["vectors"]
ALGORITHMS = ["ed25519", "ecdsa-p256-sha256"]
ED_KEY = DeviceKey.generate("ed25519")
P256_KEY = DeviceKey.generate("ecdsa-p256-sha256")
KEYS = {"ed25519": ED_KEY, "ecdsa-p256-sha256": P256_KEY}


def signed(
    key: DeviceKey = ED_KEY,
    *,
    method: str = "POST",
    url: str = URL,
    body: bytes = BODY,
    created: int = NOW,
    token: str | None = None,
) -> SignedRequest:
    headers = signature_headers(
        key, method=method, url=url, body=body, created=created, nonce="nonce-0123456789abcdef", token=token
    )
    return SignedRequest(
        method=method,
        target_uri=url,
        signature_input=[headers["Signature-Input"]],
        signature=[headers["Signature"]],
        content_digest=[headers["Content-Digest"]] if body else [],
        body=body,
        authorization=[headers["Authorization"]] if token else [],
    )


def check(request: SignedRequest, key: DeviceKey = ED_KEY, now: int = NOW) -> None:
    """All steps that need no database, in the order of the doorkeeper."""
    signature = parse_signature(request)
    check_created(signature, SettableClock(now * SECOND_NS))
    check_content_digest(request, signature)
    verify_signature(request, signature, PublicKey.from_jwk(key.public_jwk))


def code_of(request: SignedRequest, key: DeviceKey = ED_KEY, now: int = NOW) -> IdentityCode:
    with pytest.raises(Refusal) as refusal:
        check(request, key, now)
    assert isinstance(refusal.value.code, IdentityCode)
    return refusal.value.code


class TestAccepted:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_request_with_a_body(self, algorithm):
        check(signed(KEYS[algorithm]), KEYS[algorithm])

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_request_without_a_body(self, algorithm):
        check(signed(KEYS[algorithm], method="GET", body=b""), KEYS[algorithm])

    @pytest.mark.parametrize("offset", [-WINDOW_SECONDS, -1, 0, 1, WINDOW_SECONDS])
    def test_a_clock_within_the_window(self, offset):
        check(signed(created=NOW + offset))

    def test_the_parameters_in_any_order(self):
        key = ED_KEY
        parameters = [f"created={NOW}", f'alg="{key.algorithm}"', 'nonce="nonce-0123456789abcdef"']
        parameters.insert(1, f'keyid="{PublicKey.from_jwk(key.public_jwk).key_id}"')
        request = signed()
        text = '("@method" "@target-uri" "content-digest");' + ";".join(parameters)
        unsigned = replace(request, signature_input=[f"sig={text}"])
        base = signature_base(unsigned, parse_signature(unsigned))
        value = base64.b64encode(key.sign(base)).decode()
        check(replace(unsigned, signature=[f"sig=:{value}:"]))


class TestSession:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    @pytest.mark.parametrize("body", [BODY, b""])
    def test_a_session_is_covered_with_and_without_a_body(self, algorithm, body):
        request = signed(KEYS[algorithm], body=body, token=TOKEN)
        assert request.signature_input[0].startswith("sig=(")
        assert '"authorization")' in request.signature_input[0]
        check(request, KEYS[algorithm])

    def test_another_session_breaks_the_signature(self):
        request = signed(token=TOKEN)
        for line in (f"Bearer {TOKEN[::-1]}", f"bearer {TOKEN}", TOKEN):
            assert code_of(replace(request, authorization=[line])) is IdentityCode.SIGNATURE_WRONG

    def test_a_session_that_is_not_covered_or_not_there_is_refused(self):
        added = replace(signed(), authorization=[f"Bearer {TOKEN}"])
        twice = replace(signed(), authorization=[f"Bearer {TOKEN}"] * 2)
        gone = replace(signed(token=TOKEN), authorization=[])
        for request in (added, twice, gone):
            assert code_of(request) is IdentityCode.SIGNATURE_COMPONENTS_NOT_ACCEPTED

    @pytest.mark.parametrize("lines", [[f"Bearer {'a' * 43}"] * 2, ["Bearer " + "a" * 2000]])
    def test_two_sessions_or_one_that_is_too_long_are_malformed(self, lines):
        request = replace(signed(token=TOKEN), authorization=lines)
        assert code_of(request) is IdentityCode.SIGNATURE_MALFORMED


class TestVectors:
    @pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
    def test_signatures_of_the_rfc_over_other_components_are_refused_by_the_profile(self, vector):
        label = vector["signature_input"].split("=")[0]
        request = replace(
            signed(),
            signature_input=[vector["signature_input"]],
            signature=[f"{label}=:{vector['signature']}:"],
        )
        assert code_of(request) is IdentityCode.SIGNATURE_COMPONENTS_NOT_ACCEPTED


LIBRARY = {
    "ed25519": library_algorithms.ED25519,
    "ecdsa-p256-sha256": library_algorithms.ECDSA_P256_SHA256,
}


class TestLibrary:
    """The library http-message-signatures must see our requests as we do."""

    class Resolver(http_message_signatures.HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id):
            for pair in KEYS.values():
                if PublicKey.from_jwk(pair.public_jwk).key_id == key_id:
                    return pair._private_key.public_key()
            return None

        def resolve_private_key(self, key_id):
            for pair in KEYS.values():
                if PublicKey.from_jwk(pair.public_jwk).key_id == key_id:
                    return pair._private_key
            raise KeyError(key_id)

    def prepared(self, body: bytes) -> requests.PreparedRequest:
        return requests.Request("POST", URL, data=body).prepare()

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_it_verifies_what_our_client_signs(self, algorithm):
        key = KEYS[algorithm]
        message = self.prepared(BODY)
        message.headers.update(
            signature_headers(
                key, method="POST", url=URL, body=BODY, created=SystemClock().now_ns() // SECOND_NS
            )
        )
        verifier = http_message_signatures.HTTPMessageVerifier(
            signature_algorithm=LIBRARY[algorithm], key_resolver=self.Resolver()
        )
        results = verifier.verify(message, max_age=None, body=BODY)
        assert len(results) == 1

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_we_verify_what_it_signs(self, algorithm):
        key = KEYS[algorithm]
        message = self.prepared(BODY)
        message.headers["Content-Digest"] = content_digest(BODY)
        http_message_signatures.HTTPMessageSigner(
            signature_algorithm=LIBRARY[algorithm], key_resolver=self.Resolver()
        ).sign(
            message,
            key_id=PublicKey.from_jwk(key.public_jwk).key_id,
            created=datetime_from_ns(NOW * SECOND_NS),
            nonce="nonce-0123456789abcdef",
            label="sig",
            use_existing_digest=True,
            body=BODY,
            covered_component_ids=("@method", "@target-uri", "content-digest"),
        )
        request = SignedRequest(
            method="POST",
            target_uri=URL,
            signature_input=[str(message.headers["Signature-Input"])],
            signature=[str(message.headers["Signature"])],
            content_digest=[str(message.headers["Content-Digest"])],
            body=BODY,
        )
        check(request, key)


class TestRefused:
    def test_no_signature(self):
        assert code_of(replace(signed(), signature=[])) is IdentityCode.SIGNATURE_MISSING
        assert code_of(replace(signed(), signature_input=[])) is IdentityCode.SIGNATURE_MISSING

    def test_another_method_or_target(self):
        assert code_of(replace(signed(), method="PUT")) is IdentityCode.SIGNATURE_WRONG
        assert code_of(replace(signed(), target_uri=URL + "&more=1")) is IdentityCode.SIGNATURE_WRONG

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_another_key(self, algorithm):
        assert code_of(signed(KEYS[algorithm]), DeviceKey.generate(algorithm)) is IdentityCode.SIGNATURE_WRONG

    def test_a_changed_body(self):
        assert code_of(replace(signed(), body=BODY + b" ")) is IdentityCode.CONTENT_DIGEST_MISMATCH

    def test_a_changed_body_with_its_own_digest(self):
        request = replace(signed(), body=b"{}", content_digest=[content_digest(b"{}")])
        assert code_of(request) is IdentityCode.SIGNATURE_WRONG

    @pytest.mark.parametrize("offset", [-WINDOW_SECONDS - 1, WINDOW_SECONDS + 1, -(10**9), 10**9])
    def test_an_old_or_early_clock_and_the_answer_carries_the_servers_time(self, offset):
        with pytest.raises(Refusal) as refusal:
            check(signed(created=NOW + offset))
        assert refusal.value.code is IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW
        assert refusal.value.data["server_time"] == "2027-01-15T08:00:00.000Z"

    @pytest.mark.parametrize("other", ["ecdsa-p256-sha256", "hmac-sha256", "none", "rsa-pss-sha512", ""])
    def test_an_algorithm_that_is_not_the_keys(self, other):
        request = signed()
        text = request.signature_input[0].replace('alg="ed25519"', f'alg="{other}"')
        assert code_of(replace(request, signature_input=[text])) is (
            IdentityCode.SIGNATURE_ALGORITHM_NOT_ACCEPTED
        )

    def test_a_body_that_is_not_covered(self):
        request = replace(signed(body=b""), body=BODY)
        assert code_of(request) is IdentityCode.CONTENT_DIGEST_MISSING
        assert code_of(replace(request, content_digest=[content_digest(BODY)])) is (
            IdentityCode.CONTENT_DIGEST_MISSING
        )

    def test_a_digest_that_is_covered_and_not_there(self):
        assert code_of(replace(signed(), content_digest=[])) is IdentityCode.CONTENT_DIGEST_MISSING

    @pytest.mark.parametrize(
        "digests",
        [
            [
                "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:"
            ],
            ["md5=:Sd/dVLAcvNLSq16eXua5uQ==:"],
            [f"{content_digest(BODY)}, {content_digest(BODY)}"],
            [content_digest(BODY), content_digest(BODY)],
            [content_digest(BODY) + " "],
            ["sha-256=" + content_digest(BODY)[9:-1]],
            ["SHA-256" + content_digest(BODY)[7:]],
            [""],
            ["é"],
        ],
    )
    def test_a_digest_in_another_form(self, digests):
        assert code_of(replace(signed(), content_digest=digests)) is IdentityCode.CONTENT_DIGEST_MALFORMED

    @pytest.mark.parametrize(
        "components",
        [
            '("@method")',
            '("@target-uri" "@method" "content-digest")',
            '("@method" "@target-uri" "content-digest" "@method")',
            '("@method" "@target-uri" "content-digest" "date")',
            '("@method" "@path" "content-digest")',
            '("@method" "@target-uri" "content-digest";req)',
            '("@method"  "@target-uri" "content-digest")',
            '( "@method" "@target-uri" "content-digest")',
            "()",
        ],
    )
    def test_other_components(self, components):
        request = signed()
        text = re.sub(r"\(.*?\)", lambda _: components, request.signature_input[0])
        assert code_of(replace(request, signature_input=[text])) is (
            IdentityCode.SIGNATURE_COMPONENTS_NOT_ACCEPTED
        )

    @pytest.mark.parametrize(
        ("find", "put"),
        [
            (";created=1800000000", ""),
            (";created=1800000000", ";created=1800000000;created=1800000000"),
            (";created=1800000000", ";created=01800000000"),
            (";created=1800000000", ";created=-1"),
            (";created=1800000000", ";created=1.8e9"),
            (";created=1800000000", ';created="1800000000"'),
            (";created=1800000000", ";created=1800000000;expires=1900000000"),
            (";created=1800000000", ';created=1800000000;tag="x"'),
            (";created=1800000000", ";created=1800000000;x"),
            (";created=1800000000", ";created=999999999999999999999999"),
            ('nonce="nonce-0123456789abcdef"', 'nonce="short"'),
            ('nonce="nonce-0123456789abcdef"', 'nonce="' + "n" * 65 + '"'),
            ('nonce="nonce-0123456789abcdef"', 'nonce=""'),
            ('nonce="nonce-0123456789abcdef"', "nonce=nonce"),
            ('nonce="nonce-0123456789abcdef"', "nonce=5"),
            (';alg="ed25519"', ""),
            (';alg="ed25519"', ";alg=1"),
            ('keyid="', 'keyid="x'),
            ('keyid="', 'Keyid="'),
        ],
    )
    def test_other_parameters(self, find, put):
        request = signed()
        text = request.signature_input[0].replace(find, put)
        assert text != request.signature_input[0]
        assert code_of(replace(request, signature_input=[text])) is (
            IdentityCode.SIGNATURE_PARAMETERS_NOT_ACCEPTED
        )

    def test_headers_in_another_form(self):
        good = signed()
        base64_part = good.signature[0][5:-1]
        for text in (
            "",
            "sig",
            "sig=",
            "sig=()",
            good.signature_input[0] + ", other=" + good.signature_input[0][4:],
            good.signature_input[0] + " ",
            " " + good.signature_input[0],
            good.signature_input[0].upper(),
            good.signature_input[0] + ";" * 2000,
            "\u00e9" + good.signature_input[0],
        ):
            code = code_of(replace(good, signature_input=[text]))
            assert code in {
                IdentityCode.SIGNATURE_MALFORMED,
                IdentityCode.SIGNATURE_PARAMETERS_NOT_ACCEPTED,
            }, text
        for text in (
            "",
            base64_part,
            f"sig={base64_part}",
            f"other=:{base64_part}:",
            f"sig=:{base64_part[:-2]}:",
            f"sig=:{base64_part[:-4]}:",
            f"sig=:{base64_part}AAAA:",
            f"sig=:{base64_part}:, sig=:{base64_part}:",
            f"sig=:{base64_part.replace(base64_part[0], '*')}:",
        ):
            assert code_of(replace(good, signature=[text])) is IdentityCode.SIGNATURE_MALFORMED, text
        twice = [good.signature_input[0]] * 2
        assert code_of(replace(good, signature_input=twice)) is IdentityCode.SIGNATURE_MALFORMED
        assert code_of(replace(good, signature=[good.signature[0]] * 2)) is IdentityCode.SIGNATURE_MALFORMED

    def test_a_second_spelling_of_the_same_signature(self):
        good = signed()
        text = good.signature[0]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        last = text[-4]
        other = alphabet[alphabet.index(last) ^ 1]
        spelled = text[:-4] + other + text[-3:]
        assert base64.b64decode(spelled[5:-1]) == base64.b64decode(text[5:-1])
        assert code_of(replace(good, signature=[spelled])) is IdentityCode.SIGNATURE_MALFORMED


PIECES = [
    "sig",
    "=",
    "(",
    ")",
    '"@method"',
    '"@target-uri"',
    '"content-digest"',
    " ",
    ";",
    "created",
    "=1",
    'nonce="nonce-0123456789abcdef"',
    'alg="ed25519"',
    "keyid=",
    ":",
    "sha-256=:",
    "A" * 43,
    "=:",
    ",",
]
HEADER = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=20).map("".join))


@given(
    signature_input=st.lists(HEADER, max_size=2),
    signature=st.lists(HEADER, max_size=2),
    digest=st.lists(HEADER, max_size=2),
    method=st.text(max_size=10),
    target=st.text(max_size=50),
    body=st.binary(max_size=50),
)
def test_nothing_that_arrives_makes_the_parser_fail_otherwise_than_by_refusing(
    signature_input, signature, digest, method, target, body
):
    request = SignedRequest(method, target, signature_input, signature, digest, body)
    assert isinstance(code_of(request), IdentityCode)


@given(position=st.integers(0, 10_000), replacement=st.characters(max_codepoint=0xFF))
def test_no_single_changed_character_of_a_signed_request_is_accepted(position, replacement):
    good = signed()
    parts = [good.signature_input[0], good.signature[0], good.content_digest[0], good.method, good.target_uri]
    text = "\n".join(parts)
    position %= len(text)
    changed = text[:position] + replacement + text[position + 1 :]
    if changed == text or changed.count("\n") != 4:
        return
    first, second, third, method, target = changed.split("\n")
    with pytest.raises(Refusal):
        check(SignedRequest(method, target, [first], [second], [third], BODY))
