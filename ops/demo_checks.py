"""The demo's checks: what the story promises, awaited and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ops.errors import OperationError

POLL_SECONDS = 0.1
"""Between two looks at something that is awaited."""
WAIT_SECONDS_MAX = 60
"""How long the story waits for the chain and the worker."""


class StoryBrokeError(OperationError):
    """Something did not go as the story promises."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "./nugpay status shows the processes and both books.")


async def until(condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Wait for something; ``otherwise`` is how the story broke."""
    for _ in range(int(WAIT_SECONDS_MAX / POLL_SECONDS)):
        if await condition():
            return
        await asyncio.sleep(POLL_SECONDS)
    raise StoryBrokeError(otherwise)


def expect(holds: bool, what: str) -> None:
    """End the story where something does not hold."""
    if not holds:
        raise StoryBrokeError(f"it does not hold that {what}")
