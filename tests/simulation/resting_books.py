"""Resting books: what an engine gives to those who ask it, while it has nothing else to do.

Everything goes the engine's own way, but for the queue: views, heads and inspections
are taken by its pipeline, and what is stored is read from the memory server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ledger.account_head import AccountHead
from ledger.commands import FindHead, Inspect, Instant, Newest
from ledger.draft import Draft
from ledger.pipeline import Pipeline
from ledger.queries.storage import ReadSession
from ledger.state import State
from tests.simulation.memory_read_session import MemoryReadSession
from tests.simulation.memory_server import MemoryServer

Answer = TypeVar("Answer")


class RestingBooks:
    """See :class:`ledger.queries.books.Books`: what an engine gives that has nothing else to do."""

    def __init__(self, pipeline: Pipeline, server: MemoryServer) -> None:
        self._pipeline = pipeline
        self._server = server

    async def newest(self) -> Newest:
        """See the protocol."""
        return self._pipeline._newest()

    async def find_history(self, account_id: int) -> tuple[AccountHead | None, Newest]:
        """See the protocol."""
        nobody: Any = None
        return self._decide(FindHead(account_id, nobody)), self._pipeline._newest()

    async def read(self, ask: Callable[[ReadSession], Awaitable[Answer]]) -> Answer:
        """See the protocol."""
        return await ask(MemoryReadSession(self._server))

    async def inspect(self, ask: Callable[[State, Instant], Answer]) -> Answer:
        """See the protocol."""
        nobody: Any = None
        answer: Answer = self._decide(Inspect(ask, nobody))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _decide(self, command: FindHead | Inspect) -> Any:
        tenure = self._pipeline.tenure
        assert tenure is not None
        return self._pipeline._decide_other(tenure, Draft(), 0, command)
