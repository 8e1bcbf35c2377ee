"""Enrolment: how a device becomes somebody's.

An officer, an agent or an existing device hands out a one-time code; the new
device sends it with its public key, in a request signed by that key. A code has
a selector of 40 bits, by which it is found, and a secret of 90 bits, of which
only a hash is kept; five wrong secrets end it. The same code with the same key
gives the same answer for ever, so that a lost answer costs nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import uuid7
from identity import models
from identity.devices import Device
from identity.errors import IdentityCode
from identity.keys import PublicKey
from identity.pin_errors import PinCode
from identity.signatures import SignedRequest
from identity.signed_requests import prove_possession

CODE_LIFETIME: Final = timedelta(days=7)
"""How long a code can be used, unless its issuer says less."""

WRONG_TRIES_MAX: Final = 5
"""Wrong secrets after which a code is dead."""

DEVICE_CODES_A_DAY: Final = 3
"""Codes that a person's devices may give out in any 24 hours."""

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, so that a code survives handwriting."""

SELECTOR_LENGTH: Final = 8
"""Characters of the public part: 40 bits."""

SECRET_LENGTH: Final = 18
"""Characters of the secret part: 90 bits."""

_TYPED: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_CODE = re.compile(f"[{ALPHABET}]{{{SELECTOR_LENGTH + SECRET_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device that is enrolled, and whether this request did it or an earlier one."""

    device: Device
    replayed: bool


async def issue_enrolment_code(
    session: AsyncSession,
    clock: Clock,
    *,
    person_id: UUID | None = None,
    lifetime: timedelta = CODE_LIFETIME,
) -> str:
    """Make a code, for a further device of ``person_id`` or for a new person.

    The answer is the only time that the code exists in the clear:
    ``K7QF2M9X-3JD8WZ-PQ4T7V-N2C5RA``.
    """
    selector = "".join(secrets.choice(ALPHABET) for _ in range(SELECTOR_LENGTH))
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    now = clock.now()
    session.add(
        models.EnrolmentCode(
            id=uuid7(clock),
            selector=selector,
            code_hash=_hash(selector + secret),
            person_id=person_id,
            created_at=now,
            expires_at=now + lifetime,
            wrong_tries=0,
        )
    )
    await session.flush()
    return "-".join((selector, secret[:6], secret[6:12], secret[12:]))


async def issue_device_code(
    session: AsyncSession, clock: Clock, *, person_id: UUID, lifetime: timedelta
) -> str:
    """Make a code for a further device of a person, as one of their devices asks.

    Refused as ``too_many_device_codes``: each further device has tries of its own at the
    PIN, so that a thief of one must not make many.
    """
    # The person's row keeps two of their devices from counting at the same time.
    await session.execute(select(models.Person.id).where(models.Person.id == person_id).with_for_update())
    given = await session.scalar(
        select(func.count())
        .select_from(models.EnrolmentCode)
        .where(
            models.EnrolmentCode.person_id == person_id,
            models.EnrolmentCode.created_at > clock.now() - timedelta(days=1),
        )
    )
    if (given or 0) >= DEVICE_CODES_A_DAY:
        raise Refusal(
            PinCode.TOO_MANY_DEVICE_CODES,
            f"At most {DEVICE_CODES_A_DAY} codes for further devices in 24 hours.",
        )
    return await issue_enrolment_code(session, clock, person_id=person_id, lifetime=lifetime)


async def enrol_device(
    database: Database, clock: Clock, *, request: SignedRequest, code: str, key: PublicKey
) -> Enrolment:
    """Enrol the device that holds ``key`` and sent ``request``, signed by it, with ``code``.

    Refused as ``enrolment_code_wrong``, ``_expired`` or ``_used``,
    ``device_already_enrolled``, or with the refusal of the signature. A person is
    made when the code names none.
    """
    prove_possession(request, key, clock)
    typed = code.upper().translate(_TYPED)
    if not _CODE.fullmatch(typed):
        raise _wrong()
    try:
        async with database.session() as session:
            answer = await _redeem(session, clock, typed, key)
    except IntegrityError:
        # Only one thing can collide: two codes, redeemed in the same moment with one
        # new key. The other one won.
        raise _already_enrolled() from None
    # A wrong try is counted by the commit above; only then is it refused.
    if isinstance(answer, Refusal):
        raise answer
    return answer


async def _redeem(session: AsyncSession, clock: Clock, typed: str, key: PublicKey) -> Enrolment | Refusal:
    # The row's lock makes two redemptions of one code follow one another.
    row = await session.scalar(
        select(models.EnrolmentCode)
        .where(models.EnrolmentCode.selector == typed[:SELECTOR_LENGTH])
        .with_for_update()
    )
    if row is None or row.wrong_tries >= WRONG_TRIES_MAX:
        return _wrong()
    if not hmac.compare_digest(row.code_hash, _hash(typed)):
        row.wrong_tries += 1
        return _wrong()
    known = await session.scalar(select(models.Device).where(models.Device.key_id == key.key_id))
    if known is not None:
        if known.enrolment_code_id != row.id:
            return _already_enrolled()
        return Enrolment(Device(known.id, known.person_id, key), replayed=True)
    if row.used_at is not None:
        return Refusal(
            IdentityCode.ENROLMENT_CODE_USED, "Another device was enrolled with this code; ask for a new one."
        )
    now = clock.now()
    if now >= row.expires_at:
        return Refusal(
            IdentityCode.ENROLMENT_CODE_EXPIRED, "The time of this code is over; ask for a new one."
        )
    row.used_at = now
    person_id = row.person_id
    if person_id is None:
        person_id = uuid7(clock)
        session.add(models.Person(id=person_id, created_at=now))
        await session.flush()
    device_id = uuid7(clock)
    session.add(
        models.Device(
            id=device_id,
            person_id=person_id,
            key_id=key.key_id,
            algorithm=key.algorithm.value,
            public_key=key.raw,
            enrolment_code_id=row.id,
            created_at=now,
        )
    )
    return Enrolment(Device(device_id, person_id, key), replayed=False)


def _hash(code: str) -> bytes:
    return hashlib.sha256(b"nugpay enrolment code\0" + code.encode()).digest()


def _wrong() -> Refusal:
    return Refusal(
        IdentityCode.ENROLMENT_CODE_WRONG,
        f"There is no such code; after {WRONG_TRIES_MAX} wrong tries a code is dead.",
    )


def _already_enrolled() -> Refusal:
    return Refusal(
        IdentityCode.DEVICE_ALREADY_ENROLLED,
        "This key was enrolled before; make a new key for a new enrolment.",
    )
