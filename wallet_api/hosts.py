"""Hosts: under which names this server may be called.

A signature covers the URL that the client meant to reach. Were any Host header
believed, a request that was signed for another server could be sent to this one.
So clients sign ``api_public_url``; without it, in development only, the loopback
names and the address that the API listens on are the only ones that count.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from foundation.errors import NUGPayError, Refusal
from foundation.settings import Settings
from wallet_api.errors import ApiCode

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_HOST = re.compile(r"([a-z0-9][a-z0-9._-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.IGNORECASE)
"""A name, an IPv4 address or an IPv6 address in brackets (RFC 3986 section 3.2.2), and a port."""


_HOST_KEY: Final = "nugpay.host"
"""Where the scope keeps what was read."""


def host_of(scope: Scope) -> tuple[str, int | None]:
    """The host in lower case and the port that a request was made for.

    Refused as ``host_malformed`` unless there is exactly one Host header of this form
    (RFC 9112 section 3.2).
    """
    found: tuple[str, int | None] | None = scope.get(_HOST_KEY)
    if found is not None:
        return found
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    port = int(match[2]) if match is not None and match[2] is not None else None
    if match is None or (port is not None and not 0 < port < 2**16):
        raise Refusal(ApiCode.HOST_MALFORMED, "A request has one Host header, with a host and its port.")
    found = scope[_HOST_KEY] = (match[1].lower(), port)
    return found


def base_url(scope: Scope, settings: Settings) -> str:
    """The URL that clients sign, up to its path: the operator's, or else the request's own.

    Refused as ``host_malformed``, and as ``host_not_accepted`` when the request was made
    for another server than this one.
    """
    if settings.api_public_url is not None:
        return settings.api_public_url.rstrip("/")
    host, port = host_of(scope)
    default = _DEFAULT_PORTS.get(scope["scheme"])
    own = host.strip("[]") == settings.api_host.lower() and (port or default) == settings.api_port
    # A loopback name may have any port: containers and tunnels give the API another one.
    if not own and not _is_loopback(host):
        raise Refusal(ApiCode.HOST_NOT_ACCEPTED, "This server is not called by that name.")
    shown = "" if port in {None, default} else f":{port}"
    return f"{scope['scheme']}://{host}{shown}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_public_url(settings: Settings) -> None:
    """Raises ``NUGPayError`` in production when nobody has said under which URL the API is reached."""
    url = settings.api_public_url
    if url is None:
        if settings.environment == "production":
            raise NUGPayError(
                "NUGPAY_API_PUBLIC_URL is not set: in production set it to the base URL that clients "
                "reach the API by, such as https://api.example.org, since they sign it."
            )
        return
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.query or parts.fragment:
        raise NUGPayError("NUGPAY_API_PUBLIC_URL is no base URL such as https://api.example.org.")
