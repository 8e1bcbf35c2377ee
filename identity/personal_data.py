"""Personal data: what somebody wishes to tell of themselves, sealed under a key of their own.

All of it is optional, and nothing else needs it. It is replaced whole: each time a new key
is made and the one before is gone, so that what was said before opens no more than what was
erased. To erase is to delete the person's wrapped key (and the ciphertext with it). What
that does not reach is a backup of before: with the wrapping key of that time it still
opens, until a rotation destroys that key (identity.personal_rotation).

Each change is one database transaction: whoever dies in it leaves what was there before,
with its key, or what is new, with its own; never a text without its key.

Whoever can write the database can take data away, or put a person's whole state of an
earlier time back while its wrapping key lives; not change it, nor move it to another person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Retryable
from foundation.ids import uuid7
from identity.models import Person
from identity.personal_errors import PersonalCode
from identity.personal_keys import PersonalKeyFile, WrappingKey
from identity.personal_models import PersonalErasureRow, PersonalKeyRow, PersonalTextRow, WrappingKeyRow
from identity.personal_sealing import NotSealed, Place, new_key, seal, unseal, unwrap, wrap


class PersonalField(StrEnum):
    """What somebody may tell of themselves."""

    DISPLAY_NAME = "display_name"
    """What they wish to be called."""
    CONTACT = "contact"
    """How they can be reached, in their own words."""
    LEGAL_NAME = "legal_name"
    """A business' name in its papers."""
    REGISTRATION_NUMBER = "registration_number"
    """A business' number in its papers."""


OF_A_BUSINESS = frozenset({PersonalField.LEGAL_NAME, PersonalField.REGISTRATION_NUMBER})
"""Fields of papers, which others do not give."""


@dataclass(frozen=True, slots=True)
class PersonalData:
    """What somebody has told of themselves; its texts are in no representation of it."""

    texts: dict[PersonalField, str] = field(repr=False)
    """Those that are there; none is empty."""
    given_at: datetime | None
    """When all of this was given; None: there is nothing."""
    erased_at: datetime | None
    """When something was erased last, by its owner's word."""


class PersonalRecords:
    """The personal data of one database."""

    def __init__(self, database: Database, clock: Clock, key_file: PersonalKeyFile) -> None:
        self.database = database
        self.clock = clock
        self.key_file = key_file

    async def give(self, person_id: UUID, texts: dict[PersonalField, str]) -> PersonalData:
        """Have exactly these texts from now on; none is to erase.

        Refused as ``personal_keys_outdated`` where another machine has rotated the keys and
        this one's file is the old one.
        """
        if not any(texts.values()):
            return await self.erase(person_id)
        async with self.database.session() as session:
            await _alone_with(session, person_id)
            before = await session.get(PersonalKeyRow, person_id)
            version = before.version + 1 if before is not None else 1
            await _delete(session, person_id)
            wrapping = await self._wrapping(session)
            place, key = Place(person_id, uuid7(self.clock), version), new_key()
            session.add(
                PersonalKeyRow(
                    person_id=person_id,
                    key_id=place.key_id,
                    version=version,
                    wrapping_key_id=wrapping.key_id,
                    wrapped=wrap(wrapping, place, key),
                    given_at=self.clock.now(),
                )
            )
            await session.flush()
            for each in PersonalField:
                sealed = seal(key, place, each, texts.get(each, ""))
                session.add(PersonalTextRow(person_id=person_id, field=each.value, sealed=sealed))
            # Dies here: nothing was changed, and the key that was made is nowhere.
        return await self.read(person_id)

    async def read(self, person_id: UUID) -> PersonalData:
        """What is there now. Refused as ``personal_keys_outdated`` or ``personal_data_unreadable``."""
        async with self.database.session() as session:
            erased_at = await _erased_at(session, person_id)
            # One statement, so that key and texts are of one moment.
            found = (
                await session.execute(
                    select(PersonalKeyRow, PersonalTextRow)
                    .outerjoin(PersonalTextRow, PersonalTextRow.person_id == PersonalKeyRow.person_id)
                    .where(PersonalKeyRow.person_id == person_id)
                )
            ).all()
            if not found:
                return PersonalData({}, None, erased_at)
            row = found[0].PersonalKeyRow
            wrapping = self.key_file.keys().find(row.wrapping_key_id)
            if wrapping is None:
                raise await _no_key(session, row.wrapping_key_id)
        sealed = {
            one.PersonalTextRow.field: one.PersonalTextRow.sealed for one in found if one.PersonalTextRow
        }
        return PersonalData(_opened(wrapping, row, sealed), row.given_at, erased_at)

    async def erase(self, person_id: UUID) -> PersonalData:
        """Destroy the person's key, and what it sealed; again it changes nothing."""
        async with self.database.session() as session:
            await _alone_with(session, person_id)
            if await _delete(session, person_id):
                session.add(
                    PersonalErasureRow(id=uuid7(self.clock), person_id=person_id, erased_at=self.clock.now())
                )
                await session.flush()
            # Dies here: nothing is erased, and nobody was told that it is.
            return PersonalData({}, None, await _erased_at(session, person_id))

    async def _wrapping(self, session: AsyncSession) -> WrappingKey:
        """The key to wrap with, held against retirement until this transaction ends."""
        current = self.key_file.keys().current
        await register_wrapping_key(session, self.clock, current)
        retired_at = await session.scalar(
            select(WrappingKeyRow.retired_at)
            .where(WrappingKeyRow.key_id == current.key_id)
            .with_for_update(read=True)
        )
        if retired_at is not None:
            raise keys_outdated()
        return current


async def register_wrapping_key(session: AsyncSession, clock: Clock, key: WrappingKey) -> None:
    """Have a wrapping key be known by its name; again it changes nothing."""
    await session.execute(
        insert(WrappingKeyRow)
        .values(key_id=key.key_id, first_used_at=clock.now())
        .on_conflict_do_nothing(index_elements=[WrappingKeyRow.key_id])
    )


def place_of(row: PersonalKeyRow) -> Place:
    """Where a person's key and what it seals belong."""
    return Place(row.person_id, row.key_id, row.version)


def keys_outdated() -> Refusal:
    """The refusal of a server whose file of keys is not the database's."""
    return Refusal(
        PersonalCode.PERSONAL_KEYS_OUTDATED,
        "This server's file of keys is not the one that the database was written with.",
        retryable=Retryable.YES,
    )


async def _alone_with(session: AsyncSession, person_id: UUID) -> None:
    """One change of a person's data after the other, also before there is any."""
    await session.execute(select(Person.id).where(Person.id == person_id).with_for_update(key_share=True))


async def _erased_at(session: AsyncSession, person_id: UUID) -> datetime | None:
    """When the person erased their data last."""
    at: datetime | None = await session.scalar(
        select(func.max(PersonalErasureRow.erased_at)).where(PersonalErasureRow.person_id == person_id)
    )
    return at


async def _delete(session: AsyncSession, person_id: UUID) -> bool:
    """Take a person's texts and key away; whether there were any."""
    await session.execute(delete(PersonalTextRow).where(PersonalTextRow.person_id == person_id))
    gone = await session.scalar(
        delete(PersonalKeyRow).where(PersonalKeyRow.person_id == person_id).returning(PersonalKeyRow.key_id)
    )
    return gone is not None


async def _no_key(session: AsyncSession, wrapping_key_id: str) -> Refusal:
    """Why there is no key: it was destroyed, as the database knows; or this file is another one."""
    known = await session.get(WrappingKeyRow, wrapping_key_id)
    return unreadable() if known is not None and known.retired_at is not None else keys_outdated()


def unreadable() -> Refusal:
    """The refusal of what does not open."""
    return Refusal(
        PersonalCode.PERSONAL_DATA_UNREADABLE,
        "What is stored was changed, or the key that it needs was destroyed.",
    )


def _opened(wrapping: WrappingKey, row: PersonalKeyRow, sealed: dict[str, bytes]) -> dict[PersonalField, str]:
    # A field that is gone was taken away by somebody: whoever gives writes all of them.
    if set(sealed) != set(PersonalField):
        raise unreadable()
    try:
        key = unwrap(wrapping, place_of(row), row.wrapped)
        texts = {each: unseal(key, place_of(row), each, sealed[each]) for each in PersonalField}
    except NotSealed:
        raise unreadable() from None
    return {each: text for each, text in texts.items() if text}
