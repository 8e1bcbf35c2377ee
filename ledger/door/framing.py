"""Framing: the server's side of a connection that speaks frames (:mod:`ledger.frames`)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, cast

from ledger.contract import InvalidRequest
from ledger.door.desk import Desk, Reply, refusal_of
from ledger.door.judge import Caller
from ledger.door.rights import LedgerForbidden
from ledger.frames import FrameReader, FrameTooLarge, pack_answer, unpack_question
from ledger.interface import LedgerUnavailable

QUESTIONS_MAX: Final = 64
"""Questions of one connection that are worked on; the next ones wait in the socket."""


def _ending() -> Reply:
    refusal = refusal_of(LedgerUnavailable("The ledger is stopping.", outcome_unknown=False))
    assert refusal is not None
    return refusal


class FrameProtocol(asyncio.Protocol):
    """Answers the questions of one connection, each when its answer is there."""

    def __init__(self, desk: Desk, caller: Caller | None, connections: set[Any]) -> None:
        """``connections`` are those that the server asks to shut down before it ends."""
        self._desk = desk
        self._caller = caller
        self._connections = connections
        self._reader = FrameReader()
        self._waiting: deque[tuple[int, bytes]] = deque()
        """Questions that came in one piece with more than are worked on at once."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None
        self._ends = False
        """Whether nothing more is looked at, since the ledger ends."""
        self._is_refused = False
        """Whether whoever speaks was shown out, and is told no more."""
        self._is_full = False
        """Whether the caller does not read what it is told."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        # uvloop's transports of TLS are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Begin to answer every question that is whole now."""
        if self._is_refused:
            return
        try:
            for number, _, content in self._reader.feed(data):
                self._waiting.append((number, content))
        except FrameTooLarge as error:
            if self._greet(error.number) is not None:
                self._refuse(error.number, error)
            return
        # A stranger's question is not worth the memory until it is whole.
        begun = self._reader.begun
        if begun is not None and self._greet(begun) is None:
            return
        self._begin()

    def pause_writing(self) -> None:
        """The caller does not read its answers: it is asked nothing more meanwhile."""
        self._is_full = True
        self._pace()

    def resume_writing(self) -> None:
        """The caller reads again."""
        self._is_full = False
        self._begin()

    def connection_lost(self, _error: Exception | None) -> None:
        """The caller is gone; what it asked for is done, and nobody is told."""
        self._transport = None
        self._waiting.clear()
        self._connections.discard(self)

    def shutdown(self) -> None:
        """Answer what is under way, say of what waits that it is not done, and end the connection."""
        self._ends = True
        self._begin()
        if not self._under_way and self._transport is not None:
            self._transport.close()

    def _begin(self) -> None:
        """Work on what waits, as far as there is room for it and for its answers."""
        while self._waiting and not self._is_full and len(self._under_way) < QUESTIONS_MAX:
            number, content = self._waiting.popleft()
            caller = self._greet(number)
            if caller is None:
                return
            if self._ends:
                # Nobody has looked at it: whoever asks can ask another process at once.
                self._tell(number, _ending())
            else:
                task = asyncio.create_task(self._answer(caller, number, content))
                self._under_way.add(task)
                task.add_done_callback(self._done)
        self._pace()

    def _greet(self, number: int) -> Caller | None:
        """Who asks; None where that is nobody, who is told so and shown out."""
        try:
            return self._desk.judge.greet(self._caller)
        except LedgerForbidden as error:
            self._refuse(number, error)
            return None

    def _refuse(self, number: int, error: Exception) -> None:
        """Tell why, and take no more from this connection."""
        refusal = refusal_of(error)
        assert refusal is not None
        self._tell(number, refusal)
        self._is_refused = True
        self._waiting.clear()
        self.shutdown()

    async def _answer(self, caller: Caller, number: int, content: bytes) -> None:
        try:
            question = unpack_question(content)
        except InvalidRequest as error:
            refusal = refusal_of(error)
            assert refusal is not None
            self._tell(number, refusal)
            return
        self._tell(number, await self._desk.answer(caller, question))

    def _tell(self, number: int, reply: Reply) -> None:
        if self._transport is not None:
            self._transport.write(pack_answer(number, reply.status, reply.body))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._ends:
            self.shutdown()
        else:
            self._begin()

    def _pace(self) -> None:
        """Read as long as there is room for questions and for their answers."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        is_to_read = not self._is_full and len(self._under_way) < QUESTIONS_MAX and not self._waiting
        if is_to_read and not transport.is_reading():
            transport.resume_reading()
        elif not is_to_read and transport.is_reading():
            transport.pause_reading()
