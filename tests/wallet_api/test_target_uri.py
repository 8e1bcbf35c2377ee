"""The target that a client signed, as the server reads it: by itself, and behind a proxy."""

import json
from typing import Any

import pytest
from nugpay_client.signing import signature_headers

from foundation.errors import NUGPayError, Refusal
from foundation.settings import Settings
from ops.errors import OperationError
from ops.wiring import run_api
from tests.wallet_api.conftest import BASE
from wallet_api.callers import target_uri
from wallet_api.connections import connect
from wallet_api.gate import Gate
from wallet_api.hosts import check_public_url


def scope(
    path: str = "/v1/wallet", query: bytes = b"", host: bytes = b"api.test", scheme: str = "http"
) -> dict[str, Any]:
    return {
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"host", host)],
    }


def settings_of(**fields: Any) -> Settings:
    return Settings(**{"api_host": "api.test", "api_port": 80, **fields})


@pytest.mark.parametrize(
    ("asked", "fields", "uri"),
    [
        (scope(), {}, "http://api.test/v1/wallet"),
        (scope(query=b"a=1%20b&c"), {}, "http://api.test/v1/wallet?a=1%20b&c"),
        (scope("/v1/payments/a%2Fb"), {}, "http://api.test/v1/payments/a%2Fb"),
        (scope(host=b"API.Test:8080"), {"api_port": 8080}, "http://api.test:8080/v1/wallet"),
        (scope(host=b"api.test:80"), {}, "http://api.test/v1/wallet"),
        (scope(host=b"api.test:443", scheme="https"), {"api_port": 443}, "https://api.test/v1/wallet"),
        (scope(host=b"[::1]:8080"), {}, "http://[::1]:8080/v1/wallet"),
        (scope(host=b"127.0.0.1:51234"), {}, "http://127.0.0.1:51234/v1/wallet"),
        (scope(host=b"LocalHost:8080"), {}, "http://localhost:8080/v1/wallet"),
        (scope(host=b"[fd00::7]:80"), {"api_host": "fd00::7"}, "http://[fd00::7]/v1/wallet"),
        (
            scope(host=b"evil.test"),
            {"api_public_url": "https://api.example.org"},
            "https://api.example.org/v1/wallet",
        ),
        (scope(), {"api_public_url": "https://example.org/pay/"}, "https://example.org/pay/v1/wallet"),
    ],
)
def test_the_target_is_the_operators_url_or_the_requests_own(asked, fields, uri):
    assert target_uri(asked, settings_of(**fields)) == uri


@pytest.mark.parametrize(
    "host",
    [
        b"any.example",
        b"api.test:81",
        b"api.test.evil.example",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"192.168.1.5:80",
        b"[::2]",
        b"[api.test]",
    ],
    ids=bytes.decode,
)
def test_a_host_that_is_not_this_server_is_refused(host):
    with pytest.raises(Refusal) as refused:
        target_uri(scope(host=host), settings_of())
    assert str(refused.value.code.value) in {"host_not_accepted", "host_malformed"}


async def test_a_request_for_another_server_is_refused_here(aye, refusals):
    sending = aye.get("/v1/wallet", headers={"Host": "any.example"})
    assert await refusals.code(sending) == "host_not_accepted"


BAD_HOSTS: dict[str, list[bytes]] = {
    "none": [],
    "two": [b"api.test", b"evil.test"],
    "the same twice": [b"api.test", b"api.test"],
    "empty": [b""],
    "a space": [b"a b"],
    "a list": [b"api.test,evil.test"],
    "a user": [b"me@api.test"],
    "a path": [b"api.test/v1"],
    "a port that is no number": [b"api.test:http"],
    "a port that cannot be": [b"api.test:65536"],
    "no bracket": [b"::1"],
    "not ascii": [b"api.t\xe9st"],
    "a line": [b"api.test\n"],
}


@pytest.mark.parametrize("hosts", BAD_HOSTS.values(), ids=BAD_HOSTS.keys())
async def test_a_request_has_one_host_header_of_the_right_form(hosts):
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the request must not get through")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    asked = {**scope(), "type": "http", "method": "GET", "headers": [(b"host", host) for host in hosts]}
    await Gate(never)(asked, receive, send)
    assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (400, "host_malformed")


async def test_in_production_the_api_does_not_start_without_its_public_url(settings):
    production = settings.model_copy(update={"environment": "production"})
    with pytest.raises(NUGPayError, match="NUGPAY_API_PUBLIC_URL"):
        async with connect(production):
            raise AssertionError("it must not start")
    with pytest.raises(OperationError, match="does not start"):
        run_api(production, workers=1)
    check_public_url(production.model_copy(update={"api_public_url": "https://api.example.org"}))


@pytest.mark.parametrize(
    "url", ["", "api.example.org", "ftp://api.example.org", "https://", "https://a.org/?b"]
)
def test_a_public_url_that_is_none_is_refused(url):
    with pytest.raises(NUGPayError, match="NUGPAY_API_PUBLIC_URL"):
        check_public_url(settings_of(api_public_url=url))


async def test_behind_a_proxy_the_public_url_is_what_counts(api, settings):
    phone = await api.phone("aye")
    object.__setattr__(settings, "api_public_url", "https://pay.example.org")

    async def ask(url: str, **forwarded: str) -> int:
        headers = signature_headers(
            phone.key, method="GET", url=url, body=b"", created=api.clock.now_ns() // 10**9
        )
        answer = await api.http.get("/v1/wallet", headers={**headers, **forwarded})
        return int(answer.status_code)

    assert await ask("https://pay.example.org/v1/wallet") == 200
    assert await ask(f"{BASE}/v1/wallet") == 401
    assert await ask("https://evil.example/v1/wallet", **{"X-Forwarded-Host": "evil.example"}) == 401
