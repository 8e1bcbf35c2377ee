"""Sessions: logins by PIN, as opaque tokens that can be revoked at once.

A token alone reads; with the device's signature over it it pays. The database keeps a
hash of it. A session is of one device and ends with it; which of the person's wallets
it shows was decided by the PIN, and is written so that only the pepper's holder reads it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.changes import Changes
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import uuid7
from identity.devices import Device
from identity.live_sessions import LiveSession, LiveSessions, token_hash
from identity.models import Device as DeviceRow
from identity.models import PinRow, SessionRow
from identity.pin_checks import check_pin
from identity.pin_errors import PinCode
from identity.pin_rules import check_form
from identity.pins import Pins, alarm_mark
from identity.views import View, person_seen, view_mark, view_of_mark

SESSION_LIFETIME: Final = timedelta(minutes=15)
"""From login to the next one; a phone that is taken away is open no longer."""

KEPT: Final = timedelta(days=30)
"""How long a session is kept after its end: officers read of the last days' (``duress_logins``)."""

FORGOTTEN_MAX: Final = 10_000
"""Most sessions that are deleted at once."""

LISTED_MAX: Final = 50
"""Most sessions in a list."""

TOKEN_BYTES: Final = 32
"""256 bits."""


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that was opened; the only time that its token exists in the clear."""

    id: UUID
    token: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session in a list."""

    id: UUID
    device_id: UUID
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class DuressLogin:
    """A login with the duress PIN of somebody who wished that officers hear of it."""

    person_id: UUID
    device_id: UUID
    at: datetime


class Sessions:
    """The sessions of people, as one process sees them."""

    def __init__(self, database: Database, clock: Clock, pins: Pins, changes: Changes | None = None) -> None:
        """Without ``changes`` the database is asked each time whether a session is over."""
        self._database = database
        self._clock = clock
        self._pins = pins
        self._live = LiveSessions(database, clock, pins, changes)

    async def open(self, device: Device, pin: str) -> OpenedSession:
        """Log a device in.

        Refused as ``pin_malformed``, ``pin_checks_busy``, ``pin_not_set``, ``pin_delayed``
        or ``pin_wrong``.
        """
        check_form(pin)
        async with self._pins.hashes.turn(), self._database.session() as session:
            answer = await self._open(session, device, pin)
        # A wrong try is counted by the commit; only then is it refused.
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def _open(self, session: AsyncSession, device: Device, pin: str) -> OpenedSession | Refusal:
        row = await session.scalar(select(PinRow).where(PinRow.person_id == device.person_id))
        if row is None:
            return Refusal(PinCode.PIN_NOT_SET, "There is no PIN yet: set one first.")
        view = await check_pin(session, self._clock, self._pins.hashes, device=device, row=row, pin=pin)
        if isinstance(view, Refusal):
            return view
        now, token = self._clock.now(), secrets.token_urlsafe(TOKEN_BYTES)
        opened = OpenedSession(uuid7(self._clock), token, now, now + SESSION_LIFETIME)
        session.add(
            SessionRow(
                id=opened.id,
                device_id=device.id,
                token_hash=token_hash(token),
                view_mark=view_mark(self._pins.pepper, opened.id, view),
                created_at=now,
                expires_at=opened.expires_at,
            )
        )
        return opened

    async def find(self, token: str) -> LiveSession:
        """The session of a token; refused as ``session_over``, without saying why."""
        return await self._live.find(token)

    async def open_ones(self, live: LiveSession) -> list[SessionSummary]:
        """The sessions that show what ``live`` shows, on all devices, newest first."""
        async with self._database.session() as session:
            rows = await self._alike(session, live)
        return [
            SessionSummary(row.id, row.device_id, row.created_at, row.expires_at) for row in rows[:LISTED_MAX]
        ]

    async def revoke(self, live: LiveSession, session_id: UUID | None) -> datetime:
        """End one of the sessions that show what ``live`` shows, or all of them; when they ended.

        Refused as ``session_not_found`` when there is no such session, or it is over.
        """
        now = self._clock.now()
        async with self._database.session() as session:
            rows = [
                row for row in await self._alike(session, live) if session_id is None or row.id == session_id
            ]
            if session_id is not None and not rows:
                raise Refusal(PinCode.SESSION_NOT_FOUND, "No session of this wallet has this id.")
            for row in rows:
                row.revoked_at = now
            ended = [row.id for row in rows]
        self._live.forget(ended)
        return now

    async def _alike(self, session: AsyncSession, live: LiveSession) -> list[SessionRow]:
        rows = await session.scalars(
            select(SessionRow)
            .join(DeviceRow, DeviceRow.id == SessionRow.device_id)
            .where(
                DeviceRow.person_id == live.owner_id,
                DeviceRow.revoked_at.is_(None),
                SessionRow.revoked_at.is_(None),
                SessionRow.expires_at > self._clock.now(),
            )
            .order_by(SessionRow.created_at.desc(), SessionRow.id.desc())
        )
        pepper = self._pins.pepper
        return [
            row
            for row in rows
            if (view := view_of_mark(pepper, row.id, row.view_mark)) is not None
            and person_seen(pepper, live.owner_id, view) == live.person_id
        ]

    async def duress_logins(self, since: datetime) -> list[DuressLogin]:
        """Logins with a duress PIN since then, of those who wished for an alarm; oldest first.

        Nothing is written for it at the login itself: the sessions say it to the pepper's holder.
        """
        pepper = self._pins.pepper
        async with self._database.connection() as connection:
            rows = await connection.execute(
                select(
                    SessionRow.id,
                    SessionRow.device_id,
                    SessionRow.view_mark,
                    SessionRow.created_at,
                    PinRow.person_id,
                    PinRow.alarm_mark,
                )
                .join(DeviceRow, DeviceRow.id == SessionRow.device_id)
                .join(PinRow, PinRow.person_id == DeviceRow.person_id)
                .where(SessionRow.created_at >= since)
                .order_by(SessionRow.created_at, SessionRow.id)
            )
            return [
                DuressLogin(row.person_id, row.device_id, row.created_at)
                for row in rows
                if row.alarm_mark == alarm_mark(pepper, row.person_id, wanted=True)
                and view_of_mark(pepper, row.id, row.view_mark) is View.DURESS
            ]


async def forget_old_sessions(session: AsyncSession, clock: Clock) -> int:
    """Delete sessions that have been over for a month; how many they were.

    A seized database should say little of when somebody used their phone.
    """
    old = select(SessionRow.id).where(SessionRow.expires_at < clock.now() - KEPT).limit(FORGOTTEN_MAX)
    gone = await session.execute(delete(SessionRow).where(SessionRow.id.in_(old)))
    assert isinstance(gone, CursorResult)
    return gone.rowcount
