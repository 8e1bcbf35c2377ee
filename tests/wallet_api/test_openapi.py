"""The API's description: checked in, complete, and true to the routes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.money import Money
from wallet_api.app import RESOURCES, create_app
from wallet_api.gate import REPEATABLE
from wallet_api.openapi import DOCUMENT, document_text

METHODS = {"get", "post", "put", "patch", "delete"}
APP = create_app()
DESCRIPTION = json.loads(DOCUMENT.read_text())
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
    if method in METHODS
}
OPEN = {
    "GET /v1/receipt_keys",
    "GET /v1/reserves",
    "GET /v1/time",
    "GET /v1/health",
    "GET /v1/assets",
    "GET /v1/fees/payment",
    "GET /v1/fees/withdrawal",
}

WITH_A_TOKEN = {
    "GET /v1/wallet/personal_data",
    "GET /v1/wallet/personal_data/accesses",
    "GET /v1/balances",
    "GET /v1/history",
    "GET /v1/limits",
    "GET /v1/payments/{payment_id}",
    "GET /v1/wallet",
}
"""What a session's token alone reads, and a signature as well."""

WITH_A_KEY = {
    "GET /v1/merchant/tills/{till_id}",
    "GET /v1/merchant/tills/{till_id}/invoices",
    "POST /v1/merchant/tills/{till_id}/invoices",
    "GET /v1/merchant/tills/{till_id}/invoices/{invoice_id}",
    "POST /v1/merchant/tills/{till_id}/payments/{payment_id}/refunds",
    "GET /v1/merchant/tills/{till_id}/settlement",
}
"""What a key of a till opens, and a signature as well."""

WITHOUT_BODY = {
    "DELETE /v1/wallet/personal_data",
    "PUT /v1/merchant/tills/{till_id}/acceptance",
    "DELETE /v1/merchant/tills/{till_id}/staff/{handle}",
    "DELETE /v1/merchant/tills/{till_id}/keys/{key_id}",
    "DELETE /v1/merchant/webhooks/{webhook_id}",
    "POST /v1/merchant/webhooks/{webhook_id}/secret",
    "POST /v1/merchant/events/{event_id}/resend",
    "POST /v1/payment_requests/{request_id}/decline",
    "POST /v1/bulk_payments/{bulk_id}/cancel",
    "POST /v1/payment_requests/{request_id}/cancel",
    "POST /v1/recalls/{recall_id}/agree",
    "POST /v1/recalls/{recall_id}/decline",
    "POST /v1/recalls/{recall_id}/withdraw",
    "POST /v1/standing_orders/{order_id}/cancel",
    "POST /v1/standing_orders/{order_id}/confirm",
    "POST /v1/devices/codes",
    "POST /v1/recovery/refusals",
    "DELETE /v1/devices/{device_id}",
    "DELETE /v1/sessions",
    "DELETE /v1/sessions/{session_id}",
}
"""What changes something and is said by the path alone."""


def test_the_description_checked_in_is_what_the_routes_say():
    assert DOCUMENT.read_text() == document_text(APP), "run: python -m wallet_api.openapi"


def test_every_route_is_described_and_every_description_has_a_route():
    routed = {
        f"{method} /v1{route.path}"
        for resource in RESOURCES
        for route in resource.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert routed == set(OPERATIONS)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_only_lists_may_stand_several_times_in_a_query():
    lists = {
        parameter["name"]
        for operation in OPERATIONS.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query" and parameter["schema"].get("type") == "array"
    }
    assert lists == REPEATABLE


def test_an_amount_that_the_description_allows_is_one_that_money_can_read():
    pattern = DESCRIPTION["components"]["schemas"]["PaymentRequest"]["properties"]["amount"]["pattern"]
    for text, code in [
        ("0." + "1" * 18, "amount_too_precise"),
        ("9" * 19, "amount_out_of_range"),
        ("0." + "1" * 19, "amount_malformed"),
        ("1" * 20, "amount_malformed"),
        ("01", "amount_malformed"),
    ]:
        with pytest.raises(Refusal) as refused:
            Money.parse(text, USDT)
        assert refused.value.code == code
        assert (re.search(pattern, text) is None) == (code == "amount_malformed"), text


def test_every_reference_leads_somewhere():
    for reference in references(DESCRIPTION):
        node = DESCRIPTION
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
class TestOperation:
    def test_it_says_what_it_is_and_shows_an_example_of_its_success(self, name):
        operation = OPERATIONS[name]
        assert operation["summary"]
        successes = [
            response for status, response in operation["responses"].items() if status.startswith("2")
        ]
        assert len(successes) == 1
        assert successes[0]["content"]["application/json"]["example"]

    def test_it_names_its_problems_each_with_an_example(self, name):
        for status, response in OPERATIONS[name]["responses"].items():
            if status.startswith("2"):
                continue
            assert list(response["content"]) == ["application/problem+json"]
            for code in response["content"]["application/problem+json"]["examples"]:
                example = DESCRIPTION["components"]["examples"][code]["value"]
                assert (example["code"], str(example["status"])) == (code, status)

    def test_it_is_signed_unless_it_is_one_of_the_open_ones(self, name):
        operation = OPERATIONS[name]
        headers = {each["name"] for each in operation.get("parameters", []) if each["in"] == "header"}
        if name in OPEN:
            assert "security" not in operation
            assert not headers
        else:
            ways: list[dict[str, Any]] = [{"deviceSignature": []}]
            ways += [{"session": []}] if name in WITH_A_TOKEN else []
            ways += [{"tillKey": []}] if name in WITH_A_KEY else []
            assert operation["security"] == ways
            assert headers >= {"Signature", "Signature-Input"}
            assert ("Content-Digest" in headers) == ("requestBody" in operation)

    def test_its_body_takes_nothing_unknown_and_has_an_example(self, name):
        body = OPERATIONS[name].get("requestBody")
        if body is None:
            assert name.startswith("GET ") or name in WITHOUT_BODY
            return
        if name == "POST /v1/bulk_payments":
            assert body["content"]["text/csv"]["example"].startswith("handle,amount,reference\r\n")
            return
        content = body["content"]["application/json"]
        schema = DESCRIPTION["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        assert schema["additionalProperties"] is False
        assert set(schema.get("required", ())) <= set(content["example"]) <= set(schema["properties"])


async def test_the_api_serves_its_description(api):
    answer = await api.http.get("/v1/openapi.json")
    assert answer.json() == DESCRIPTION
