"""Targets and signatures of webhooks: nothing of our own network is called, and receivers can check."""

import base64
import ipaddress
from typing import Any

import pytest

from foundation.errors import Refusal
from wallets.webhook_signatures import new_secret, secret_text, signature_of
from wallets.webhook_targets import TargetRules, find_target, is_public

NOT_PUBLIC = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.254", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "2a00::1",
]


def rules(*addresses: str, allows_loopback: bool = False) -> TargetRules:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return TargetRules(allows_loopback, resolve)


async def refused(checked: TargetRules, url: str) -> str:
    with pytest.raises(Refusal) as refusal:
        await find_target(checked, url)
    return refusal.value.code.value


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_an_address_that_is_not_the_internet_s_is_refused(address):
    assert not is_public(ipaddress.ip_address(address))
    assert await refused(rules(address), "https://shop.example.com/") == "webhook_url_refused"
    # Beside a public one as well: which of them a later look gives is chance.
    assert await refused(rules("1.1.1.1", address), "https://shop.example.com/") == "webhook_url_refused"


@pytest.mark.parametrize("address", PUBLIC)
async def test_a_public_address_is_taken_and_is_the_one_to_connect_to(address):
    target = await find_target(rules(address), "https://shop.example.com:8443/told?a=1")
    assert (target.address, target.url.host, target.url.port) == (address, "shop.example.com", 8443)
    assert await refused(rules(address), "http://shop.example.com/") == "webhook_url_refused"
    # A developer's machine allows itself, and no more.
    assert await refused(rules(address, allows_loopback=True), "http://x.example/") == "webhook_url_refused"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/", "https://localhost/", "https://127.0.0.1/", "https://127.1/", "https://0x7f.1/",
        "https://2130706433/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://0/",
        "https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/",
    ],
)  # fmt: skip
async def test_this_machine_is_refused_however_it_is_written(url):
    assert await refused(TargetRules(), url) == "webhook_url_refused"


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://a.example/", "file:///etc/passwd", "https://", "https://u:p@a.example/",
        "https://u@a.example/", "https://a.example/#x", "https://a.example/\n", "https://ä.example/",
        "https://a.example:99999/", "https://a.example:25/", "https://a.example:0/",
        "https://a.example/" + "x" * 500,
    ],
)  # fmt: skip
async def test_what_is_no_plain_https_address_is_refused(url):
    assert await refused(rules("1.1.1.1"), url) == "webhook_url_refused"


async def test_a_host_without_an_address_is_refused():
    async def fails(host: str, port: int) -> list[str]:
        raise OSError

    assert await refused(rules(), "https://shop.example.com/") == "webhook_url_refused"
    assert await refused(TargetRules(resolve=fails), "https://shop.example.com/") == "webhook_url_refused"


async def test_loopback_is_taken_on_a_developer_s_machine_alone():
    for address in ("127.0.0.1", "::1"):
        target = await find_target(rules(address, allows_loopback=True), "http://shop.example.com:8000/")
        assert target.address == address
    mixed = rules("127.0.0.1", "10.0.0.1", allows_loopback=True)
    assert await refused(mixed, "http://shop.example.com/") == "webhook_url_refused"


def test_signatures_are_those_of_the_specification():
    # The vector of the reference libraries, github.com/standard-webhooks/standard-webhooks,
    # libraries/python/tests/test_webhook.py, test_sign_function.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert secret_text(key) == secret
    signature = signature_of(
        [key],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_make_two_signatures():
    new, old = new_secret(), new_secret()
    about: dict[str, Any] = {"message_id": "m", "timestamp": 1, "body": b"{}"}
    both = signature_of([new, old], **about)
    assert both == f"{signature_of([new], **about)} {signature_of([old], **about)}"
    assert new != old
