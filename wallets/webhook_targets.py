"""Targets of webhooks: which addresses this bank's machines may be made to call.

Whoever names an address has us open a connection from inside our network. So only public
addresses are called: the host is resolved, every address that it has must be public, and
the connection goes to the very address that was checked, at registration and at each
sending anew; what a name server says a moment later is not asked. Of IPv6 only global
unicast is public, and nothing that holds an IPv4 address inside (mapped, 6to4, Teredo,
NAT64): those lead wherever that one leads.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx

from foundation.errors import Refusal
from wallets.merchant_errors import MerchantCode

URL_LENGTH_MAX: Final = 500
"""Longest address of a webhook."""

RESOLVE_SECONDS_MAX: Final = 5.0
"""How long a name server may take."""

_IPV6_PUBLIC: Final = ipaddress.IPv6Network("2000::/3")
_IPV6_NOT_PUBLIC: Final = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
_IPV4_NOT_PUBLIC: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
            "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
"""The IANA registry of special purposes, multicast, and what is reserved."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, for a connection to a port of it."""


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """What this machine's resolver says; raises ``OSError`` when it says nothing."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for _, _, _, _, address in found]


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What a webhook may be."""

    allows_loopback: bool = False
    """On a machine of a developer: this machine itself, without TLS as well. Never in production."""
    resolve: Resolve = field(default=system_addresses)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to, and what to ask there."""

    url: httpx.URL
    """As the business gave it; its host is what the certificate is for."""
    address: str
    """The address that was checked, and is connected to."""


async def find_target(rules: TargetRules, url: str) -> Target:
    """Check an address, its name resolved now; refused as ``webhook_url_refused``."""
    parsed = _parsed(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    try:
        async with asyncio.timeout(RESOLVE_SECONDS_MAX):
            found = [ipaddress.ip_address(each) for each in await rules.resolve(_host(parsed), port)]
    except (OSError, ValueError):
        found = []
    if not found:
        raise _refused("Its host has no address.")
    is_own = rules.allows_loopback and all(each.is_loopback for each in found)
    # One address that is not public is enough: which one a later look would give is chance.
    if not is_own and not all(is_public(each) for each in found):
        raise _refused("Its host is not a public address.")
    if parsed.scheme != "https" and not is_own:
        raise _refused("It must begin with https.")
    return Target(parsed, str(found[0]))


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the internet's, and of no network of ours or our providers'."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _IPV4_NOT_PUBLIC)
    return address in _IPV6_PUBLIC and not any(address in network for network in _IPV6_NOT_PUBLIC)


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url) if url.isascii() and url.isprintable() else None
    except (httpx.InvalidURL, ValueError):
        parsed = None
    if parsed is None or len(url) > URL_LENGTH_MAX or parsed.scheme not in {"https", "http"}:
        raise _refused("It is no address that begins with https.")
    if not parsed.host or parsed.userinfo or parsed.fragment:
        raise _refused("It has a host, and neither credentials nor a fragment.")
    # What listens below 1024 beside the web speaks other protocols, and was not asked.
    if parsed.port is not None and parsed.port != 80 and not 1024 <= parsed.port <= 65_535:
        raise _refused("Its port is 80, 443, or 1024 and more.")
    return parsed


def _host(parsed: httpx.URL) -> str:
    return parsed.raw_host.decode("ascii").strip("[]")


def _refused(why: str) -> Refusal:
    return Refusal(MerchantCode.WEBHOOK_URL_REFUSED, f"Events are not sent to this address. {why}")
