"""Attacks on every signed operation, generated from the OpenAPI document.

Somebody on the way takes a request that its owner signed, and sends it again, later, to
another place or with another content. Every one of these is refused before anything is
looked at, or is the same thing again; no table may change, but for what counts requests.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from nugpay_client.keys import DeviceKey, key_id
from nugpay_client.signing import signature_headers

from foundation.clock import SECOND_NS
from foundation.ids import uuid7
from tests.wallet_api.conftest import API, Phone
from tests.wallet_api.test_matrix import DESCRIPTION, Owner, body_of, contents, deployment, filled, owner

__all__ = ["deployment", "owner"]

SIGNED = [
    (method.upper(), path, operation)
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
    if {"deviceSignature": []} in operation.get("security", [])
]

OF_A_NEW_KEY = {"/v1/enrolments", "/v1/recovery/completions"}
"""Operations that are signed by a key which stands in the body, and is nobody's yet."""

ONCE_BY_ITSELF = {"/v1/payments", *OF_A_NEW_KEY}
"""Operations without a nonce: their id, code or key makes the same request the same thing."""

OUT_OF_WINDOW = (-301, 301, -86_400, 86_400)
"""Seconds between the server's time and ``created``."""

BASE = "http://api.test"


@dataclass(frozen=True)
class Captured:
    """A good request, as somebody on the way sees it."""

    method: str
    target: str
    body: bytes
    headers: dict[str, str]

    def bent(self, **changes: Any) -> "Captured":
        """The same with other parts; a header of None is left out."""
        headers = self.headers | changes.pop("headers", {})
        parts = {"method": self.method, "target": self.target, "body": self.body} | changes
        return Captured(
            **parts, headers={name: value for name, value in headers.items() if value is not None}
        )


class Attacker:
    """Sends what was captured, bent."""

    def __init__(self, api: API, owner: Owner) -> None:
        self.api = api
        self.owner = owner
        self.sent = 0

    def capture(self, method: str, path: str, operation: dict[str, Any], *, seconds: int = 0) -> Captured:
        body, kind = self.body(operation)
        # A month names nobody's object, so the owner has none.
        month = {"asset": "USDT", "month": "2026-11"}
        target = filled(path, month | self.owner.ids) + self.query(operation)
        phone = self.owner.phone
        headers = signature_headers(
            phone.key,
            method=method,
            url=BASE + target,
            body=body,
            created=self.api.clock.now_ns() // SECOND_NS + seconds,
            token=phone.token,
        )
        if body:
            headers["Content-Type"] = kind
        return Captured(method, target, body, headers)

    def body(self, operation: dict[str, Any]) -> tuple[bytes, str]:
        """What the document shows as a body, and of which kind it is."""
        kinds = operation.get("requestBody", {}).get("content", {"application/json": {}})
        if "text/csv" in kinds:
            return b"handle,amount,reference\r\n@ko_ko,1.00,one\r\n", "text/csv"
        made = body_of(operation, self.owner, self.api)
        return b"" if made is None else json.dumps(made).encode(), "application/json"

    def query(self, operation: dict[str, Any]) -> str:
        """What the operation cannot do without; a parameter that has no place here fails the test."""
        needed = [
            one["name"]
            for one in operation.get("parameters", ())
            if one["in"] == "query" and one.get("required")
        ]
        known = {"role": "payer", "id": str(uuid7(self.api.clock)), "asset": "USDT", "amount": "1"}
        return "?" + "&".join(f"{name}={known[name]}" for name in needed) if needed else ""

    async def send(self, request: Captured) -> httpx.Response:
        self.sent += 1
        return await self.api.http.request(
            request.method, request.target, content=request.body, headers=request.headers
        )


def parameter(request: Captured, name: str, value: str) -> dict[str, str]:
    """Signature-Input with another value of a parameter."""
    before, _, after = request.headers["Signature-Input"].partition(f'{name}="')
    return {"Signature-Input": f'{before}{name}="{value}{after[after.index(chr(34)) :]}'}


def flipped(request: Captured, at: int) -> dict[str, str]:
    raw = bytearray(base64.b64decode(request.headers["Signature"].removeprefix("sig=:").rstrip(":")))
    raw[at // 8] ^= 1 << at % 8
    return {"Signature": f"sig=:{base64.b64encode(raw).decode()}:"}


def attacks(good: Captured, stranger: Phone) -> list[tuple[str, Captured, set[str]]]:
    """Each attack: what it is called, what is sent, and the codes that it may be refused with."""
    wrong = {"signature_wrong"}
    found: list[tuple[str, Captured, set[str] | None]] = [
        ("a byte of the signature", good.bent(headers=flipped(good, at)), wrong)
        for at in (0, 7, 200, 255, 256, 400)
    ]
    # The upper bits of S: a number beyond the group's order, which would be another spelling.
    found.append(("another spelling", good.bent(headers=flipped(good, 511)), wrong))
    found += [
        (
            "another query",
            good.bent(target=good.target + ("&" if "?" in good.target else "?") + "x=1"),
            wrong | {"request_malformed"},
        ),
        ("another host", good.bent(headers={"Host": "127.0.0.1"}), wrong | {"host_not_accepted"}),
        ("another algorithm", good.bent(headers=parameter(good, "alg", "hmac-sha256")), None),
        ("no algorithm", good.bent(headers=parameter(good, "alg", "none")), None),
        ("the other algorithm", good.bent(headers=parameter(good, "alg", "ecdsa-p256-sha256")), None),
        ("another nonce", good.bent(headers=parameter(good, "nonce", "n" * 22)), wrong),
        (
            "another key",
            good.bent(headers=parameter(good, "keyid", key_of(stranger))),
            wrong,
        ),
        ("no signature", good.bent(headers={"Signature": None}), {"signature_missing"}),
        ("no input", good.bent(headers={"Signature-Input": None}), {"signature_missing"}),
        (
            "less covered",
            good.bent(
                headers={"Signature-Input": good.headers["Signature-Input"].replace('"@target-uri"', "")}
            ),
            {"signature_components_not_accepted"},
        ),
        ("a body that nobody signed", good.bent(body=good.body + b" "), None),
    ]
    if good.body:
        swapped = good.body.replace(b"}", b',"x":1}') if b"}" in good.body else good.body * 2
        digest = signature_headers(stranger.key, method="POST", url=BASE, body=swapped, created=0)
        found += [
            ("another body", good.bent(body=swapped), {"content_digest_mismatch"}),
            (
                "another body with its digest",
                good.bent(body=swapped, headers={"Content-Digest": digest["Content-Digest"]}),
                wrong,
            ),
            ("no digest", good.bent(headers={"Content-Digest": None}), {"content_digest_missing"}),
        ]
    if "Authorization" in good.headers:
        found += [
            (
                "another session",
                good.bent(headers={"Authorization": f"Bearer {'A' * 43}"}),
                wrong,
            ),
            (
                "no session",
                good.bent(headers={"Authorization": None}),
                {"signature_components_not_accepted"},
            ),
        ]
    return [(name, request, codes or ANY_OF_THE_FORM) for name, request, codes in found]


ANY_OF_THE_FORM = {
    "signature_wrong",
    "signature_algorithm_not_accepted",
    "signature_parameters_not_accepted",
    "content_digest_missing",
    "content_digest_mismatch",
    "content_type_not_accepted",
}


def key_of(phone: Phone) -> str:
    return key_id(phone.key.public_jwk)


@pytest.fixture
async def attacker(api: API, owner: Owner) -> Attacker:
    return Attacker(api, owner)


async def test_no_bent_request_is_taken_for_its_owners(api: API, attacker: Attacker) -> None:
    stranger = await api.phone("stranger", "10")
    before = contents(api)
    for method, path, operation in SIGNED:
        for name, request, codes in attacks(attacker.capture(method, path, operation), stranger):
            answer = await attacker.send(request)
            what = f"{name}: {method} {path}: {answer.status_code} {answer.text[:200]}"
            assert answer.status_code in {400, 401, 415, 421, 422}, what
            expected = codes
            if path in OF_A_NEW_KEY:
                # The key is in the body here, and is looked at only when the code's form is.
                expected = codes | ANY_OF_THE_FORM | {"signature_key_unknown", "request_malformed"}
            assert answer.json()["code"] in expected, what
    assert contents(api) == before
    assert attacker.sent > 15 * len(SIGNED) > 15 * 40


async def test_no_request_is_taken_out_of_its_time(api: API, attacker: Attacker) -> None:
    before = contents(api)
    for method, path, operation in SIGNED:
        for seconds in OUT_OF_WINDOW:
            answer = await attacker.send(attacker.capture(method, path, operation, seconds=seconds))
            assert answer.json()["code"] == "signature_clock_out_of_window", f"{method} {path} {seconds}"
    assert contents(api) == before


async def test_a_signature_of_one_operation_is_good_for_no_other(api: API, attacker: Attacker) -> None:
    before = contents(api)
    captured = [(operation, attacker.capture(*operation)) for operation in SIGNED]
    for at, (_, mine) in enumerate(captured):
        for step in (1, 7):
            (_, path, _), other = captured[(at + step) % len(captured)]
            if (mine.method, mine.target) == (other.method, other.target) or path in OF_A_NEW_KEY:
                continue
            answer = await attacker.send(mine.bent(method=other.method, target=other.target))
            assert answer.json()["code"] in {"signature_wrong", "content_type_not_accepted"}, (
                f"{mine.method} {mine.target} at {other.method} {other.target}: {answer.text[:200]}"
            )
    assert contents(api) == before


async def test_whatever_was_sent_is_carried_out_once(api: API, attacker: Attacker) -> None:
    for method, path, operation in SIGNED:
        if (
            (path in ONCE_BY_ITSELF and method == "POST")
            or path == "/v1/sessions"
            or path.startswith("/v1/sessions/")
        ):
            # Ending the owner's session would end this test; sessions have one of their own.
            continue
        if (method, path) == ("DELETE", "/v1/devices/{device_id}"):
            continue
        request = attacker.capture(method, path, operation)
        first = await attacker.send(request)
        between = contents(api)
        again = await attacker.send(request)
        assert again.json()["code"] == "nonce_replayed", f"{method} {path}: {first.status_code} {again.text}"
        assert contents(api) == between, f"{method} {path}"


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/pin"])
async def test_a_replayed_login_opens_nothing(api: API, path: str) -> None:
    phone = await api.phone("mya_mya", "5")
    assert (await phone.set_pin("730512")).status_code == 200
    method, body = ("POST", {"pin": "730512"}) if path == "/v1/sessions" else ("PUT", {"pin": "730512"})
    nonce = "nonce-0123456789"
    first = await phone.send(method, path, body, nonce=nonce)
    before = contents(api)
    again = await phone.send(method, path, body, nonce=nonce)
    assert again.json()["code"] == "nonce_replayed", first.text
    assert contents(api) == before


async def test_a_key_that_is_weak_by_its_making_is_never_enrolled(api: API) -> None:
    weak = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()}
    phone = Phone(api, DeviceKey.generate())
    answer = await phone.post("/v1/enrolments", {"code": await api.code(), "public_key": weak})
    assert answer.json()["code"] == "public_key_malformed"
