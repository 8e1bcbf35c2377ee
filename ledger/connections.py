"""Connections of the ledger's client to one server, and which of its failures mean what.

A question that could not be connected was never sent. One whose connection was lost may
have arrived: only the same ids again tell what became of it.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from ledger.frames import PREFACE, FrameReader, FrameTooLarge, Question, pack_question

CONNECT_SECONDS = 1.0
"""How long a machine may take to answer a connection before it counts as dead."""
SILENCE_SECONDS = 3
"""How long a machine that was connected may be silent on the wire (not: take to answer)."""


class CannotConnect(Exception):
    """Nothing was sent."""


class ConnectionLost(Exception):
    """The question may have arrived, and nobody knows whether it did."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer."""

    status: int
    """As in HTTP."""
    body: bytes


class _Connection(asyncio.Protocol):
    """One connection: the questions under way on it, by their numbers."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        self._numbers = itertools.count(1)
        self._ends = False

    async def ask(self, question: Question, deadline_seconds: float) -> Answered:
        """The answer to a question. Raises ``CannotConnect`` or ``ConnectionLost`` when there is none."""
        if self._transport is None or not self.is_open:
            # It was lost between two turns of the loop; nothing was sent.
            raise CannotConnect("the connection was lost meanwhile")
        number = next(self._numbers) & 0xFFFFFFFF
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._transport.write(pack_question(number, question))
        try:
            async with asyncio.timeout(deadline_seconds):
                return await future
        except TimeoutError:
            raise ConnectionLost("no answer in time") from None
        finally:
            self._waiting.pop(number, None)
            if self._ends:
                self.end()

    def end(self) -> None:
        """Ask nothing more, and close once the questions under way are answered."""
        self._ends = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        """Close now: whoever waits hears that the connection was lost."""
        self.is_open = False
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            # Whoever does not read would keep it open, and everybody who waits.
            self._transport.abort()
        else:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say that frames follow."""
        # uvloop's transports of TLS are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True
        _keep_alive(transport)
        self._transport.write(PREFACE)

    def data_received(self, data: bytes) -> None:
        """Give every answer that is whole now to whoever waits for it."""
        try:
            for number, status, body in self._reader.feed(data):
                future = self._waiting.get(number)
                # Whoever stopped waiting for it has been told that its outcome is unknown.
                if future is not None and not future.done():
                    future.set_result(Answered(status, body))
        except FrameTooLarge:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self.is_open = False
        reason = "closed by the ledger" if exc is None else type(exc).__name__
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionLost(reason))


class LedgerServer:
    """One address, and the connection to whoever has it; none is made before the first question."""

    def __init__(self, address: str, deadline_seconds: float, tls: ssl.SSLContext | None) -> None:
        if address.startswith("https:") and tls is None:
            raise ValueError(f"{address} needs certificates; without them any public CA would be trusted")
        self._address = address
        self._tls = tls if address.startswith("https:") else None
        self._deadline_seconds = deadline_seconds
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._kept: set[_Connection] = set()
        """Connections that are let go of when their questions have ended."""
        self._is_closed = False

    async def ask(self, question: Question) -> Answered:
        """Send a question and wait for its answer.

        Raises ``CannotConnect`` or ``ConnectionLost`` when there is none.
        """
        connection = self._connection
        if connection is not None and connection.loop is not asyncio.get_running_loop():
            # Its loop has ended, and nobody would read the answer.
            connection = self._connection = None
        if connection is None or not connection.is_open:
            connection = await self._connect()
        try:
            return await connection.ask(question, self._deadline_seconds)
        except ConnectionLost:
            # A machine that is silent may have lost its name to another one by now.
            await self.connect_anew(connection)
            raise

    async def connect_anew(self, lost: _Connection | None = None) -> None:
        """Let go of the connection once its questions have ended; the next one asks by name.

        With ``lost`` only that one, where it is still asked.
        """
        connection = self._connection
        if connection is not None and lost in (None, connection):
            self._connection = None
            self._kept = {each for each in self._kept if each.is_open} | {connection}
            connection.end()

    async def close(self) -> None:
        """Close the connections, and make no more."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        for connection in (self._connection, *self._kept):
            if connection is not None:
                connection.close()
        self._connection, self._kept = None, set()
        # Transports are closed by the loop's next turn.
        await asyncio.sleep(0)

    async def _connect(self) -> _Connection:
        """A new connection; everybody who needs one at that moment gets the same."""
        if self._is_closed:
            raise CannotConnect("the client is closed")
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open())
            self._connecting.add_done_callback(self._connected)
        connecting = self._connecting
        try:
            # Whoever gives up must not take the others' connection away.
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if connecting.cancelled() and (task is None or not task.cancelling()):
                # The client was closed meanwhile, which is not the end of whoever asked.
                raise CannotConnect("the client is closed") from None
            raise

    def _connected(self, task: asyncio.Task[_Connection]) -> None:
        self._connecting = None
        if task.cancelled() or task.exception() is not None:
            return
        if self._is_closed:
            task.result().close()
        else:
            self._connection = task.result()

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self._address.startswith("unix:"):
                    path = self._address.removeprefix("unix:")
                    _, connection = await loop.create_unix_connection(_Connection, path)
                else:
                    parts = urlsplit(self._address)
                    port = parts.port or (443 if self._tls is not None else 80)
                    _, connection = await loop.create_connection(
                        _Connection, parts.hostname or "", port, ssl=self._tls
                    )
                return connection
        except TimeoutError as error:
            raise CannotConnect("no connection in time") from error
        except OSError as error:
            raise CannotConnect(str(error) or type(error).__name__) from error


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the kernel end a TCP connection whose other machine has vanished.

    A machine that lost its power closes nothing: without this a question would wait for
    its answer until the deadline, though a standby serves already.
    """
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 1),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", SILENCE_SECONDS - 1),
        ("TCP_USER_TIMEOUT", SILENCE_SECONDS * 1000),
    ):
        # Not every system has all of them.
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
