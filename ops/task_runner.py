"""The task runner: one event loop a worker process, on which all tasks run.

Connections belong to the loop that opened them, so the loop and what is connected
live as long as the process. Celery's threads hand their work over and wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, TypeVar

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from foundation.database import Database
from ops.task_locks import task_lock

logger = structlog.get_logger()

TASK_SECONDS_MAX: Final = 300
"""After so long a task is cancelled: its work is read from the tables again."""

STOP_SECONDS_MAX: Final = 30
"""How long connecting and closing may take."""

T = TypeVar("T")


class TaskRunner(Generic[T]):
    """Runs coroutines on its own thread's loop, with tools that are opened there once."""

    def __init__(
        self,
        open_tools: Callable[[], AbstractAsyncContextManager[T]],
        database_of: Callable[[T], Database],
        *,
        task_seconds_max: float = TASK_SECONDS_MAX,
    ) -> None:
        self._open_tools: Final = open_tools
        self._database_of: Final = database_of
        self._task_seconds_max: Final = task_seconds_max
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="tasks", daemon=True)
        self._context: AbstractAsyncContextManager[T] | None = None
        self._tools: T | None = None

    def start(self) -> None:
        """Start the loop and open the tools; what opening raises is raised here."""
        self._thread.start()
        try:
            self._on_loop(self._open(), STOP_SECONDS_MAX)
        except BaseException:
            self._end_loop()
            raise

    def run(self, name: str, work: Callable[[T], Awaitable[None]]) -> None:
        """Do the work to its end, unless the same runs already; called from any thread.

        A database that is away ends it with a warning, for the schedule comes again;
        whatever else the work raises is raised here.
        """
        try:
            self._on_loop(self._locked(name, work), None)
        except (OperationalError, InterfaceError) as error:
            logger.warning("the database is away", task=name, error=str(error.orig)[:200])

    def close(self) -> None:
        """Close the tools and end the loop; tasks must have ended."""
        try:
            self._on_loop(self._close(), STOP_SECONDS_MAX)
        finally:
            self._end_loop()

    async def _locked(self, name: str, work: Callable[[T], Awaitable[None]]) -> None:
        tools = self._tools
        assert tools is not None, "tasks run between start and close"
        async with task_lock(self._database_of(tools), name) as taken:
            if taken:
                async with asyncio.timeout(self._task_seconds_max):
                    await work(tools)

    async def _open(self) -> None:
        self._context = self._open_tools()
        self._tools = await self._context.__aenter__()

    async def _close(self) -> None:
        self._tools = None
        if self._context is not None:
            await self._context.__aexit__(None, None, None)

    def _on_loop(self, coroutine: Coroutine[Any, Any, None], seconds: float | None) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS_MAX)
        self._loop.close()
