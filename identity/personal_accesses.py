"""Accesses: an officer reads somebody's personal data, and it stands written first.

The row is committed before anything is opened. Whoever dies between has written of a look
that was none, which is the side to be wrong on: there is no look that is not written.
The person sees each of them, with its time and role; the reason and the officer's name
are for the bank's auditors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select

from foundation.errors import NUGPayError
from foundation.ids import uuid7
from identity.officers import deciders, officer_named
from identity.personal_data import PersonalData, PersonalRecords
from identity.personal_models import PersonalAccessRow
from identity.roles import RIGHTS, Action, Role

LISTED_MAX: Final = 50
"""Most accesses that are shown to the person, the newest first."""

AUDITED_MAX: Final = 1000
"""Most accesses that are shown to an auditor, the newest first."""


class PersonalAccessRefused(NUGPayError):
    """Nothing was read; the text says why to an operator."""


@dataclass(frozen=True, slots=True)
class PersonalAccess:
    """An officer's look at somebody's personal data."""

    role: Role
    accessed_at: datetime


@dataclass(frozen=True, slots=True)
class RecordedAccess:
    """The same as it is written down, for those who judge it."""

    person_id: UUID
    officer_name: str
    role: Role
    reason: str
    accessed_at: datetime


async def read_as_officer(records: PersonalRecords, *, person_id: UUID, by: str, reason: str) -> PersonalData:
    """What a person has told of themselves, for an officer whose role allows it.

    Raises ``PersonalAccessRefused`` where there is no reason or no such right, or it is the
    officer's own; refused as ``PersonalRecords.read`` refuses, and that look is written too.
    """
    if not reason.strip():
        raise PersonalAccessRefused("personal data is read for a reason")
    rule = RIGHTS[Action.READ_PERSONAL_DATA]
    async with records.database.session() as session:
        officer = await officer_named(session, by.strip())
        allowed = sorted(officer.roles & rule.roles) if officer is not None else []
        if officer is None or not allowed:
            needed = " or ".join(sorted(rule.roles))
            raise PersonalAccessRefused(f"it is read by an officer who is in office as {needed}")
        if officer.person_id == person_id:
            raise PersonalAccessRefused("one's own is read as any customer reads it")
        session.add(
            PersonalAccessRow(
                id=uuid7(records.clock),
                person_id=person_id,
                officer_id=officer.person_id,
                officer_name=officer.name,
                role=allowed[0].value,
                reason=reason.strip(),
                accessed_at=records.clock.now(),
            )
        )
    # Dies here: it is written that somebody looked who did not.
    return await records.read(person_id)


async def recorded_accesses(records: PersonalRecords, *, by: str) -> Sequence[RecordedAccess]:
    """Every officer's looks with their reasons, the newest first, for an auditor.

    Raises ``PersonalAccessRefused`` for anybody else.
    """
    action = Action.SEE_PERSONAL_ACCESSES
    async with records.database.session() as session:
        if await deciders(session, action, [by]) is None:
            needed = " or ".join(sorted(RIGHTS[action].roles))
            raise PersonalAccessRefused(f"it is seen by an officer who is in office as {needed}")
        newest = (PersonalAccessRow.accessed_at.desc(), PersonalAccessRow.id.desc())
        rows = await session.scalars(select(PersonalAccessRow).order_by(*newest).limit(AUDITED_MAX))
        return [
            RecordedAccess(row.person_id, row.officer_name, Role(row.role), row.reason, row.accessed_at)
            for row in rows
        ]


async def accesses_of(records: PersonalRecords, person_id: UUID) -> Sequence[PersonalAccess]:
    """Who looked at a person's data, the newest first, as that person may see it."""
    async with records.database.session() as session:
        rows = await session.scalars(
            select(PersonalAccessRow)
            .where(PersonalAccessRow.person_id == person_id)
            .order_by(PersonalAccessRow.accessed_at.desc(), PersonalAccessRow.id.desc())
            .limit(LISTED_MAX)
        )
        return [PersonalAccess(Role(row.role), row.accessed_at) for row in rows]
