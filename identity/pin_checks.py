"""Checking a PIN: the count of the device's tries, both hashes, and what follows.

Everything is one database transaction under a lock on the device's tries, which is
committed before anything is answered. If the process dies before that, the try was not
counted, and nobody was told what it came to. The same statements run and the same hashes
are computed whether the PIN is the first, the second or none.
"""

from __future__ import annotations

from datetime import datetime
from math import ceil

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.errors import Refusal, Retryable
from identity.devices import Device
from identity.models import Device as DeviceRow
from identity.models import PinRow, PinTriesRow
from identity.pin_errors import PinCode
from identity.pin_hashes import PinHashes
from identity.pin_tries import TRIES_MAX, counted, next_try_at
from identity.views import View


async def check_pin(
    session: AsyncSession, clock: Clock, hashes: PinHashes, *, device: Device, row: PinRow, pin: str
) -> View | Refusal:
    """What a person's PIN opens; or ``pin_delayed`` or ``pin_wrong``, to be raised after the commit."""
    now = clock.now()
    tries = await _tries_of(session, device)
    wrong = counted(tries.wrong, tries.last_wrong_at, now)
    not_before = next_try_at(wrong, tries.last_wrong_at)
    if not_before is not None and now < not_before:
        return _delayed(now, not_before)
    is_real, is_duress = await hashes.fit(device.person_id, pin, (row.real_hash, row.duress_hash))
    if is_real or is_duress:
        # Both only when somebody chose, in the decoy's view, what happens to be the real PIN.
        # They must not learn that, so the decoy it stays.
        return View.DURESS if is_duress else View.REAL
    tries.wrong = wrong + 1
    tries.last_wrong_at = now
    if tries.wrong >= TRIES_MAX:
        await session.execute(
            update(DeviceRow)
            .where(DeviceRow.id == device.id)
            .values(revoked_at=func.coalesce(DeviceRow.revoked_at, now))
        )
    return _wrong(tries.wrong)


async def _tries_of(session: AsyncSession, device: Device) -> PinTriesRow:
    await session.execute(
        insert(PinTriesRow).values(device_id=device.id, wrong=0, last_wrong_at=None).on_conflict_do_nothing()
    )
    tries = await session.scalar(
        select(PinTriesRow).where(PinTriesRow.device_id == device.id).with_for_update()
    )
    assert tries is not None
    return tries


def _delayed(now: datetime, not_before: datetime) -> Refusal:
    seconds = ceil((not_before - now).total_seconds())
    return Refusal(
        PinCode.PIN_DELAYED,
        f"After wrong PINs this device has to wait; the next try is looked at in {seconds} s.",
        retryable=Retryable.YES,
        retry_after_seconds=seconds,
    )


def _wrong(wrong: int) -> Refusal:
    left = TRIES_MAX - wrong
    return Refusal(
        PinCode.PIN_WRONG,
        f"The PIN is wrong; tries left before this device's key is stopped: {left}.",
        tries_left=left,
    )
