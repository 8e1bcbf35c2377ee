"""Live sessions: which session a token proves, without asking the database each time.

What is remembered of a session never changes but its end: it is believed while changes
are followed (foundation.changes), which tell of every end of a session or its device, and
until its time is over. A token that proves nothing is looked up each time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select

from foundation.changes import Changes
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from identity.models import Device as DeviceRow
from identity.models import SessionRow
from identity.pin_errors import PinCode
from identity.pins import Pins
from identity.views import person_seen, view_of_mark

SESSIONS_CACHED_MAX: Final = 100_000
"""Sessions kept in memory by one process; about 1 KB each."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that a token proves."""

    id: UUID
    device_id: UUID
    owner_id: UUID
    """The person whose device it is."""
    person_id: UUID
    """The person whose wallet is shown: the owner, or a decoy."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A session that was found, and when it is over."""

    session: LiveSession
    expires_at: datetime


class LiveSessions:
    """Finds sessions by their tokens; those of one process' memory are asked first."""

    def __init__(self, database: Database, clock: Clock, pins: Pins, changes: Changes | None = None) -> None:
        """Without ``changes`` a session is read each time."""
        self._database = database
        self._clock = clock
        self._pins = pins
        self._changes = changes
        self._known: dict[bytes, _Known] = {}
        self._hashes: dict[UUID, bytes] = {}
        """By session: under which hash it is remembered."""
        if changes is not None:
            changes.subscribe("session", self._forget_one)
            changes.subscribe("device", self._forget_device)

    async def find(self, token: str) -> LiveSession:
        """The session of a token; refused as ``session_over``, without saying why."""
        if not _TOKEN.fullmatch(token):
            raise session_over()
        hashed = token_hash(token)
        changes = self._changes
        if changes is not None and changes.are_followed:
            known = self._known.get(hashed)
            if known is not None and known.expires_at > self._clock.now():
                return known.session
        seen = changes.count if changes is not None else 0
        found = await self._read(hashed)
        # A notice that came meanwhile may be of this very session: then nothing is kept.
        if changes is not None and changes.count == seen:
            self._keep(hashed, found)
        return found.session

    def forget(self, session_ids: Iterable[UUID]) -> None:
        """These sessions were ended by this process: here they are over at once."""
        for session_id in session_ids:
            self._known.pop(self._hashes.pop(session_id, b""), None)

    async def _read(self, hashed: bytes) -> _Known:
        async with self._database.connection() as connection:
            row = (
                await connection.execute(
                    select(
                        SessionRow.id,
                        SessionRow.device_id,
                        SessionRow.view_mark,
                        SessionRow.expires_at,
                        DeviceRow.person_id,
                    )
                    .join(DeviceRow, DeviceRow.id == SessionRow.device_id)
                    .where(
                        SessionRow.token_hash == hashed,
                        SessionRow.revoked_at.is_(None),
                        SessionRow.expires_at > self._clock.now(),
                        DeviceRow.revoked_at.is_(None),
                    )
                )
            ).one_or_none()
        if row is None:
            raise session_over()
        pepper = self._pins.pepper
        view = view_of_mark(pepper, row.id, row.view_mark)
        if view is None:
            raise session_over()
        person_id = person_seen(pepper, row.person_id, view)
        return _Known(LiveSession(row.id, row.device_id, row.person_id, person_id), row.expires_at)

    def _keep(self, hashed: bytes, known: _Known) -> None:
        if len(self._known) >= SESSIONS_CACHED_MAX:
            oldest = self._known.pop(next(iter(self._known)))
            self._hashes.pop(oldest.session.id, None)
        self._known[hashed] = known
        self._hashes[known.session.id] = hashed

    def _forget_one(self, name: str | None) -> None:
        if name is None:
            self._known.clear()
            self._hashes.clear()
        else:
            self.forget([UUID(name)])

    def _forget_device(self, name: str | None) -> None:
        # A device is revoked seldom, and may have several sessions.
        gone = [
            known.session.id
            for known in self._known.values()
            if name is None or known.session.device_id == UUID(name)
        ]
        self.forget(gone)


def session_over() -> Refusal:
    """The one answer for every session that cannot be believed."""
    return Refusal(PinCode.SESSION_OVER, "This session is over; log in again with the PIN.")


def token_hash(token: str) -> bytes:
    """What the database keeps of a token."""
    return hashlib.sha256(b"nugpay session\0" + token.encode()).digest()
