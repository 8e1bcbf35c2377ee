"""Decoys: the person behind a duress PIN, whom a reader of the database cannot find.

A decoy is a person like any other, with a device whose private key nobody has, so that
its rows look like everybody's. Whose decoy it is stands nowhere: its id is made from
the owner's by the pepper.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from nacl.signing import SigningKey
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import datetime_from_ns
from identity.enrolment import ALPHABET, CODE_LIFETIME, SELECTOR_LENGTH
from identity.keys import KeyAlgorithm, PublicKey
from identity.models import Device, EnrolmentCode, Person
from identity.pepper import Pepper

_EARLIER_MS: Final = 30 * 86_400 * 1000
"""A decoy's id seems made up to so long before its owner's, so that their times do not meet."""


def decoy_of(pepper: Pepper, person_id: UUID) -> UUID:
    """Id of a person's decoy, whether or not there is one: a UUIDv7 as any other person's."""
    digest = pepper.mac("decoy", person_id)
    earlier = int.from_bytes(digest[16:24], "big") % _EARLIER_MS
    return _id_at(max(0, _ms_of(person_id) - earlier), int.from_bytes(digest[:10], "big"))


async def enrol_decoy(session: AsyncSession, person_id: UUID) -> None:
    """Have a decoy's person and device stand in the database; again it changes nothing."""
    made_ms = _ms_of(person_id)
    at = datetime_from_ns(made_ms * 1_000_000)
    made = await session.scalar(
        insert(Person)
        .values(id=person_id, created_at=at)
        .on_conflict_do_nothing(index_elements=[Person.id])
        .returning(Person.id)
    )
    if made is None:
        return
    code_id, device_id = (_id_at(made_ms, secrets.randbits(80)) for _ in range(2))
    session.add(
        EnrolmentCode(
            id=code_id,
            selector="".join(secrets.choice(ALPHABET) for _ in range(SELECTOR_LENGTH)),
            code_hash=secrets.token_bytes(32),
            person_id=None,
            created_at=at,
            expires_at=at + CODE_LIFETIME,
            wrong_tries=0,
            used_at=at + timedelta(seconds=secrets.randbelow(3600)),
        )
    )
    await session.flush()
    # The private half is gone when this returns.
    key = PublicKey(KeyAlgorithm.ED25519, bytes(SigningKey.generate().verify_key))
    session.add(
        Device(
            id=device_id,
            person_id=person_id,
            key_id=key.key_id,
            algorithm=key.algorithm.value,
            public_key=key.raw,
            enrolment_code_id=code_id,
            created_at=at,
        )
    )


def _ms_of(person_id: UUID) -> int:
    return person_id.int >> 80


def _id_at(ms: int, bits: int) -> UUID:
    value = (ms & (2**48 - 1)) << 80 | bits & (2**80 - 1)
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
