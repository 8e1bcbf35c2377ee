"""Officers: people who act for the bank, appointed and dismissed by an operator.

What one may do follows from their roles (identity.roles). No money leaves the bank by it: an
officer's approval counts by a signature that the signer verifies with the keys of its own
policy. Two of them decide whether money that a recall holds goes back to its payer, and to
nobody else. Every question here names an action, so that no officer counts for one that their
roles do not allow; a role that is taken away counts no more from the next question on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.errors import Refusal
from identity.keys import KeyAlgorithm, PublicKey
from identity.models import Device, OfficerRow
from identity.role_errors import RoleCode
from identity.roles import RIGHTS, Action, Role, may


async def officer_name(session: AsyncSession, person_id: UUID, action: Action) -> str | None:
    """The name of the officer that a person is; None if they are none, or not any more.

    Refused as ``officer_role_missing`` where they are one and may not do ``action``.
    """
    found = (
        await session.execute(
            select(OfficerRow.name, OfficerRow.roles).where(
                OfficerRow.person_id == person_id, OfficerRow.dismissed_at.is_(None)
            )
        )
    ).one_or_none()
    if found is None:
        return None
    if not may(roles_of(found.roles), action):
        needed = " or ".join(sorted(RIGHTS[action].roles))
        raise Refusal(RoleCode.OFFICER_ROLE_MISSING, f"This is done by officers who are {needed}.")
    name: str = found.name
    return name


async def officers_who_may(session: AsyncSession, names: Collection[str], action: Action) -> dict[str, UUID]:
    """Those of the names whose bearers are officers now and may do ``action``, and who each is."""
    rows = await session.execute(
        select(OfficerRow.name, OfficerRow.person_id).where(OfficerRow.name.in_(names), *_who_may(action))
    )
    return {row.name: row.person_id for row in rows}


async def names_who_may(
    session: AsyncSession, person_ids: Collection[UUID], action: Action
) -> dict[UUID, str]:
    """Those of the persons who are officers now and may do ``action``, and the name of each."""
    rows = await session.execute(
        select(OfficerRow.person_id, OfficerRow.name).where(
            OfficerRow.person_id.in_(person_ids), *_who_may(action)
        )
    )
    return {row.person_id: row.name for row in rows}


async def deciders(
    session: AsyncSession, action: Action, names: Collection[str], *, subjects: Collection[UUID | None] = ()
) -> tuple[str, ...] | None:
    """The names of those who together may do ``action``, in order; None if they may not.

    Each of the names must be an officer in office whose roles allow it, there must be as many
    as the table asks for, and where it says so none of them may be among ``subjects``, the
    persons whom it is about.
    """
    wanted = sorted({name.strip() for name in names if name.strip()})
    found = await officers_who_may(session, wanted, action)
    rule = RIGHTS[action]
    if len(found) != len(wanted) or len(found) < rule.persons:
        return None
    if not rule.subjects_may and not set(found.values()).isdisjoint(subjects):
        return None
    return tuple(wanted)


@dataclass(frozen=True, slots=True)
class OfficerKey:
    """A device key of somebody who is an officer now."""

    name: str
    """The officer's."""
    key: PublicKey


async def officer_keys(session: AsyncSession, key_ids: Collection[str], action: Action) -> list[OfficerKey]:
    """Those of the keys that are own ones of officers who may do ``action``, of devices not revoked."""
    rows = await session.execute(
        select(OfficerRow.name, Device.algorithm, Device.public_key)
        .join(Device, Device.person_id == OfficerRow.person_id)
        .where(Device.key_id.in_(key_ids), Device.revoked_at.is_(None), *_who_may(action))
        .order_by(Device.id)
    )
    return [
        OfficerKey(row.name, PublicKey(KeyAlgorithm(row.algorithm), row.public_key)) for row in rows.all()
    ]


@dataclass(frozen=True, slots=True)
class Officer:
    """Somebody who is an officer now."""

    person_id: UUID
    name: str
    roles: frozenset[Role]
    appointed_at: datetime


async def list_officers(session: AsyncSession) -> list[Officer]:
    """The officers of now, by name."""
    rows = await session.scalars(
        select(OfficerRow).where(OfficerRow.dismissed_at.is_(None)).order_by(OfficerRow.name)
    )
    return [Officer(row.person_id, row.name, roles_of(row.roles), row.appointed_at) for row in rows]


async def officer_named(session: AsyncSession, name: str) -> Officer | None:
    """The officer of now who has this name."""
    found = (one for one in await list_officers(session) if one.name == name)
    return next(found, None)


async def appoint_officer(
    session: AsyncSession, clock: Clock, *, person_id: UUID, name: str, roles: Collection[Role]
) -> None:
    """Make a person an officer with exactly these roles, again if they were one before.

    The name is unique. Who may have it so is asked by identity.officer_decisions.
    """
    held = sorted(roles)
    await session.execute(
        insert(OfficerRow)
        .values(person_id=person_id, name=name, roles=held, appointed_at=clock.now())
        .on_conflict_do_update(
            index_elements=[OfficerRow.person_id], set_={"name": name, "roles": held, "dismissed_at": None}
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


def roles_of(texts: Collection[str]) -> frozenset[Role]:
    """The roles in an officer's row; words that are none of them give no right."""
    return frozenset(role for role in Role if role in texts)


def _who_may(action: Action) -> tuple[ColumnElement[bool], ...]:
    held = OfficerRow.roles.overlap(sorted(RIGHTS[action].roles))
    return OfficerRow.dismissed_at.is_(None), held
