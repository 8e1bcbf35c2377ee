"""Devices: finding one by its key, listing and revoking.

What the directory keeps of a device never changes: its key, and whose it is. That a
device is not revoked is kept as long as changes are followed (foundation.changes);
the statement that records a request's nonce asks it every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.changes import Changes
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from identity import models
from identity.errors import IdentityCode
from identity.keys import KeyAlgorithm, PublicKey

DEVICES_CACHED_MAX: Final = 100_000
"""Devices kept in memory by one process; about 1 KB each."""


@dataclass(frozen=True, slots=True)
class Device:
    """An enrolled device, as far as it never changes."""

    id: UUID
    person_id: UUID
    key: PublicKey


class DeviceDirectory:
    """Finds devices by the id of their key; what was found once costs nothing again."""

    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        """Without ``changes`` the database is asked each time whether a device is revoked."""
        self._database = database
        self._changes = changes
        self._devices: dict[str, Device] = {}
        self._live: set[UUID] = set()
        if changes is not None:
            changes.subscribe("device", self._forget)

    def _forget(self, name: str | None) -> None:
        if name is None:
            self._live.clear()
        else:
            self._live.discard(UUID(name))

    async def refuse_revoked(self, device: Device) -> None:
        """Refuse a device that was revoked, as ``device_revoked``; at most some seconds after it was."""
        changes = self._changes
        if changes is not None and changes.are_followed and device.id in self._live:
            return
        seen = changes.count if changes is not None else 0
        async with self._database.connection() as connection:
            is_live = await connection.scalar(
                select(models.Device.revoked_at.is_(None)).where(models.Device.id == device.id)
            )
        if not is_live:
            raise Refusal(IdentityCode.DEVICE_REVOKED, "This device was revoked.")
        # A notice that came meanwhile may be of this very device: then nothing is kept.
        if changes is not None and changes.count == seen:
            if len(self._live) >= DEVICES_CACHED_MAX:
                self._live.clear()
            self._live.add(device.id)

    async def find(self, key_id: str) -> Device | None:
        """The device with this key, revoked or not; None when there is none."""
        device = self._devices.get(key_id)
        if device is not None:
            return device
        # Absence is not remembered: the device may be enrolled a moment later, and a
        # stranger could fill the memory with keys that do not exist.
        columns = models.Device
        async with self._database.connection() as connection:
            row = (
                await connection.execute(
                    select(columns.id, columns.person_id, columns.algorithm, columns.public_key).where(
                        columns.key_id == key_id
                    )
                )
            ).one_or_none()
        if row is None:
            return None
        device = Device(row.id, row.person_id, PublicKey(KeyAlgorithm(row.algorithm), row.public_key))
        if len(self._devices) >= DEVICES_CACHED_MAX:
            self._devices.pop(next(iter(self._devices)))
        self._devices[key_id] = device
        return device


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """A device as its owner sees it in a list."""

    id: UUID
    key_id: str
    algorithm: KeyAlgorithm
    created_at: datetime
    revoked_at: datetime | None


async def list_devices(session: AsyncSession, person_id: UUID) -> list[DeviceSummary]:
    """A person's devices, oldest first, revoked ones included."""
    rows = await session.scalars(
        select(models.Device)
        .where(models.Device.person_id == person_id)
        .order_by(models.Device.created_at, models.Device.id)
    )
    return [
        DeviceSummary(row.id, row.key_id, KeyAlgorithm(row.algorithm), row.created_at, row.revoked_at)
        for row in rows
    ]


async def revoke_device(session: AsyncSession, clock: Clock, *, person_id: UUID, device_id: UUID) -> bool:
    """Take a device's rights away for ever, from the next request on; False when it is not theirs.

    Revoking twice keeps the first time.
    """
    revoked = await session.scalar(
        update(models.Device)
        .where(models.Device.id == device_id, models.Device.person_id == person_id)
        .values(revoked_at=func.coalesce(models.Device.revoked_at, clock.now()))
        .returning(models.Device.id)
    )
    return revoked is not None
