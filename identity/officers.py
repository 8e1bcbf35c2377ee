"""Officers: people who act for the bank, appointed and dismissed by an operator.

Being one opens the officers' routes. No money leaves the bank by it: an officer's approval
counts by a signature that the signer verifies with the keys of its own policy. Two of them
decide whether money that a recall holds goes back to its payer, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from identity.keys import KeyAlgorithm, PublicKey
from identity.models import Device, OfficerRow


async def officer_name(session: AsyncSession, person_id: UUID) -> str | None:
    """The name of the officer that a person is; None if they are none, or not any more."""
    name: str | None = await session.scalar(
        select(OfficerRow.name).where(OfficerRow.person_id == person_id, OfficerRow.dismissed_at.is_(None))
    )
    return name


async def officers_in_office(session: AsyncSession, names: Collection[str]) -> dict[str, UUID]:
    """Those of the names whose bearers are officers now, and which person each is."""
    rows = await session.execute(
        select(OfficerRow.name, OfficerRow.person_id).where(
            OfficerRow.name.in_(names), OfficerRow.dismissed_at.is_(None)
        )
    )
    return {row.name: row.person_id for row in rows}


async def names_in_office(session: AsyncSession, person_ids: Collection[UUID]) -> dict[UUID, str]:
    """Those of the persons who are officers now, and the name of each."""
    rows = await session.execute(
        select(OfficerRow.person_id, OfficerRow.name).where(
            OfficerRow.person_id.in_(person_ids), OfficerRow.dismissed_at.is_(None)
        )
    )
    return {row.person_id: row.name for row in rows}


@dataclass(frozen=True, slots=True)
class OfficerKey:
    """A device key of somebody who is an officer now."""

    name: str
    """The officer's."""
    key: PublicKey


async def officer_keys(session: AsyncSession, key_ids: Collection[str]) -> list[OfficerKey]:
    """Those of the keys that are officers' own, of devices that are not revoked."""
    rows = await session.execute(
        select(OfficerRow.name, Device.algorithm, Device.public_key)
        .join(Device, Device.person_id == OfficerRow.person_id)
        .where(Device.key_id.in_(key_ids), Device.revoked_at.is_(None), OfficerRow.dismissed_at.is_(None))
        .order_by(Device.id)
    )
    return [
        OfficerKey(row.name, PublicKey(KeyAlgorithm(row.algorithm), row.public_key)) for row in rows.all()
    ]


async def appoint_officer(session: AsyncSession, clock: Clock, *, person_id: UUID, name: str) -> None:
    """Make a person an officer, again if they were one before; the name is unique."""
    await session.execute(
        insert(OfficerRow)
        .values(person_id=person_id, name=name, appointed_at=clock.now())
        .on_conflict_do_update(
            index_elements=[OfficerRow.person_id], set_={"name": name, "dismissed_at": None}
        )
    )


async def dismiss_officer(session: AsyncSession, clock: Clock, *, name: str) -> bool:
    """Take an officer's rights away from the next request on; false if there is none of that name.

    Their key stays in the signer's policy until its owner takes it out there.
    """
    dismissed = await session.scalar(
        update(OfficerRow)
        .where(OfficerRow.name == name)
        .values(dismissed_at=func.coalesce(OfficerRow.dismissed_at, clock.now()))
        .returning(OfficerRow.person_id)
    )
    return dismissed is not None
