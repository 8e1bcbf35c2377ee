"""Books: what an engine gives to those who ask it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ledger.account_head import AccountHead
from ledger.commands import Instant, Newest
from ledger.queries.storage import ReadSession
from ledger.state import State

Answer = TypeVar("Answer")


class Books(Protocol):
    """The tail and the state in memory, each at one point of the order; and what is stored."""

    async def newest(self) -> Newest:
        """What is committed, as of a moment at which this engine was certainly the writer."""

    async def find_history(self, account_id: int) -> tuple[AccountHead | None, Newest]:
        """Where an account's history begins (None for no account), and what is committed then."""

    async def read(self, ask: Callable[[ReadSession], Awaitable[Answer]]) -> Answer:
        """Ask the journal."""

    async def inspect(self, ask: Callable[[State, Instant], Answer]) -> Answer:
        """Ask the state, between two requests."""
