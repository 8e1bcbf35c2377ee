"""Rotation: every person's key is wrapped under another key, and the old one is destroyed.

    1  begin    the file has a new key that wraps, beside the old one
    2  rewrap   batch by batch, each a database transaction, those that the old one wraps
    3  retire   in one database transaction: the old one is marked, once it wraps nothing
    4  destroy  the old one is taken out of the file

It can die anywhere and is run again: what is rewrapped is not touched twice, the file has the
old key until nothing needs it, and a key that is marked and still in the file is taken out.
Whoever gives data meanwhile holds the row of the key that they wrap with, so that no key is
marked under their hands.

What is not reached is a copy of the database of before together with a copy of the file of
before. With the file of now that copy of the database is noise, for the living and for those
who have erased their data: so the time between rotations is how long an erasure takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import NUGPayError
from identity.personal_data import place_of, register_wrapping_key
from identity.personal_keys import (
    PersonalKeyFile,
    PersonalKeys,
    begin_rotation,
    destroy_keys,
    read_personal_keys,
)
from identity.personal_models import PersonalErasureRow, PersonalKeyRow, WrappingKeyRow
from identity.personal_sealing import NotSealed, unwrap, wrap

BATCH: Final = 200
"""Keys that are rewrapped in one database transaction."""

_NOBODY: Final = UUID(int=0)


class RotationRefused(NUGPayError):
    """No key was destroyed; the text says why to an operator."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did."""

    key_id: str
    """The key that wraps now."""
    rewrapped: int
    given_up: int
    """Keys that did not open and were left behind."""


@dataclass(frozen=True, slots=True)
class PersonalStatus:
    """How personal data stands."""

    key_id: str
    since: str
    """When the key that wraps was made."""
    former: int
    """Keys of before that a rotation is not done with."""
    people: int
    """How many have given data."""
    erased_since: int
    """Erasures that backups of before can still undo, until the next rotation."""


async def rotate_personal_keys(
    database: Database, clock: Clock, key_file: PersonalKeyFile, *, give_up: bool = False
) -> Rotation:
    """Have another key over everything, and destroy the one of before; again goes on.

    Raises ``RotationRefused`` where keys do not open, since destroying what they need would
    end them for ever, and where the file is not the database's; ``give_up`` says that they
    may end.
    """
    if not give_up:
        await _refuse_another_file(database, read_personal_keys(key_file.path))
    keys = begin_rotation(key_file.path, clock)
    async with database.session() as session:
        await register_wrapping_key(session, clock, keys.current)
    rewrapped = 0
    while True:
        more, stuck = await _rewrap_all(database, keys)
        rewrapped += more
        if stuck and not give_up:
            raise RotationRefused(
                f"{len(stuck)} keys do not open, such as that of person {min(stuck)}: the old key is kept. "
                "Mend them from a backup, or say --give-up"
            )
        # Somebody whose file is of before may have wrapped more meanwhile: then once more.
        if await _retire(database, clock, keys, stuck):
            break
    # Dies here: the next rotation begins with a key that wraps nothing, and takes it out.
    destroy_keys(key_file.path, [one.key_id for one in keys.former])
    return Rotation(keys.current.key_id, rewrapped, len(stuck))


async def personal_status(database: Database, key_file: PersonalKeyFile) -> PersonalStatus:
    """How many have given data, and since when erasures wait for a rotation."""
    keys = key_file.keys()
    async with database.session() as session:
        people = await session.scalar(select(func.count()).select_from(PersonalKeyRow))
        since = select(WrappingKeyRow.first_used_at).where(WrappingKeyRow.key_id == keys.current.key_id)
        erased = await session.scalar(
            select(func.count())
            .select_from(PersonalErasureRow)
            .where(PersonalErasureRow.erased_at >= since.scalar_subquery())
        )
    return PersonalStatus(
        keys.current.key_id, keys.current.since, len(keys.former), int(people or 0), int(erased or 0)
    )


async def _rewrap_all(database: Database, keys: PersonalKeys) -> tuple[int, set[UUID]]:
    """How many were rewrapped, and the persons whose keys do not open."""
    rewrapped, last = 0, _NOBODY
    stuck: set[UUID] = set()
    while True:
        async with database.session() as session:
            rows = (
                await session.scalars(
                    select(PersonalKeyRow)
                    .where(
                        PersonalKeyRow.wrapping_key_id != keys.current.key_id, PersonalKeyRow.person_id > last
                    )
                    .order_by(PersonalKeyRow.person_id)
                    .limit(BATCH)
                    .with_for_update()
                )
            ).all()
            for row in rows:
                wrapping = keys.find(row.wrapping_key_id)
                if wrapping is None:
                    # Of a key that is destroyed: that cannot become worse.
                    continue
                try:
                    key = unwrap(wrapping, place_of(row), row.wrapped)
                except NotSealed:
                    stuck.add(row.person_id)
                    continue
                row.wrapped = wrap(keys.current, place_of(row), key)
                row.wrapping_key_id = keys.current.key_id
                rewrapped += 1
        if not rows:
            return rewrapped, stuck
        last = rows[-1].person_id


async def _refuse_another_file(database: Database, keys: PersonalKeys) -> None:
    """A file without a key that lives is of another machine or time: nothing is begun with it."""
    known = [one.key_id for one in (keys.current, *keys.former)]
    async with database.session() as session:
        missing = await session.scalar(
            select(PersonalKeyRow.wrapping_key_id)
            .join(WrappingKeyRow, WrappingKeyRow.key_id == PersonalKeyRow.wrapping_key_id)
            .where(PersonalKeyRow.wrapping_key_id.not_in(known), WrappingKeyRow.retired_at.is_(None))
            .limit(1)
        )
    if missing is not None:
        raise RotationRefused(
            f"the file has no key {missing}, which wraps in this database: bring the right file, "
            "or say --give-up"
        )


async def _retire(database: Database, clock: Clock, keys: PersonalKeys, stuck: set[UUID]) -> bool:
    """Mark the former keys as retired; false, and nothing is, if one of them wraps anything still."""
    former = [one.key_id for one in keys.former]
    async with database.session() as session:
        attempt = await session.begin_nested()
        # This waits for those who are giving data under one of them, and ends their right to.
        await session.execute(
            update(WrappingKeyRow)
            .where(WrappingKeyRow.key_id.in_(former), WrappingKeyRow.retired_at.is_(None))
            .values(retired_at=clock.now())
        )
        left = await session.scalars(
            select(PersonalKeyRow.person_id).where(PersonalKeyRow.wrapping_key_id.in_(former))
        )
        done = set(left) <= stuck
        await (attempt.commit() if done else attempt.rollback())
    return done
