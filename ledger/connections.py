"""Connections of the ledger's client to one server, and which of its failures mean what.

A request that could not be connected was never sent. One whose connection was lost may
have arrived: only the same ids again tell what became of it.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp

CONNECT_SECONDS = 1.0
"""How long a machine may take to answer a connection before it counts as dead."""
SILENCE_SECONDS = 3
"""How long a machine that was connected may be silent on the wire (not: take to answer)."""
KEPT_SECONDS = 60.0
"""How long a connection is kept without a request; the server would close it after 75 seconds."""


class CannotConnect(Exception):
    """Nothing was sent."""


class ConnectionLost(Exception):
    """The request may have arrived, and nobody knows whether it did."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    """Their names in any case."""
    body: bytes


class LedgerServer:
    """One address, and the connections to whoever has it; none is made before the first request."""

    def __init__(self, address: str, deadline_seconds: float, tls: ssl.SSLContext | None) -> None:
        if address.startswith("https:") and tls is None:
            raise ValueError(f"{address} needs certificates; without them any public CA would be trusted")
        is_local = address.startswith("unix:")
        self._url = "http://ledger" if is_local else address
        self._connect: Callable[[], aiohttp.ClientSession] = partial(
            _connect, address.removeprefix("unix:") if is_local else None, deadline_seconds, tls
        )
        self._http: aiohttp.ClientSession | None = None
        self._under_way: Counter[aiohttp.ClientSession] = Counter()
        """Requests by the connections that they use."""

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> Answered:
        """Send a request and wait for its whole response.

        Raises ``CannotConnect`` or ``ConnectionLost`` when there is none.
        """
        if self._http is None:
            self._http = self._connect()
        http = self._http
        self._under_way[http] += 1
        try:
            async with http.post(self._url + path, data=body, headers=headers) as response:
                return Answered(response.status, response.headers, await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise CannotConnect(str(error) or type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConnectionLost(type(error).__name__) from error
        finally:
            self._under_way[http] -= 1
            if http is not self._http:
                await self._close_if_idle(http)

    async def connect_anew(self) -> None:
        """Let go of connections that were kept, once their requests have ended; the next one asks by name."""
        http, self._http = self._http, None
        if http is not None:
            await self._close_if_idle(http)

    async def close(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def _close_if_idle(self, http: aiohttp.ClientSession) -> None:
        if not self._under_way[http]:
            del self._under_way[http]
            await http.close()


def _connect(path: str | None, deadline_seconds: float, tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """A session that connects when it is asked; ``path`` is that of a Unix socket."""
    timeout = aiohttp.ClientTimeout(
        total=None, connect=deadline_seconds, sock_connect=CONNECT_SECONDS, sock_read=deadline_seconds
    )
    connector: aiohttp.BaseConnector
    if path is not None:
        connector = aiohttp.UnixConnector(path, keepalive_timeout=KEPT_SECONDS)
    else:
        connector = aiohttp.TCPConnector(
            ssl=tls or False,
            keepalive_timeout=KEPT_SECONDS,
            # A name may be another machine's after a fail-over.
            use_dns_cache=False,
            socket_factory=_living_socket,
        )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        trust_env=False,
        auto_decompress=False,
        skip_auto_headers=_UNSENT,
    )


_UNSENT = ("accept", "accept-encoding", "user-agent")


def _living_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket whose connection the kernel ends when the other machine has vanished.

    A machine that lost its power closes nothing: without this a request would wait for
    its answer until the deadline, though a standby serves already.
    """
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 1),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", SILENCE_SECONDS - 1),
        ("TCP_USER_TIMEOUT", SILENCE_SECONDS * 1000),
    ):
        # Not every system has all of them.
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    made.setblocking(False)
    return made
