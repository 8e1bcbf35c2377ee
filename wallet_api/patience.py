"""Patience: waits that end after a time, all of them by one timer.

Nearly every wait for a body ends at once, and a timer for each costs more than the
wait. One that looks at all of them now and then is as good where seconds count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

Value = TypeVar("Value")

LOOK_SECONDS: Final = 0.25
"""How often it is looked; a wait may last so much longer than it should."""


class Patience:
    """The waits of one event loop."""

    def __init__(self) -> None:
        self._until_seconds: dict[asyncio.Task[Any], float] = {}
        """When each waiting task is to be told."""
        self._told: set[asyncio.Task[Any]] = set()
        self._looks: asyncio.TimerHandle | None = None

    async def wait(self, waiting: Coroutine[Any, Any, Value], seconds: float) -> Value:
        """What the current task waits for; ``TimeoutError`` where it takes longer than that."""
        task = asyncio.current_task()
        assert task is not None, "only a task can be told"
        loop = task.get_loop()
        cancelled_before = task.cancelling()
        self._until_seconds[task] = loop.time() + seconds
        if self._looks is None:
            self._looks = loop.call_later(LOOK_SECONDS, self._look, loop)
        try:
            return await waiting
        except asyncio.CancelledError:
            # Somebody else may have cancelled it too, who must not be forgotten.
            if task in self._told and task.cancelling() - 1 <= cancelled_before:
                raise TimeoutError from None
            raise
        finally:
            del self._until_seconds[task]
            if task in self._told:
                self._told.discard(task)
                task.uncancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, until in self._until_seconds.items():
            if until <= now and task not in self._told:
                self._told.add(task)
                task.cancel()
        # Nobody waits: the next one who does begins to look again.
        self._looks = loop.call_later(LOOK_SECONDS, self._look, loop) if self._until_seconds else None
