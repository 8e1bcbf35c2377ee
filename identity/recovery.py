"""Recovery: a person who has lost every device is let in again by those they trust.

A person names two to seven people, and how many of them are needed. Who has lost every
device makes a new key, and shows its thumbprint to these people, face to face or by a
voice that they know; each vouches for it with their own device. Enough of them begin a
waiting time, in which any device of the person can refuse the key for ever; then the new
key enrols itself, and all devices of before are revoked. The PIN stays as it was: those
who are trusted can open the door of the house, not the safe in it.

Nothing here can be asked by a stranger but the last step, which needs a key that enough
people vouched for. If this process dies anywhere, each step was one database transaction
or nothing; every step can be repeated and says the same.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import uuid7
from identity import models
from identity.devices import Device
from identity.enrolment import Enrolment
from identity.errors import IdentityCode
from identity.keys import PublicKey
from identity.pepper import Pepper
from identity.recovery_errors import RecoveryCode
from identity.recovery_models import RecoveryRow, TrustRow, VouchRow
from identity.signatures import SignedRequest
from identity.signed_requests import prove_possession

TRUSTED_MIN, TRUSTED_MAX, NEEDED_MIN = 2, 7, 2
"""How many people one may trust, and the fewest that are needed."""

WAITING: Final = timedelta(hours=72)
"""How long a device of the person has to refuse, from when enough people have vouched."""

KEYS_MAX: Final = 5
"""Keys of one person for which one who is trusted may vouch."""

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Trust:
    """How many are trusted, and needed. Who they are, nobody can read back."""

    trusted: int
    needed: int
    set_at: datetime | None
    """None where nobody was ever trusted."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A new key, and how far it is."""

    key_id: str
    vouched: int
    needed: int
    begun_at: datetime
    completes_at: datetime | None
    """From when on the key may enrol itself; None while vouches are missing."""


async def set_trust(
    database: Database, clock: Clock, pepper: Pepper, *, person_id: UUID, trusted: Sequence[UUID], needed: int
) -> Trust:
    """Trust these people from now on, instead of those of before; nobody, where none is given.

    Refused as ``recovery_trust_malformed`` or ``recovery_trusted_unknown``. Keys that people
    vouched for before are refused by it: whoever sets this has a device.
    """
    if trusted and not (
        TRUSTED_MIN <= len(trusted) <= TRUSTED_MAX
        and NEEDED_MIN <= needed <= len(trusted)
        and len(set(trusted)) == len(trusted)
    ):
        raise Refusal(
            RecoveryCode.RECOVERY_TRUST_MALFORMED,
            f"Name {TRUSTED_MIN} to {TRUSTED_MAX} different people, at least {NEEDED_MIN} needed.",
        )
    if person_id in trusted:
        raise trusted_unknown()
    now = clock.now()
    async with database.session() as session:
        await _lock(session, person_id)
        await session.execute(delete(TrustRow).where(TrustRow.person_id == person_id))
        await _refuse_all(session, person_id, now)
        if not trusted:
            return Trust(0, 0, None)
        marks = sorted(_mark(pepper, person_id, one) for one in trusted)
        session.add(TrustRow(person_id=person_id, marks=marks, needed=needed, set_at=now))
    return Trust(len(trusted), needed, now)


async def trust_of(session: AsyncSession, person_id: UUID) -> tuple[Trust, list[Claim]]:
    """Whom a person trusts, by number, and the keys that wait for more vouches or for their time."""
    row = await session.get(TrustRow, person_id)
    if row is None:
        return Trust(0, 0, None), []
    rows = await session.scalars(
        select(RecoveryRow)
        .where(
            RecoveryRow.person_id == person_id,
            RecoveryRow.refused_at.is_(None),
            RecoveryRow.completed_at.is_(None),
        )
        .order_by(RecoveryRow.begun_at, RecoveryRow.key_id)
    )
    claims = [await _claim(session, row, one) for one in rows]
    return Trust(len(row.marks), row.needed, row.set_at), claims


async def refuse_claims(database: Database, clock: Clock, *, person_id: UUID) -> int:
    """Refuse every key that people vouched for, for ever, as one of the person's devices asks."""
    async with database.session() as session:
        await _lock(session, person_id)
        return await _refuse_all(session, person_id, clock.now())


async def vouch(
    database: Database, clock: Clock, pepper: Pepper, *, person_id: UUID, guardian_id: UUID, key_id: str
) -> Claim:
    """Say that a key is a person's; the same again says the same.

    ``person_id`` may be nobody's: the answer is that of somebody who trusts others. Refused
    as ``recovery_key_malformed``, ``_not_trusted``, ``_key_refused`` or ``_too_many_keys``.
    """
    if not _KEY_ID.fullmatch(key_id):
        raise Refusal(RecoveryCode.RECOVERY_KEY_MALFORMED, "Give the thumbprint that the new device shows.")
    mark, now = _mark(pepper, person_id, guardian_id), clock.now()
    async with database.session() as session:
        await _lock(session, person_id)
        trust = await session.get(TrustRow, person_id)
        if trust is None or mark not in trust.marks:
            raise not_trusted()
        await session.execute(
            insert(RecoveryRow)
            .values(person_id=person_id, key_id=key_id, begun_at=now)
            .on_conflict_do_nothing()
        )
        claim = await session.get_one(RecoveryRow, (person_id, key_id))
        if claim.refused_at is not None:
            raise Refusal(RecoveryCode.RECOVERY_KEY_REFUSED, "A device of this person has refused the key.")
        await session.execute(
            insert(VouchRow)
            .values(person_id=person_id, key_id=key_id, mark=mark, vouched_at=now)
            .on_conflict_do_nothing()
        )
        mine = await session.scalar(
            select(func.count())
            .select_from(VouchRow)
            .where(VouchRow.person_id == person_id, VouchRow.mark == mark)
        )
        if (mine or 0) > KEYS_MAX:
            # Takes the vouch back with the database transaction.
            raise Refusal(
                RecoveryCode.RECOVERY_TOO_MANY_KEYS,
                f"At most {KEYS_MAX} keys of one person may be vouched for.",
            )
        if claim.enough_at is None and await _vouched(session, trust, key_id) >= trust.needed:
            claim.enough_at = now
            await session.flush()
        return await _claim(session, trust, claim)


async def complete(database: Database, clock: Clock, *, request: SignedRequest, key: PublicKey) -> Enrolment:
    """Enrol the device that holds ``key`` and sent ``request``; the person's other devices end.

    The same again is the same for ever. Refused as ``recovery_not_found``,
    ``recovery_waiting`` with ``completes_at``, ``device_already_enrolled``, or with the
    refusal of the signature.
    """
    prove_possession(request, key, clock)
    async with database.session() as session:
        person_id = await session.scalar(
            select(RecoveryRow.person_id).where(
                RecoveryRow.key_id == key.key_id,
                RecoveryRow.enough_at.is_not(None),
                RecoveryRow.refused_at.is_(None),
            )
        )
        if person_id is None:
            raise _not_found()
        await _lock(session, person_id)
        claim = await session.get_one(RecoveryRow, (person_id, key.key_id), populate_existing=True)
        if claim.refused_at is not None or claim.enough_at is None:
            raise _not_found()
        if claim.device_id is not None:
            return Enrolment(Device(claim.device_id, person_id, key), replayed=True)
        completes_at = claim.enough_at + WAITING
        if clock.now() < completes_at:
            raise Refusal(
                RecoveryCode.RECOVERY_WAITING,
                "Enough people have vouched; a device of the wallet may still refuse.",
                completes_at=completes_at.isoformat().replace("+00:00", "Z"),
            )
        return Enrolment(await _let_in(session, clock, claim, key), replayed=False)


async def _let_in(session: AsyncSession, clock: Clock, claim: RecoveryRow, key: PublicKey) -> Device:
    known = await session.scalar(select(models.Device.id).where(models.Device.key_id == key.key_id))
    if known is not None:
        raise Refusal(
            IdentityCode.DEVICE_ALREADY_ENROLLED,
            "This key was enrolled before; make a new key, and have people vouch for that.",
        )
    now = clock.now()
    await session.execute(
        update(models.Device)
        .where(models.Device.person_id == claim.person_id, models.Device.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    # Every device came by a code; this one's nobody ever had.
    code = models.EnrolmentCode(
        id=uuid7(clock),
        selector=f"recovery {claim.key_id}",
        code_hash=secrets.token_bytes(32),
        person_id=claim.person_id,
        created_at=now,
        expires_at=now,
        wrong_tries=0,
        used_at=now,
    )
    device = models.Device(
        id=uuid7(clock),
        person_id=claim.person_id,
        key_id=key.key_id,
        algorithm=key.algorithm.value,
        public_key=key.raw,
        enrolment_code_id=code.id,
        created_at=now,
    )
    session.add(code)
    await session.flush()
    session.add(device)
    await session.flush()
    claim.completed_at, claim.device_id = now, device.id
    # Other keys that were vouched for are a thief's, or were given up.
    await _refuse_all(session, claim.person_id, now, but=claim.key_id)
    return Device(device.id, claim.person_id, key)


async def _lock(session: AsyncSession, person_id: UUID) -> None:
    """One step of one person at a time; a person who is not there is waited for by nobody."""
    await session.execute(select(models.Person.id).where(models.Person.id == person_id).with_for_update())


async def _refuse_all(session: AsyncSession, person_id: UUID, now: datetime, *, but: str = "") -> int:
    refused = await session.scalars(
        update(RecoveryRow)
        .where(
            RecoveryRow.person_id == person_id,
            RecoveryRow.key_id != but,
            RecoveryRow.refused_at.is_(None),
            RecoveryRow.completed_at.is_(None),
        )
        .values(refused_at=now)
        .returning(RecoveryRow.key_id)
    )
    return len(refused.all())


async def _vouched(session: AsyncSession, trust: TrustRow, key_id: str) -> int:
    count = await session.scalar(
        select(func.count())
        .select_from(VouchRow)
        .where(
            VouchRow.person_id == trust.person_id, VouchRow.key_id == key_id, VouchRow.mark.in_(trust.marks)
        )
    )
    return count or 0


async def _claim(session: AsyncSession, trust: TrustRow, row: RecoveryRow) -> Claim:
    return Claim(
        row.key_id,
        await _vouched(session, trust, row.key_id),
        trust.needed,
        row.begun_at,
        row.enough_at + WAITING if row.enough_at is not None else None,
    )


def _mark(pepper: Pepper, person_id: UUID, guardian_id: UUID) -> bytes:
    return pepper.mac("trusted for recovery", person_id, guardian_id)


def trusted_unknown() -> Refusal:
    """A handle that is to be trusted is nobody's, or one's own."""
    return Refusal(RecoveryCode.RECOVERY_TRUSTED_UNKNOWN, "One of these handles is nobody's, or your own.")


def not_trusted() -> Refusal:
    """The one answer to whoever is not trusted, whether the other one is there or not."""
    return Refusal(RecoveryCode.RECOVERY_NOT_TRUSTED, "Nobody of this handle has asked you to vouch.")


def _not_found() -> Refusal:
    return Refusal(
        RecoveryCode.RECOVERY_NOT_FOUND, "Too few people have vouched for this key, or it was refused."
    )
