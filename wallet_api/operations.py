"""Operations: what a route says of itself in the API's description.

Routes read their bodies themselves, after the signature is checked, so they say
here what they ask for, how it is signed, and which problems they answer with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel

from foundation.errors import FoundationCode, RefusalCode
from identity.errors import IdentityCode
from identity.pin_errors import PinCode
from identity.role_errors import RoleCode
from treasury.errors import TreasuryCode
from wallet_api.errors import ApiCode
from wallet_api.problem import MEDIA_TYPE
from wallet_api.problem_kinds import PROBLEM_KINDS
from wallets.errors import WalletCode

EVERYWHERE: Final = (
    ApiCode.HOST_MALFORMED,
    ApiCode.HEADERS_TOO_LARGE,
    ApiCode.REQUEST_MALFORMED,
    ApiCode.METHOD_NOT_ALLOWED,
    ApiCode.INTERNAL_ERROR,
    "database_unavailable",
)
"""Problems that any operation may answer with."""

SIGNED: Final = (
    ApiCode.HOST_NOT_ACCEPTED,
    IdentityCode.SIGNATURE_MISSING,
    IdentityCode.SIGNATURE_MALFORMED,
    IdentityCode.SIGNATURE_COMPONENTS_NOT_ACCEPTED,
    IdentityCode.SIGNATURE_PARAMETERS_NOT_ACCEPTED,
    IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW,
    IdentityCode.CONTENT_DIGEST_MISSING,
    IdentityCode.CONTENT_DIGEST_MALFORMED,
    IdentityCode.CONTENT_DIGEST_MISMATCH,
    IdentityCode.SIGNATURE_KEY_UNKNOWN,
    IdentityCode.SIGNATURE_ALGORITHM_NOT_ACCEPTED,
    IdentityCode.SIGNATURE_WRONG,
    IdentityCode.DEVICE_REVOKED,
    IdentityCode.NONCE_REPLAYED,
)
"""Problems of operations that a device signs."""

OF_A_SESSION: Final = (PinCode.SESSION_MISSING, PinCode.SESSION_OVER)
"""Problems of operations that carry a session, where the person has a PIN."""

OF_A_WALLET: Final = (*SIGNED, *OF_A_SESSION, WalletCode.WALLET_NOT_OPEN)
"""Problems of operations on the caller's wallet."""

OF_AN_OFFICER: Final = (TreasuryCode.APPROVER_IS_NO_OFFICER, RoleCode.OFFICER_ROLE_MISSING)
"""Problems of operations that officers do, each as their roles allow."""

OF_A_PAYMENT: Final = (
    WalletCode.FEE_ABOVE_MAXIMUM,
    WalletCode.GREATER_THAN_TRANSACTION_MAX_VALUE,
    WalletCode.DAILY_VALUE_LIMIT_EXCEEDED,
    WalletCode.WEEKLY_VALUE_LIMIT_EXCEEDED,
    WalletCode.MONTHLY_VALUE_LIMIT_EXCEEDED,
    WalletCode.PAYMENT_ID_TAKEN,
    WalletCode.PAYMENT_ID_USED_DIFFERENTLY,
    WalletCode.PAYMENT_ALREADY_REFUSED,
    WalletCode.WALLET_ACCOUNT_MISSING,
    WalletCode.WALLET_CLOSED,
    WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED,
    WalletCode.PAYEE_BALANCE_FULL,
    WalletCode.INSUFFICIENT_FUNDS,
)
"""Problems of paying somebody who is known, whichever way."""

WITH_BODY: Final = (
    ApiCode.JSON_MALFORMED,
    ApiCode.CBOR_MALFORMED,
    ApiCode.BODY_TOO_SLOW,
    ApiCode.BODY_TOO_LARGE,
    ApiCode.CONTENT_TYPE_NOT_ACCEPTED,
)
"""Problems of operations that take a body."""

OF_THE_LEDGER: Final = ("ledger_unavailable", "ledger_busy")
"""Problems of operations that ask the ledger."""

AMOUNTS: Final = (
    FoundationCode.UNKNOWN_ASSET,
    FoundationCode.AMOUNT_MALFORMED,
    FoundationCode.AMOUNT_TOO_PRECISE,
    FoundationCode.AMOUNT_OUT_OF_RANGE,
)
"""Problems of an amount of an asset."""

_SIGNATURE_HEADERS: Final = [
    {
        "name": "Signature-Input",
        "in": "header",
        "required": True,
        "description": "RFC 9421; the one profile of this API.",
        "schema": {"type": "string", "maxLength": 1024},
        "example": 'sig=("@method" "@target-uri" "content-digest");created=1795500000'
        ';nonce="b3VyIG5vbmNlIDEyMzQ";keyid="kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";alg="ed25519"',
    },
    {
        "name": "Signature",
        "in": "header",
        "required": True,
        "description": "RFC 9421; 64 bytes in base64 under the same label.",
        "schema": {"type": "string", "maxLength": 1024},
        "example": "sig=:" + "A" * 86 + "==:",
    },
]

_DIGEST_HEADER: Final = {
    "name": "Content-Digest",
    "in": "header",
    "required": True,
    "description": "RFC 9530: the SHA-256 of the body.",
    "schema": {"type": "string", "maxLength": 1024},
    "example": "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
}

ASKED: dict[str, type[BaseModel]] = {}
"""Models of request bodies, by name, as the routes name them."""


def problems(*codes: RefusalCode | str | Iterable[RefusalCode | str]) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: every problem that it may answer with, each with an example."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in [*_flat(codes), *EVERYWHERE]:
        name = str(code)
        kind = PROBLEM_KINDS[name]
        answer = by_status.setdefault(
            kind.status,
            {
                "description": "Refused",
                "headers": {"Content-Language": {"$ref": "#/components/headers/ContentLanguage"}},
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        examples = answer["content"][MEDIA_TYPE]["examples"]
        examples[name] = {"$ref": f"#/components/examples/{name}"}
        answer["description"] = "Refused: " + ", ".join(examples)
    return dict(sorted(by_status.items(), key=lambda item: int(item[0])))


def asks(kind: type[BaseModel], *, example: dict[str, Any], or_key: bool = False) -> dict[str, Any]:
    """The ``openapi_extra`` of a signed route with a body of ``kind``; ``or_key``: a till's key is enough."""
    ASKED[kind.__name__] = kind
    headers = [*_SIGNATURE_HEADERS, _DIGEST_HEADER]
    return {
        "security": [{"deviceSignature": []}, *([{"tillKey": []}] if or_key else [])],
        "parameters": [{**header, "required": not or_key} for header in headers],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{kind.__name__}"},
                    "example": example,
                }
            },
        },
    }


def brings_file(*, example: str) -> dict[str, Any]:
    """The ``openapi_extra`` of a signed route whose body is a CSV file."""
    return {
        "security": [{"deviceSignature": []}],
        "parameters": [*_SIGNATURE_HEADERS, _DIGEST_HEADER],
        "requestBody": {
            "required": True,
            "content": {"text/csv": {"schema": {"type": "string"}, "example": example}},
        },
    }


def signed(*, or_token: bool = False, or_key: bool = False) -> dict[str, Any]:
    """The ``openapi_extra`` of a signed route without a body.

    ``or_token``: a session's token is enough; ``or_key``: a till's key is.
    """
    if not (or_token or or_key):
        return {"security": [{"deviceSignature": []}], "parameters": list(_SIGNATURE_HEADERS)}
    return {
        "security": [{"deviceSignature": []}, {"session" if or_token else "tillKey": []}],
        "parameters": [{**header, "required": False} for header in _SIGNATURE_HEADERS],
    }


def _flat(codes: Iterable[RefusalCode | str | Iterable[RefusalCode | str]]) -> list[RefusalCode | str]:
    found: list[RefusalCode | str] = []
    for code in codes:
        if isinstance(code, str):
            found.append(code)
        else:
            found.extend(code)
    return found
