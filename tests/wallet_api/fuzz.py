"""Fuzz: every operation of the OpenAPI document, asked what the document allows and what it does not.

Schemathesis makes the requests and checks each answer against the document. The API is the
real one, over a socket, before a real ledger process and a real PostgreSQL. Each request is
sent signed by a device with a wallet and money, or unsigned.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from nugpay_client.keys import DeviceKey
from nugpay_client.signing import signature_headers
from requests.auth import AuthBase
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from wallet_api.openapi import DOCUMENT

SECONDS_MAX = 30.0
"""How long an answer may take before it counts as none."""


SIGNED_HEADERS = frozenset({"Signature", "Signature-Input", "Content-Digest"})

FORM_CODES = frozenset(
    {
        "request_malformed", "json_malformed", "id_malformed", "handle_malformed", "asset_unknown",
        "amount_malformed", "payment_id_malformed",
    }
)  # fmt: skip
"""What a request that the document allows is never refused for."""

_CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            # Whether there is money, or such a payee, is nothing that a document can say: such
            # refusals are 422 too. That the form is right is checked by FORM_CODES.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "401", "403", "404", "409", "422", "429"]
            },
            # What is wrong may be too long before it is anything else.
            "negative_data_rejection": {
                "expected-statuses": ["400", "401", "403", "404", "409", "413", "415", "422", "429", "431"]
            },
        }
    }
)


@dataclass(frozen=True)
class Asking:
    """How an operation is asked."""

    url: str
    auth: AuthBase | None
    examples: int
    seed: int


class Signed(AuthBase):
    """Signs a request as it will be sent, body and target included."""

    def __init__(self, key: DeviceKey) -> None:
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        assert isinstance(body, str | bytes)
        content = body.encode() if isinstance(body, str) else body
        assert request.method is not None
        assert request.url is not None
        request.headers.update(
            signature_headers(
                self.key, method=request.method, url=request.url, body=content, created=int(time.time())
            )
        )
        return request


@dataclass
class Report:
    """What was asked and what was wrong."""

    answers: Counter[int] = field(default_factory=Counter)
    """By status."""
    operations: Counter[str] = field(default_factory=Counter)
    """Requests by operation."""
    failures: dict[str, str] = field(default_factory=dict)
    """By operation and kind of failure, the first of it."""


def fuzz(url: str, key: DeviceKey, *, examples: int, seed: int) -> Report:
    """Ask every operation ``examples`` times in each of four ways."""
    report = Report()
    for auth in (Signed(key), None):
        schema = schemathesis.openapi.from_dict(_described(signed=auth is not None), config=_CONFIG)
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), "an operation that the document describes wrongly"
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _ask(found.ok(), mode, Asking(url, auth, examples, seed), report)
    return report


def _described(*, signed: bool) -> dict[str, Any]:
    """The document; of a signed request the signature writes its headers, however they were drawn."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_bytes())
    for path in document["paths"].values() if signed else ():
        for operation in path.values():
            operation.pop("security", None)
            operation["parameters"] = [
                one for one in operation.get("parameters", ()) if one["name"] not in SIGNED_HEADERS
            ]
    return document


def _ask(operation: Any, mode: GenerationMode, asking: Asking, report: Report) -> None:
    name = f"{operation.method.upper()} {operation.path}"

    @seeded(asking.seed)
    @settings(
        max_examples=asking.examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case[Any]) -> None:
        report.operations[name] += 1
        if isinstance(case.body, dict):
            case.body = {key: _as_written(value) for key, value in case.body.items()}
        response = case.call(
            base_url=asking.url, auth=asking.auth, timeout=SECONDS_MAX, allow_redirects=False
        )
        report.answers[response.status_code] += 1
        if mode is GenerationMode.POSITIVE and response.status_code in {400, 422}:
            code = response.json()["code"]
            if code in FORM_CODES:
                report.failures.setdefault(f"{name}: {code}", case.as_curl_command())
        try:
            case.validate_response(response, transport_kwargs={"auth": asking.auth} if asking.auth else {})
        except FailureGroup as failures:
            for failure in failures.exceptions:
                _note(report, name, case, failure)

    try:
        send()
    except Unsatisfiable:
        # Where nothing is asked for, nothing can be asked for wrongly.
        assert mode is GenerationMode.NEGATIVE, f"{name} cannot be asked"


def _as_written(value: Any) -> Any:
    """JSON Schema counts 60.0 among the integers; this API wants an integer to be written as one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _note(report: Report, name: str, case: Case[Any], failure: Any) -> None:
    about = f"{name}: {failure.title}"
    report.failures.setdefault(about, f"{failure.message}\n{case.as_curl_command()}"[:2000])
