"""The API's description: OpenAPI 3.1, built from the routes, checked in beside this file.

A test compares ``openapi.json`` with what this builds; ``python -m
wallet_api.openapi`` writes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from identity.errors import IdentityCode
from wallet_api.errors import ApiCode
from wallet_api.operations import ASKED
from wallet_api.problem import MEDIA_TYPE, Problem
from wallet_api.problem_kinds import PROBLEM_KINDS
from wallet_api.problem_texts import ABOUT_MONEY, title_of
from wallets.errors import WalletCode

DOCUMENT: Final = Path(__file__).with_name("openapi.json")
"""Where the description is checked in."""

_INTRODUCTION: Final = """\
Wallets on stablecoins: pay by handle, deposit and withdraw on chain.

**Signatures.** Every request but a few marked as open is signed by the device's key \
(RFC 9421): the components `"@method" "@target-uri"`, and `"content-digest"` (RFC 9530, \
sha-256) when there is a body, with the parameters `created`, `nonce`, `keyid` (the RFC 7638 \
thumbprint of the key) and `alg` (`ed25519` or `ecdsa-p256-sha256`). `created` may differ from \
the server's time by 300 s. Every request, a repeated one too, has a new nonce.

**Ids.** The device makes the id of a payment or withdrawal (UUIDv7) and keeps it before it \
sends. The same id with the same content gives the first answer for ever; so after a lost \
answer send the same again, or ask for the id.

**Problems.** Every refusal is `application/problem+json` with a stable `code`, whether money \
moved, whether the same request may succeed later, and what to do now.

**CBOR.** Every body and answer of JSON may be CBOR (RFC 8949, deterministic) with the same \
names: `Content-Type: application/cbor`, `Accept: application/cbor`.

**Languages.** The sentences of a problem (`title`, `detail`, `about_money`, `what_to_do`) are in \
the language that `Accept-Language` asks for; `code` and everything else that a program reads \
never change with it. English and Burmese (`my`) are complete.

**Amounts** are decimal strings at the asset's scale. **Times** are UTC.
"""


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole description."""
    document = get_openapi(
        title="NUG Pay wallet API",
        version="1.0.0",
        openapi_version="3.1.0",
        summary="Wallets on stablecoins, signed requests, answers that say whether money moved.",
        description=_INTRODUCTION,
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    _, asked = models_json_schema(
        [(kind, "validation") for kind in ASKED.values()] + [(Problem, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    components = document.setdefault("components", {})
    schemas = {**components.get("schemas", {}), **asked["$defs"]}
    # FastAPI's own form of a validation error is never sent: ours are problems.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = {
        "deviceSignature": {
            "type": "http",
            "scheme": "signature",
            "description": "HTTP message signature (RFC 9421) by the key of an enrolled device. Where the "
            "person has a PIN, it covers the header Authorization with a session's token as well.",
        },
        "session": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of POST /v1/sessions alone: enough to read, never to pay.",
        },
        "tillKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of POST /v1/merchant/tills/{till_id}/keys, for a shop's server: it works "
            "at its till alone, with the rights that it was given.",
        },
    }
    components["headers"] = {
        "ContentLanguage": {
            "description": "The language of the problem's sentences; two where one has not all of them.",
            "schema": {"type": "string"},
            "example": "my",
        }
    }
    used: set[str] = set()
    for path in document["paths"].values():
        for operation in path.values():
            _show_success(operation, schemas)
            used |= _only_our_problems(operation)
    components["examples"] = {
        code: {"summary": title_of(code), "value": _example(code)} for code in sorted(used)
    }
    return document


def document_text(app: FastAPI) -> str:
    """The description as it is checked in."""
    return json.dumps(describe(app), indent=1, ensure_ascii=False) + "\n"


def _show_success(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response["description"] = "Done."
            content = response["content"]["application/json"]
            name = content["schema"]["$ref"].rpartition("/")[2]
            content["example"] = schemas[name]["examples"][0]


def _only_our_problems(operation: dict[str, Any]) -> set[str]:
    """Take FastAPI's own form of a 422 out; the codes of the problems that remain."""
    codes: set[str] = set()
    for response in operation["responses"].values():
        if MEDIA_TYPE in response["content"]:
            response["content"].pop("application/json", None)
            codes |= response["content"][MEDIA_TYPE]["examples"].keys()
    return codes


def _example(code: str) -> dict[str, Any]:
    kind = PROBLEM_KINDS[code]
    unknown = code in {ApiCode.INTERNAL_ERROR, "ledger_unavailable"}
    example: dict[str, Any] = {
        "type": f"urn:nugpay:problem:{code}",
        "title": title_of(code),
        "status": kind.status,
        "detail": _DETAILS.get(code, f"{title_of(code)}."),
        "instance": "/v1/payments",
        "code": code,
        "retryable": "unknown" if unknown else "true" if kind.status in {408, 429, 503} else "false",
        "money_moved": "unknown" if unknown else "false",
        "about_money": ABOUT_MONEY["unknown" if unknown else "false"],
        "what_to_do": kind.what_to_do,
        "request_id": "5f0c7a3e9b1d4c2688aa0e71",
    }
    if code == IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW:
        example["server_time"] = "2026-11-23T14:05:09.123Z"
    if kind.new_id_needed:
        example["new_id_needed"] = True
    return example


_DETAILS: Final[dict[str, str]] = {
    WalletCode.INSUFFICIENT_FUNDS: "The available balance does not cover 25.000000 USDT.",
    WalletCode.PAYEE_UNKNOWN: "No wallet has the handle @ko_ko.",
    IdentityCode.NONCE_REPLAYED: (
        "This nonce was used before; every request, a repeated one too, is signed anew."
    ),
    IdentityCode.SIGNATURE_CLOCK_OUT_OF_WINDOW: (
        "The signature was made more than 300 s away from the server's time, 2026-11-23T14:05:09.123Z."
    ),
    ApiCode.REQUEST_MALFORMED: "limit: Input should be less than or equal to 100.",
    "ledger_unavailable": "The ledger did not answer; the payment may have happened.",
}


def _main() -> None:
    from wallet_api.app import create_app

    DOCUMENT.write_text(document_text(create_app()), encoding="utf-8")


if __name__ == "__main__":
    _main()
