"""Changes: which rows that this process remembers were changed by another one.

A trigger tells of a change with ``pg_notify`` when it commits, and everybody who
follows forgets what it remembers of that row. A notice that is missed would be
believed for ever, so nothing is believed without proof that none was missed: the
connection answers a question every second, and when it has not answered for three,
whoever remembers something asks the database itself, as if it remembered nothing.
So a change counts everywhere at once as a rule, and after three seconds at the latest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Final

import psycopg
import structlog

from foundation.clock import SECOND_NS
from foundation.postgres import sync_url

log = structlog.get_logger()

CHANNEL: Final = "nugpay_change"
"""Where triggers tell of changes: a kind, a space, and what names the row."""

APPLICATION_NAME: Final = "nugpay changes"
"""How the connection is seen by the server's operator."""

TRUST_SECONDS: Final = 3
"""How long after its last proof the connection is believed to have missed nothing."""

PROOF_SECONDS: Final = 1
"""How often it is proved."""

RETRY_SECONDS: Final = 1
"""Pause before another connection is tried."""

Forget = Callable[[str | None], None]
"""Forgets the row of that name; None means every row."""


class Changes:
    """The notices of one process, and whether they can be relied on."""

    def __init__(self, database_url: str) -> None:
        self._url: Final = sync_url(database_url)
        self._forgetters: Final[defaultdict[str, list[Forget]]] = defaultdict(list)
        self._proved_until_ns = 0
        self.count = 0
        """Goes up with every notice: what was read before one may be older than it."""

    def subscribe(self, kind: str, forget: Forget) -> None:
        """Have ``forget`` called for each change of that kind."""
        self._forgetters[kind].append(forget)

    @property
    def are_followed(self) -> bool:
        """Whether nothing that was committed more than ``TRUST_SECONDS`` ago can have been missed."""
        return time.monotonic_ns() < self._proved_until_ns

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Follow while the block runs."""
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError, TimeoutError) as error:
                self._proved_until_ns = 0
                log.warning("changes not followed", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=10, application_name=APPLICATION_NAME
        ) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            # What changed while nobody listened is not known: everything is read anew.
            self._forget_all()
            while True:
                asked_ns = time.monotonic_ns()
                async with asyncio.timeout(TRUST_SECONDS):
                    await connection.execute("SELECT 1")
                # The server sends notices of what was committed before with the answer.
                async for notice in connection.notifies(timeout=0):
                    self._take(notice)
                self._proved_until_ns = asked_ns + TRUST_SECONDS * SECOND_NS
                async for notice in connection.notifies(timeout=PROOF_SECONDS):
                    self._take(notice)

    def _take(self, notice: psycopg.Notify) -> None:
        kind, _, name = notice.payload.partition(" ")
        self.count += 1
        for forget in self._forgetters[kind]:
            forget(name)

    def _forget_all(self) -> None:
        self.count += 1
        for forgetters in self._forgetters.values():
            for forget in forgetters:
                forget(None)
