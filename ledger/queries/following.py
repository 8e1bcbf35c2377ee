"""Following: every change of balances, one page after the other, for as long as one likes.

A follower keeps the cursor of the last page that it has worked through. Started
again from there, with any engine that serves the same journal, it misses nothing
and sees nothing twice. While nothing happens it waits for the engine to wake it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from ledger.contract import CHANGE_EVENTS_MAX
from ledger.queries.questions import ChangesAfter, ChangesPage

WAIT_SECONDS = 5
"""How long one question waits; well within a client's deadline."""


class Changing(Protocol):
    """What is followed: an engine or its client."""

    async def get_changes(self, question: ChangesAfter) -> ChangesPage:
        """See :class:`ledger.interface.Ledger`."""


async def follow(
    ledger: Changing, *, cursor: str | None = None, timestamp_min: int = 0, limit: int = CHANGE_EVENTS_MAX
) -> AsyncIterator[ChangesPage]:
    """Pages with events, for ever, from a cursor on, or else from ``timestamp_min`` (0: the beginning)."""
    while True:
        page = await ledger.get_changes(
            ChangesAfter(cursor, timestamp_min, limit=limit, wait_seconds=WAIT_SECONDS)
        )
        cursor = page.cursor
        if page.events:
            yield page
