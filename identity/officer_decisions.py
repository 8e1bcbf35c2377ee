"""Decisions on officers: who is one, and with which roles, said by two operators.

Nobody decides of themselves. A bank that has fewer than two operators cannot decide so
yet: then the command on its machine does, and makes operators only. Once there are two
it never has fewer, since whoever takes one away must be two others.

A decision and its effect are one database transaction, so that no officer is one by
nobody's word. Decisions stand in a chain: each row's hash covers the row before, the
database refuses to change or delete a row, and whoever takes that trigger away first
leaves a gap, a hash that is wrong, or officers who are not what the last row says of
them. Only the newest rows together with their effect can be taken away without a trace
in the database; who keeps the newest number and hash elsewhere sees that too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.errors import NUGPayError
from identity.models import OfficerRow
from identity.officer_models import OfficerDecisionRow
from identity.officers import appoint_officer, deciders, dismiss_officer, list_officers, roles_of
from identity.roles import RIGHTS, Action, Role, may_be_held

BEGINNING: Final = bytes(32)
"""What stands for the hash before the first decision."""


class OfficerDecisionRefused(NUGPayError):
    """Nothing was decided; the text says why to an operator."""


class DecisionKind(StrEnum):
    """What was decided of an officer."""

    APPOINTED = "appointed"
    """They are one from now on."""
    ROLES_CHANGED = "roles_changed"
    """They have other roles."""
    DISMISSED = "dismissed"
    """They are none any more."""


@dataclass(frozen=True, slots=True)
class OfficerDecision:
    """A decision about one officer."""

    number: int
    person_id: UUID
    name: str
    kind: DecisionKind
    roles: tuple[Role, ...]
    decided_by: tuple[str, ...]
    """Names of the operators; none: the bank's machine, which had no two of them."""
    reason: str
    decided_at: datetime
    hash: bytes


async def decide_appointment(
    session: AsyncSession,
    clock: Clock,
    *,
    person_id: UUID,
    name: str,
    roles: Collection[Role],
    decided_by: Collection[str],
    reason: str,
) -> OfficerDecision:
    """Make a person an officer, who may be one no more since earlier.

    Raises ``OfficerDecisionRefused`` where they are one, the name is somebody else's, the
    roles are none that one may hold together, there is no reason, or those who decide are
    not two operators other than the person.
    """
    await _begin(session)
    by = await _deciders(session, decided_by, person_id, roles, reason)
    if not name.strip() or "," in name:
        raise OfficerDecisionRefused("an officer has a name, without a comma in it")
    same_name = OfficerRow.name == name
    for row in await session.scalars(
        select(OfficerRow).where((OfficerRow.person_id == person_id) | same_name)
    ):
        if row.person_id != person_id:
            raise OfficerDecisionRefused(f"{name} is or was another officer's name")
        if row.dismissed_at is None:
            raise OfficerDecisionRefused(f"this person is an officer already, as {row.name}")
    await appoint_officer(session, clock, person_id=person_id, name=name, roles=roles)
    return await _write(session, clock, person_id, name, DecisionKind.APPOINTED, roles, by, reason)


async def decide_roles(
    session: AsyncSession,
    clock: Clock,
    *,
    name: str,
    roles: Collection[Role],
    decided_by: Collection[str],
    reason: str,
) -> OfficerDecision:
    """Give an officer exactly these roles. Refused as ``decide_appointment`` refuses."""
    await _begin(session)
    person_id = await _in_office(session, name)
    by = await _deciders(session, decided_by, person_id, roles, reason)
    await session.execute(
        update(OfficerRow).where(OfficerRow.person_id == person_id).values(roles=sorted(roles))
    )
    return await _write(session, clock, person_id, name, DecisionKind.ROLES_CHANGED, roles, by, reason)


async def decide_dismissal(
    session: AsyncSession, clock: Clock, *, name: str, decided_by: Collection[str], reason: str
) -> OfficerDecision:
    """Take an officer's rights away from the next request on; refused as ``decide_appointment`` refuses.

    Their key stays in the signer's policy until its owner takes it out there.
    """
    await _begin(session)
    person_id = await _in_office(session, name)
    by = await _deciders(session, decided_by, person_id, None, reason)
    await dismiss_officer(session, clock, name=name)
    return await _write(session, clock, person_id, name, DecisionKind.DISMISSED, (), by, reason)


async def officer_decisions(session: AsyncSession) -> list[OfficerDecision]:
    """Every decision, the oldest first."""
    rows = await session.scalars(select(OfficerDecisionRow).order_by(OfficerDecisionRow.number))
    return [_decision(row) for row in rows]


async def check_decisions(session: AsyncSession) -> list[str]:
    """What is wrong with the chain, or with officers who are not what it says; nothing: it holds.

    Officers of before decisions were written down, of whom none was made since, are not in it.
    """
    decisions = await officer_decisions(session)
    wrong: list[str] = []
    before = BEGINNING
    for position, one in enumerate(decisions, start=1):
        if one.number != position:
            return [*wrong, f"decision {position} is missing"]
        if one.hash != _hash(before, one):
            wrong.append(f"decision {position} is not what was written")
        before = one.hash
    newest = {one.person_id: one for one in decisions}
    now = {one.person_id: one for one in await list_officers(session)}
    for person_id, decision in newest.items():
        officer = now.get(person_id)
        stands = (officer.name, officer.roles) if officer is not None else None
        said = (decision.name, frozenset(decision.roles))
        if stands != (None if decision.kind is DecisionKind.DISMISSED else said):
            wrong.append(f"{decision.name} is not what decision {decision.number} says")
    return wrong


async def _begin(session: AsyncSession) -> None:
    """One decision after the other: each reads who the operators are, and the newest hash."""
    await session.execute(text("LOCK TABLE identity_officer_decision IN EXCLUSIVE MODE"))


async def _deciders(
    session: AsyncSession,
    decided_by: Collection[str],
    subject: UUID,
    roles: Collection[Role] | None,
    reason: str,
) -> tuple[str, ...]:
    """The names under a decision; ``roles`` are those that it gives, None where it takes all."""
    if not reason.strip():
        raise OfficerDecisionRefused("officers are decided on for a reason")
    if roles is not None and not may_be_held(roles):
        raise OfficerDecisionRefused("an officer has a role; operator and auditor are held alone")
    rule = RIGHTS[Action.DECIDE_ON_OFFICERS]
    if await _operators(session) < rule.persons:
        if list(decided_by):
            raise OfficerDecisionRefused(
                f"there are not {rule.persons} operators yet: the command decides, in nobody's name"
            )
        if roles is not None and set(roles) != {Role.OPERATOR}:
            raise OfficerDecisionRefused(
                f"there are not {rule.persons} operators yet: make them first, then they decide"
            )
        return ()
    names = await deciders(session, Action.DECIDE_ON_OFFICERS, decided_by, subjects=[subject])
    if names is None:
        raise OfficerDecisionRefused(f"{rule.persons} operators decide it, and none of them of themselves")
    return names


async def _operators(session: AsyncSession) -> int:
    held = OfficerRow.roles.contains([Role.OPERATOR.value])
    query = select(func.count()).where(OfficerRow.dismissed_at.is_(None), held)
    return int(await session.scalar(query) or 0)


async def _in_office(session: AsyncSession, name: str) -> UUID:
    person_id: UUID | None = await session.scalar(
        select(OfficerRow.person_id).where(OfficerRow.name == name, OfficerRow.dismissed_at.is_(None))
    )
    if person_id is None:
        raise OfficerDecisionRefused(f"there is no officer {name}")
    return person_id


async def _write(
    session: AsyncSession,
    clock: Clock,
    person_id: UUID,
    name: str,
    kind: DecisionKind,
    roles: Iterable[Role],
    decided_by: Sequence[str],
    reason: str,
) -> OfficerDecision:
    newest = await session.scalar(
        select(OfficerDecisionRow).order_by(OfficerDecisionRow.number.desc()).limit(1)
    )
    row = OfficerDecisionRow(
        number=newest.number + 1 if newest is not None else 1,
        person_id=person_id,
        name=name,
        kind=kind.value,
        roles=sorted(roles),
        decided_by=list(decided_by),
        reason=reason.strip(),
        decided_at=clock.now(),
        hash=b"",
    )
    row.hash = _hash(newest.hash if newest is not None else BEGINNING, _decision(row))
    session.add(row)
    await session.flush()
    return _decision(row)


def _decision(row: OfficerDecisionRow) -> OfficerDecision:
    return OfficerDecision(
        number=row.number,
        person_id=row.person_id,
        name=row.name,
        kind=DecisionKind(row.kind),
        roles=tuple(sorted(roles_of(row.roles))),
        decided_by=tuple(row.decided_by),
        reason=row.reason,
        decided_at=row.decided_at,
        hash=row.hash,
    )


def _hash(before: bytes, decision: OfficerDecision) -> bytes:
    """JSON in one form: a list of texts, in the order of the fields."""
    told = [
        str(decision.number),
        str(decision.person_id),
        decision.name,
        decision.kind.value,
        ", ".join(decision.roles),
        ", ".join(decision.decided_by),
        decision.reason,
        decision.decided_at.astimezone(UTC).isoformat(timespec="microseconds"),
    ]
    content = json.dumps(told, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(before + content.encode()).digest()
