"""Wake-ups: followers wait here for the next commit, and ask nobody meanwhile.

The writer rings after every commit. A follower takes its bell before it looks, so
that nothing can happen unheard between the look and the wait; one that misses a
ring all the same finds everything by its position.
"""

from __future__ import annotations

import asyncio
import threading

from ledger.answers import Answer, give
from ledger.archive import Head


class Wakeups:
    """The bells of all who wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bells: set[Answer[None]] = set()
        self._is_released = False

    def ring(self, _: Head) -> None:
        """Wake everybody; called by the writer, and cheap when nobody waits."""
        if self._bells:
            with self._lock:
                bells, self._bells = self._bells, set()
            give((bell, None) for bell in bells)

    def release(self) -> None:
        """Wake everybody, and let nobody wait any more: the engine's door is closing."""
        self._is_released = True
        self.ring(Head())

    def take_bell(self) -> Answer[None]:
        """A bell that the next commit rings."""
        bell: Answer[None] = Answer()
        with self._lock:
            self._bells.add(bell)
        return bell

    async def wait(self, bell: Answer[None], seconds: float) -> bool:
        """Wait for a bell; False when it did not ring in time, or never will."""
        if self._is_released:
            return False
        done, _ = await asyncio.wait([bell.future], timeout=seconds)
        return bool(done) and not self._is_released

    def drop(self, bell: Answer[None]) -> None:
        """Forget a bell that nobody waits for."""
        with self._lock:
            self._bells.discard(bell)
