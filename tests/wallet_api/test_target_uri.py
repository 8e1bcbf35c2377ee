"""The target that a client signed, as the server reads it: by itself, and behind a proxy."""

from typing import Any

import pytest
from nugpay_client.signing import signature_headers

from tests.wallet_api.conftest import BASE
from wallet_api.callers import target_uri


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


@pytest.mark.parametrize(
    ("asked", "public", "uri"),
    [
        (scope(), None, "http://api.test/v1/wallet"),
        (scope(query=b"a=1%20b&c"), None, "http://api.test/v1/wallet?a=1%20b&c"),
        (scope("/v1/payments/a%2Fb"), None, "http://api.test/v1/payments/a%2Fb"),
        (scope(host=b"API.Test:8080"), None, "http://api.test:8080/v1/wallet"),
        (scope(host=b"api.test:80"), None, "http://api.test/v1/wallet"),
        (scope(host=b"api.test:443", scheme="https"), None, "https://api.test/v1/wallet"),
        (scope(host=b"[::1]:8080"), None, "http://[::1]:8080/v1/wallet"),
        (scope(host=b"evil.test"), "https://api.example.org", "https://api.example.org/v1/wallet"),
        (scope(), "https://example.org/pay/", "https://example.org/pay/v1/wallet"),
    ],
)
def test_the_target_is_the_operators_url_or_the_requests_own(asked, public, uri):
    assert target_uri(asked, public) == uri


def test_two_hosts_are_no_host():
    asked = {**scope(), "headers": [(b"host", b"api.test"), (b"host", b"evil.test")]}
    assert target_uri(asked, None) == "http:///v1/wallet"


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
