"""A proxy that cuts the writer's session with PostgreSQL where it hurts most.

The writer's journal talks to the server through it, message by message. Armed for
a batch, it cuts the connection before anything of it went out, before what makes the
server commit went out (the end of the last COPY, or the one statement), right
behind that (the server may or may not get to it), or when the server has committed
and only the answer is missing.
"""

import asyncio
import contextlib
import struct
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

from foundation.postgres import sync_url
from ledger.journal import Batch, Journal

SOCKET = ".s.PGSQL.5432"
SYNC, COPY_DONE, READY = b"S", b"c", b"Z"


class Cut(Enum):
    """Where a batch's commit is interrupted."""

    NOWHERE = "nowhere"
    BEFORE_ROWS = "before its rows"
    BEFORE_COMMIT = "before the COMMIT"
    BEHIND_COMMIT = "right behind the COMMIT"
    BEFORE_ANSWER = "before the answer"


class CuttingProxy:
    """One Unix socket in front of the server's; ``plan`` says what to do with each batch."""

    def __init__(self, database_url: str, plan: Callable[[Batch], Cut]) -> None:
        parts = urlsplit(sync_url(database_url))
        self._server = str(Path(parse_qs(parts.query)["host"][0]) / SOCKET)
        self._parts = parts
        self._plan = plan
        self._directory = tempfile.TemporaryDirectory(prefix="nl-cut-")
        self._lock = threading.Lock()
        self._cut = Cut.NOWHERE
        self._copies = 0
        self.cuts: list[Cut] = []
        """Every interruption that took place."""

    @property
    def url(self) -> str:
        query = f"host={quote(self._directory.name, safe='')}"
        return self._parts._replace(query=query).geturl()

    def open_journal(self, _url: str) -> Journal:
        """For :class:`ledger.writer.Writer`: a journal that goes through this proxy."""
        proxy = self

        class AnnouncedJournal(Journal):
            def append(self, batch: Batch) -> None:
                rows = (batch.accounts, batch.expiries, batch.transfers, batch.failed)
                one_statement = batch.is_few and not batch.opens_segment
                proxy.arm(proxy._plan(batch), copies=0 if one_statement else sum(map(bool, rows)))
                super().append(batch)

        return AnnouncedJournal.open(self.url)

    def arm(self, cut: Cut, *, copies: int) -> None:
        """Interrupt the batch whose first message comes next; it has so many COPYs, or is one statement."""
        with self._lock:
            self._cut, self._copies = cut, copies

    async def __aenter__(self) -> Self:
        path = str(Path(self._directory.name) / SOCKET)
        self._listener = await asyncio.start_unix_server(self._serve, path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self._directory.cleanup()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._server)
        back = asyncio.create_task(self._relay_answers(server, to_client))
        try:
            await _relay_start(client, to_server)
            async for kind, message in _messages(client):
                if await self._interrupt(kind, message, to_server, server, back):
                    break
                to_server.write(message)
                await to_server.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            back.cancel()
            for writer in (to_server, to_client):
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def _relay_answers(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await server.read(65536):
                to_client.write(data)
                await to_client.drain()
        to_client.close()

    async def _interrupt(
        self,
        kind: bytes,
        message: bytes,
        to_server: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        back: asyncio.Task[None],
    ) -> bool:
        """Whether the connection is to be cut now; what the server must still get is sent."""
        cut = self._cut
        commits = kind == SYNC if not self._copies else kind == COPY_DONE and self._copies == 1
        if kind == COPY_DONE:
            self._copies -= 1
        if cut is Cut.NOWHERE or (cut is not Cut.BEFORE_ROWS and not commits):
            return False
        self._cut = Cut.NOWHERE
        if cut in {Cut.BEHIND_COMMIT, Cut.BEFORE_ANSWER}:
            back.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await back
            to_server.write(message)
            await to_server.drain()
            if cut is Cut.BEFORE_ANSWER:
                async for answer, _ in _messages(server):
                    if answer == READY:
                        break
        self.cuts.append(cut)
        return True


async def _relay_start(client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
    """The start-up message has no kind."""
    length = await client.readexactly(4)
    to_server.write(length + await client.readexactly(struct.unpack("!i", length)[0] - 4))


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    """(kind, whole message) of each, until the stream ends."""
    while kind := await reader.read(1):
        length = await reader.readexactly(4)
        yield kind, kind + length + await reader.readexactly(struct.unpack("!i", length)[0] - 4)
