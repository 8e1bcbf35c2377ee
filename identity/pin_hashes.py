"""Hashes of PINs: Argon2id over a MAC under the pepper, a bounded number at a time.

Argon2id costs a thief of both database and pepper about as much memory and time for
each guess as it costs us. That is worth a bound here too: without one, a flood of PINs
would take all memory and all cores from the payments of the same process.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from foundation.errors import Refusal, Retryable
from identity.pepper import Pepper
from identity.pin_errors import PinCode

MEMORY_BYTES: Final = 19 * 1024 * 1024
"""Of one hash: OWASP's first choice for Argon2id (19 MiB, two passes, one lane)."""

PASSES: Final = 2
"""Over that memory."""

CHECKS_MAX: Final = 4
"""Requests of one process that hash at the same time: 76 MiB in all."""

WAITING_MAX: Final = 64
"""Requests that may wait for that; about four seconds' work on one core."""

BUSY_SECONDS: Final = 5
"""When to ask again, if even waiting is full."""


class PinHashes:
    """Makes and verifies hashes of PINs."""

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper
        self._turns = asyncio.Semaphore(CHECKS_MAX)
        self._inside = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn to hash; refused as ``pin_checks_busy`` when too many wait already.

        Taken before a database connection is, so that waiting holds none.
        """
        if self._inside >= CHECKS_MAX + WAITING_MAX:
            raise Refusal(
                PinCode.PIN_CHECKS_BUSY,
                "Too many PINs wait to be checked; this one was not looked at.",
                retryable=Retryable.YES,
                retry_after_seconds=BUSY_SECONDS,
            )
        self._inside += 1
        try:
            async with self._turns:
                yield
        finally:
            self._inside -= 1

    async def make(self, person_id: UUID, pin: str | None) -> str:
        """The hash of a person's PIN; without one the hash of a secret that nobody knows."""
        secret = self._secret(person_id, pin) if pin is not None else secrets.token_bytes(32)
        hashed = await asyncio.to_thread(argon2id.str, secret, opslimit=PASSES, memlimit=MEMORY_BYTES)
        return hashed.decode("ascii")

    async def fit(self, person_id: UUID, pin: str, hashes: tuple[str, ...]) -> list[bool]:
        """Which of the hashes are this PIN's; every one is computed, whatever the others gave."""
        return await asyncio.to_thread(self._fit_all, self._secret(person_id, pin), hashes)

    def _secret(self, person_id: UUID, pin: str) -> bytes:
        # The person is in it, so that a row's hash means nothing in another one's place.
        return self._pepper.mac("pin", person_id, pin.encode())

    @staticmethod
    def _fit_all(secret: bytes, hashes: tuple[str, ...]) -> list[bool]:
        return [_fits(one, secret) for one in hashes]


def _fits(hashed: str, secret: bytes) -> bool:
    try:
        argon2id.verify(hashed.encode(), secret)
    except InvalidkeyError:
        return False
    return True
