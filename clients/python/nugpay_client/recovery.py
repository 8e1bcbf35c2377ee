"""Recovery: people who can let a new device in when all others are lost.

The owner names them with a device that works, and keeps the list: the server does not
tell it. Who has lost everything makes a new key, shows ``key_id(key.public_jwk)`` to them,
and completes when enough have vouched and the waiting time is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from nugpay_client.connection import Connection
from nugpay_client.models import read


@dataclass(frozen=True, slots=True)
class RecoveryClaim:
    """A new key that people vouch for."""

    key_id: str
    vouched: int
    needed: int
    begun_at: datetime
    completes_at: datetime | None
    """From when on it may enrol itself; None while vouches are missing."""


@dataclass(frozen=True, slots=True)
class RecoveryState:
    """How many are trusted, and the keys that wait."""

    trusted: int
    needed: int
    set_at: datetime | None
    claims: tuple[RecoveryClaim, ...]


class Recovery:
    """Trusting people, vouching for them, and coming back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def state(self) -> RecoveryState:
        """Ask now and then: a key that you do not know is a thief's."""
        return _state((await self._connection.send("GET", "/v1/recovery")).content)

    async def trust(self, handles: Sequence[str], *, needed: int = 2) -> RecoveryState:
        """Trust these two to seven people instead of those of before; nobody, where none is given.

        ``RequestRefused`` as ``recovery_trust_malformed`` or ``recovery_trusted_unknown``.
        """
        body = {"trusted": list(handles), "needed": needed if handles else 0}
        return _state((await self._connection.send("PUT", "/v1/recovery", body)).content)

    async def refuse(self) -> int:
        """Refuse every key that people vouched for, for ever; how many there were."""
        return int((await self._connection.send("POST", "/v1/recovery/refusals")).content["refused"])

    async def vouch(self, handle: str, key_id: str) -> RecoveryClaim:
        """Say that a key is somebody's, after comparing it with them. ``NotFound`` when not trusted."""
        body = {"handle": handle, "key_id": key_id}
        found: RecoveryClaim = read(
            RecoveryClaim, (await self._connection.send("POST", "/v1/recovery/vouches", body)).content
        )
        return found

    async def complete(self) -> UUID:
        """Enrol this device, whose key was vouched for; its id. Safe to repeat.

        ``RequestRefused`` as ``recovery_waiting`` (with ``completes_at``); ``NotFound`` when too few
        have vouched, or the key was refused.
        """
        body = {"public_key": self._connection.signer.public_jwk}
        answer = await self._connection.send("POST", "/v1/recovery/completions", body)
        return UUID(answer.content["device_id"])


def _state(content: dict[str, object]) -> RecoveryState:
    claims = content["claims"]
    assert isinstance(claims, list)
    set_at = content["set_at"]
    return RecoveryState(
        trusted=int(str(content["trusted"])),
        needed=int(str(content["needed"])),
        set_at=datetime.fromisoformat(str(set_at)) if set_at is not None else None,
        claims=tuple(read(RecoveryClaim, each) for each in claims),
    )
