"""Peers: who is at the other end of a connection, as the kernel and TLS say it.

uvicorn keeps its connections to itself, so its protocol is extended: it asks once
a connection and puts the caller into the scope of each request. Nothing that a
request says of itself is looked at. A connection that begins with the preface of
frames is handed over to those who speak them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from foundation.clock import SECOND_NS
from ledger.door.desk import Desk
from ledger.door.framing import FrameProtocol
from ledger.door.judge import NOBODY, Caller, Door
from ledger.door.tls import identity_of
from ledger.frames import PREFACE

log = structlog.get_logger()

CALLER = "nugpay_caller"
"""Where in the state of a request's scope its caller stands."""

_CREDENTIALS = struct.Struct("3i")
"""What SO_PEERCRED gives: process, user and group of the peer."""


def protocol_for(desk: Desk, door: Door) -> type[asyncio.Protocol]:
    """The protocol of uvicorn, with the callers that a door knows, and frames to a desk."""

    class PeerProtocol(HttpToolsProtocol):
        """HTTP that knows who speaks, until it turns out to be frames."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            self._caller = caller_of(door, transport)
            self._first = b""
            """What came so far of a preface."""
            self._is_http = False
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            if self._is_http:
                super().data_received(data)
                return
            first = self._first + data
            if not first.startswith(PREFACE[: len(first)]):
                self._is_http = True
                super().data_received(first)
            elif len(first) < len(PREFACE):
                self._first = first
            else:
                self._hand_over(first.removeprefix(PREFACE))

        def _hand_over(self, rest: bytes) -> None:
            self._unset_keepalive_if_required()
            self.connections.discard(self)
            frames = FrameProtocol(desk, self._caller, self.connections)
            self.transport.set_protocol(frames)
            frames.connection_made(self.transport)
            if rest:
                frames.data_received(rest)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["state"][CALLER] = self._caller

    return PeerProtocol


def caller_of(door: Door, transport: asyncio.BaseTransport) -> Caller:
    """Who a connection belongs to; ``NOBODY`` when that cannot be told or is somebody else."""
    if transport.get_extra_info("sslcontext") is not None:
        return _certificate_holder(door, transport.get_extra_info("peercert"))
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        log.warning("ledger_peer_refused", reason="plain TCP")
        return NOBODY
    uid = peer_uid(connection)
    if uid is not None and uid != door.owner_uid:
        log.warning("ledger_peer_refused", reason="another user", uid=uid)
        return NOBODY
    return door.owner()


def peer_uid(connection: Any) -> int | None:
    """The user at the other end of a Unix socket; None where the platform does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        # The socket's mode is what keeps others out there.
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return int(uid)


def _certificate_holder(door: Door, certificate: dict[str, Any] | None) -> Caller:
    identity = identity_of(certificate or {})
    if certificate is None or identity is None:
        log.warning("ledger_peer_refused", reason="the certificate names nobody, or several")
        return NOBODY
    return door.holder(identity, ssl.cert_time_to_seconds(certificate["notAfter"]) * SECOND_NS)
