"""Probes: whether a process of ours answers, asked as cheaply as possible."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from foundation.settings import Settings
from ledger.addresses import split_addresses
from ledger.door.tls import client_context

PROBE_SECONDS = 3.0
"""How long an answer may take."""


async def unix_socket_answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_unix_connection(path), PROBE_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def ledger_health(settings: Settings) -> bytes | None:
    """What the ledger process that serves says of itself; None when none does."""
    tls = client_context(settings)
    # One of several addresses serves; the others answer 503 or nothing.
    for address in split_addresses(settings.ledger_address):
        body = await http_body(address, "/health", tls=tls)
        if body is not None:
            return body
    return None


async def ledger_serves(settings: Settings) -> bool:
    """Whether a ledger process serves."""
    return await ledger_health(settings) is not None


async def http_body(address: str, path: str, *, tls: ssl.SSLContext | None = None) -> bytes | None:
    """The body of a GET that is answered with 200, else None.

    ``address`` is ``unix:/path``, ``http://host:port``, or with ``tls`` ``https://host:port``.
    """
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await _connect(address, tls)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
        if head.split(b" ", 2)[1:2] == [b"200"]:
            return body
    return None


async def _connect(
    address: str, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"))
    parts = urlsplit(address)
    secure = tls if parts.scheme == "https" else None
    return await asyncio.open_connection(parts.hostname or "127.0.0.1", parts.port or 80, ssl=secure)
