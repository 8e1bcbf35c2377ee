"""Nonces: a verified request is carried out once.

The nonce of a request is recorded only after its signature has verified, so a
stranger can write nothing. One statement records it, asks whether the device is
still allowed, and answers whether the nonce is new; requests that arrive
together share one statement.

The commit does not wait for the disk (``synchronous_commit`` off for this one
statement). If the machine dies, the nonces of the last moment may be forgotten,
and a copy of such a request could be carried out again within the signature's
window. That moves no money twice: whatever moves money carries its own id, and
the same id is the same payment for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final
from uuid import UUID

from sqlalchemy import CursorResult, delete, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Unavailable
from identity import models
from identity.errors import IdentityCode

BATCH_MAX: Final = 500
"""Most nonces in one statement."""

_RECORD = text("""
WITH asked AS (
    SELECT * FROM unnest(
        CAST(:device_ids AS uuid[]), CAST(:nonces AS text[]), CAST(:expires AS timestamptz[])
    ) AS asked(device_id, nonce, expires_at)
), live AS (
    SELECT asked.* FROM asked
    JOIN identity_device AS device ON device.id = asked.device_id AND device.revoked_at IS NULL
), written AS (
    INSERT INTO identity_nonce (device_id, nonce, expires_at)
    SELECT device_id, nonce, expires_at FROM live
    ON CONFLICT DO NOTHING
    RETURNING device_id, nonce
)
SELECT asked.device_id, asked.nonce, live.device_id IS NOT NULL AS is_live,
       written.device_id IS NOT NULL AS is_new
FROM asked
LEFT JOIN live USING (device_id, nonce)
LEFT JOIN written USING (device_id, nonce)
""")


class _Outcome(Enum):
    NEW = auto()
    REPLAYED = auto()
    REVOKED = auto()


@dataclass(slots=True)
class _Waiting:
    device_id: UUID
    nonce: str
    expires_at: datetime
    outcome: asyncio.Future[_Outcome]


class NonceRecorder:
    """Records nonces of one process, those that wait together in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None

    async def record(self, device_id: UUID, nonce: str, expires_at: datetime) -> None:
        """Take a nonce once; refused as ``nonce_replayed`` or ``device_revoked``.

        ``Unavailable`` when the database does not answer; nothing that the request
        asked for has happened then.
        """
        waiting = _Waiting(device_id, nonce, expires_at, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._worker is None:
            self._worker = asyncio.create_task(self._run())
        outcome = await waiting.outcome
        if outcome is _Outcome.REVOKED:
            raise Refusal(IdentityCode.DEVICE_REVOKED, "This device was revoked.")
        if outcome is _Outcome.REPLAYED:
            raise Refusal(
                IdentityCode.NONCE_REPLAYED,
                "This nonce was used before; every request, a repeated one too, is signed anew.",
            )

    async def _run(self) -> None:
        # What arrives while a statement is under way is the next batch.
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await self._answer(batch)
        finally:
            self._worker = None

    async def _answer(self, batch: list[_Waiting]) -> None:
        first: dict[tuple[UUID, str], _Waiting] = {}
        for waiting in batch:
            first.setdefault((waiting.device_id, waiting.nonce), waiting)
        try:
            outcomes = await self._write(list(first.values()))
        except (SQLAlchemyError, OSError) as error:
            # Whether it was committed does not matter: the caller goes no further, and
            # repeats with a new nonce.
            for waiting in batch:
                _fail(waiting, _unavailable(type(error).__name__))
            return
        except BaseException as error:
            # Nobody may wait for ever for an answer that this task can no longer give.
            for waiting in batch:
                _fail(waiting, _unavailable(type(error).__name__))
            raise
        for waiting in batch:
            key = (waiting.device_id, waiting.nonce)
            outcome = outcomes[key]
            if outcome is _Outcome.NEW and first[key] is not waiting:
                outcome = _Outcome.REPLAYED
            if not waiting.outcome.done():
                waiting.outcome.set_result(outcome)

    async def _write(self, batch: Sequence[_Waiting]) -> dict[tuple[UUID, str], _Outcome]:
        async with self._database.connection() as connection:
            await connection.execute(text("SET LOCAL synchronous_commit = off"))
            rows = await connection.execute(
                _RECORD,
                {
                    "device_ids": [waiting.device_id for waiting in batch],
                    "nonces": [waiting.nonce for waiting in batch],
                    "expires": [waiting.expires_at for waiting in batch],
                },
            )
            return {
                (row.device_id, row.nonce): (
                    _Outcome.NEW if row.is_new else _Outcome.REPLAYED if row.is_live else _Outcome.REVOKED
                )
                for row in rows
            }


def _fail(waiting: _Waiting, error: Unavailable) -> None:
    if not waiting.outcome.done():
        waiting.outcome.set_exception(error)


def _unavailable(reason: str) -> Unavailable:
    return Unavailable(
        "database_unavailable",
        f"The database did not answer ({reason}); nothing was done.",
        outcome_unknown=False,
    )


async def forget_expired_nonces(session: AsyncSession, clock: Clock) -> int:
    """Delete nonces whose signatures are refused for their age alone; how many they were."""
    gone = await session.execute(delete(models.Nonce).where(models.Nonce.expires_at < clock.now()))
    assert isinstance(gone, CursorResult)
    return gone.rowcount
