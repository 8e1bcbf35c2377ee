"""PINs: setting them, and knowing whether a person has one.

A person has two: the real one, and one to be given under duress, which opens a decoy.
Whoever sets a PIN again shows the current one, and which of both that was decides what
is set: under duress the duress PIN is replaced, and a "duress PIN" set there is
answered as any other and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.changes import Changes
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from identity.decoys import decoy_of
from identity.devices import Device
from identity.models import PinRow
from identity.pepper import Pepper
from identity.pin_checks import check_pin
from identity.pin_errors import PinCode
from identity.pin_hashes import PinHashes
from identity.pin_rules import check_form, check_new_pin
from identity.views import View, person_seen

PERSONS_CACHED_MAX: Final = 100_000
"""People of whom one process remembers whether they have a PIN."""

MakeDecoy = Callable[[UUID], Awaitable[None]]
"""Has a decoy's wallet stand open for this person; may refuse, and may be repeated."""


@dataclass(frozen=True, slots=True)
class PinWish:
    """What somebody asks to be set."""

    pin: str
    current_pin: str | None = None
    """The PIN of before; needed where there is one."""
    duress_pin: str | None = None
    """None leaves it as it is."""
    alarm: bool = False
    """Whether officers are to hear of a login with the duress PIN; set together with it."""


class Pins:
    """The PINs of people, as one process sees them."""

    def __init__(
        self, database: Database, clock: Clock, pepper: Pepper, changes: Changes | None = None
    ) -> None:
        """Without ``changes`` the database is asked each time whether a person has a PIN."""
        self._database = database
        self._clock = clock
        self.pepper = pepper
        self.hashes = PinHashes(pepper)
        self._changes = changes
        self._known: dict[UUID, bool] = {}
        if changes is not None:
            changes.subscribe("pin", self._forget)

    def _forget(self, name: str | None) -> None:
        if name is None:
            self._known.clear()
        else:
            self._known.pop(UUID(name), None)

    async def has_pin(self, person_id: UUID) -> bool:
        """Whether a person has a PIN; a first one counts everywhere some seconds later at most."""
        changes = self._changes
        if changes is not None and changes.are_followed and person_id in self._known:
            return self._known[person_id]
        seen = changes.count if changes is not None else 0
        async with self._database.connection() as connection:
            found = await connection.scalar(select(PinRow.person_id).where(PinRow.person_id == person_id))
        # A notice that came meanwhile may be of this very person: then nothing is kept.
        if changes is not None and changes.count == seen:
            if len(self._known) >= PERSONS_CACHED_MAX:
                self._known.clear()
            self._known[person_id] = found is not None
        return found is not None

    async def set(self, device: Device, wish: PinWish, make_decoy: MakeDecoy) -> datetime:
        """Set a person's PIN, or both; since when they are so.

        Refused as ``pin_malformed``, ``pin_too_simple``, ``pins_alike``,
        ``current_pin_missing``, ``pin_not_set``, ``pin_delayed``, ``pin_wrong``,
        ``pin_checks_busy``, or as ``make_decoy`` refuses.
        """
        _check_wish(wish)
        async with self.hashes.turn():
            try:
                answer = await self._set(device, wish, make_decoy)
            except IntegrityError:
                # Another device of this person set the first PIN at this very moment.
                answer = await self._set(device, wish, make_decoy)
        # A wrong try is counted by the commit; only then is it refused.
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def _set(self, device: Device, wish: PinWish, make_decoy: MakeDecoy) -> datetime | Refusal:
        async with self._database.session() as session:
            row = await session.scalar(
                select(PinRow).where(PinRow.person_id == device.person_id).with_for_update()
            )
            if row is None:
                return await self._set_first(session, device, wish, make_decoy)
            if wish.current_pin is None:
                return Refusal(
                    PinCode.CURRENT_PIN_MISSING, "There is a PIN; give it as current_pin to set another one."
                )
            return await self._set_again(session, device, row, wish, make_decoy)

    async def _set_first(
        self, session: AsyncSession, device: Device, wish: PinWish, make_decoy: MakeDecoy
    ) -> datetime | Refusal:
        if wish.current_pin is not None:
            return Refusal(PinCode.PIN_NOT_SET, "There is no PIN yet; set one without current_pin.")
        person_id, now = device.person_id, self._clock.now()
        if wish.duress_pin is not None:
            await make_decoy(decoy_of(self.pepper, person_id))
        session.add(
            PinRow(
                person_id=person_id,
                real_hash=await self.hashes.make(person_id, wish.pin),
                duress_hash=await self.hashes.make(person_id, wish.duress_pin),
                alarm_mark=alarm_mark(self.pepper, person_id, wanted=wish.alarm),
                set_at=now,
            )
        )
        return now

    async def _set_again(
        self, session: AsyncSession, device: Device, row: PinRow, wish: PinWish, make_decoy: MakeDecoy
    ) -> datetime | Refusal:
        assert wish.current_pin is not None
        checked = await check_pin(
            session, self._clock, self.hashes, device=device, row=row, pin=wish.current_pin
        )
        if isinstance(checked, Refusal):
            return checked
        person_id, now = device.person_id, self._clock.now()
        # The same is computed and written from here on, whichever view it is.
        _, is_duress = await self.hashes.fit(person_id, wish.pin, (row.real_hash, row.duress_hash))
        hashed = await self.hashes.make(person_id, wish.pin)
        hashed_duress = await self.hashes.make(person_id, wish.duress_pin)
        if wish.duress_pin is not None:
            # Before the commit: a PIN that opens a wallet which is not there yet would tell what
            # it is. If the process dies in between, a wallet is left that the same request finds.
            # Under duress it is a decoy's decoy, which nothing opens, so that its handle is taken.
            await make_decoy(decoy_of(self.pepper, person_seen(self.pepper, person_id, checked)))
        if checked is View.DURESS:
            row.duress_hash = hashed
        else:
            if is_duress and wish.duress_pin is None:
                return _alike()
            row.real_hash = hashed
            if wish.duress_pin is not None:
                row.duress_hash = hashed_duress
                row.alarm_mark = alarm_mark(self.pepper, person_id, wanted=wish.alarm)
        row.set_at = now
        return now


def alarm_mark(pepper: Pepper, person_id: UUID, *, wanted: bool) -> bytes:
    """What a row says of the wish for an alarm; without the pepper one looks like the other."""
    return pepper.mac("duress alarm", person_id, b"wanted" if wanted else b"not wanted")[:16]


def _check_wish(wish: PinWish) -> None:
    if wish.current_pin is not None:
        check_form(wish.current_pin)
    check_new_pin(wish.pin)
    if wish.duress_pin is not None:
        check_new_pin(wish.duress_pin)
        if wish.duress_pin == wish.pin:
            raise _alike()


def _alike() -> Refusal:
    return Refusal(PinCode.PINS_ALIKE, "The PIN and the duress PIN must differ.")
