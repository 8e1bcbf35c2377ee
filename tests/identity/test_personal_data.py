"""Personal data in a real database: given, replaced, erased, rotated, and refused where it was touched."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.postgres import sync_url
from identity import personal_rotation
from identity.models import Person
from identity.officers import appoint_officer, dismiss_officer
from identity.personal_accesses import PersonalAccessRefused, accesses_of, read_as_officer
from identity.personal_data import PersonalField, PersonalRecords
from identity.personal_keys import (
    PersonalKeyFile,
    begin_rotation,
    destroy_keys,
    make_personal_keys,
    read_personal_keys,
)
from identity.personal_rotation import RotationRefused, personal_status, rotate_personal_keys
from identity.personal_sealing import wrap
from identity.roles import Role

AYE = {PersonalField.DISPLAY_NAME: "Daw Aye", PersonalField.CONTACT: "after six at the tea house"}
KO = {PersonalField.DISPLAY_NAME: "U Ko"}
TABLES = ("identity_wrapping_key", "identity_personal_key", "identity_personal_text")


class People:
    """People of a bank, and what stands of them in its database."""

    def __init__(self, records: PersonalRecords, clock: SettableClock) -> None:
        self.records, self.clock = records, clock

    async def person(self) -> UUID:
        made = uuid7(self.clock)
        async with self.records.database.session() as session:
            session.add(Person(id=made, created_at=self.clock.now()))
        return made

    async def texts(self, person: UUID) -> dict[PersonalField, str]:
        return (await self.records.read(person)).texts

    async def code(self, person: UUID) -> str:
        with pytest.raises(Refusal) as refusal:
            await self.records.read(person)
        assert "Aye" not in repr(refusal.value.__dict__)
        return refusal.value.code.value

    def run(self, statement: str, *values: Any) -> None:
        with psycopg.connect(sync_url(self.records.database.url)) as connection:
            connection.execute(statement.encode(), values)

    def backup(self) -> dict[str, Sequence[dict[str, Any]]]:
        """A copy of the tables, as a backup of the database has them."""
        with psycopg.connect(sync_url(self.records.database.url), row_factory=dict_row) as connection:
            return {
                name: connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))).fetchall()
                for name in TABLES
            }

    def restore(self, backup: dict[str, Sequence[dict[str, Any]]]) -> None:
        """Have exactly these rows stand in the tables."""
        with psycopg.connect(sync_url(self.records.database.url)) as connection:
            for name in reversed(TABLES):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
            for name in TABLES:
                for row in backup[name]:
                    columns = sql.SQL(", ").join(map(sql.Identifier, row))
                    marks = sql.SQL(", ").join(sql.Placeholder() * len(row))
                    query = sql.SQL("INSERT INTO {} ({}) VALUES ({})")
                    connection.execute(query.format(sql.Identifier(name), columns, marks), list(row.values()))

    async def rotate(self, **how: Any) -> personal_rotation.Rotation:
        return await rotate_personal_keys(self.records.database, self.clock, self.records.key_file, **how)


@pytest.fixture
def people(database: Database, clock: SettableClock, tmp_path) -> People:
    make_personal_keys(tmp_path / "personal-keys", clock)
    return People(PersonalRecords(database, clock, PersonalKeyFile(tmp_path / "personal-keys")), clock)


@pytest.fixture
async def aye(people: People) -> UUID:
    person = await people.person()
    await people.records.give(person, AYE)
    return person


@pytest.fixture
async def ko(people: People) -> UUID:
    person = await people.person()
    await people.records.give(person, KO)
    return person


async def test_what_was_given_is_there_until_it_is_replaced_or_erased(people, aye):
    found = await people.records.read(aye)
    assert (found.texts, found.given_at, found.erased_at) == (AYE, people.clock.now(), None)
    assert "Aye" not in repr(found)
    people.clock.advance(60)
    assert (await people.records.give(aye, KO)).texts == KO
    people.clock.advance(60)
    erased = await people.records.erase(aye)
    assert (erased.texts, erased.given_at, erased.erased_at) == ({}, None, people.clock.now())
    people.clock.advance(60)
    assert await people.records.erase(aye) == erased, "there was nothing to erase"
    again = await people.records.give(aye, AYE)
    assert (again.texts, again.erased_at) == (AYE, erased.erased_at)
    assert (await people.records.give(aye, {PersonalField.CONTACT: ""})).given_at is None


async def test_a_reader_of_the_database_sees_neither_what_nor_how_much(people, aye, ko):
    rows = people.backup()
    stored = b"".join(
        value
        for table in rows.values()
        for row in table
        for value in row.values()
        if isinstance(value, bytes)
    )
    for text in (*AYE.values(), *KO.values(), "Aye", "tea"):
        assert text.encode() not in stored
    forms = [
        sorted(
            (row["field"], len(row["sealed"]))
            for row in rows["identity_personal_text"]
            if row["person_id"] == who
        )
        for who in (aye, ko)
    ]
    assert forms[0] == forms[1]
    assert {field for field, _ in forms[0]} == set(PersonalField)


@pytest.mark.parametrize("table", ["identity_personal_text", "identity_personal_key"])
@pytest.mark.parametrize("position", [0, 23, 24, 40, 71])
async def test_a_bit_that_is_flipped_in_a_row_is_refused(people, aye, ko, table, position):
    column = "sealed" if table == "identity_personal_text" else "wrapped"
    people.run(
        f"UPDATE {table} SET {column} = set_byte({column}, {position}, get_byte({column}, {position}) # 4)"
        " WHERE person_id = %s",
        aye,
    )
    assert await people.code(aye) == "personal_data_unreadable"
    assert await people.texts(ko) == KO
    assert (await people.records.give(aye, KO)).texts == KO, "given again it is there"


@pytest.mark.parametrize(
    "swap",
    [
        # Somebody else's text, in the same field.
        (
            "UPDATE identity_personal_text t SET sealed = o.sealed FROM identity_personal_text o"
            " WHERE t.field = o.field AND t.person_id <> o.person_id"
        ),
        # One's own text, in another field.
        (
            "UPDATE identity_personal_text t SET sealed = o.sealed FROM identity_personal_text o"
            " WHERE t.person_id = o.person_id AND t.field = 'display_name' AND o.field = 'contact'"
        ),
        # Somebody else's key, and everything that goes with it.
        (
            "UPDATE identity_personal_key k SET wrapped = o.wrapped FROM identity_personal_key o"
            " WHERE k.person_id <> o.person_id"
        ),
        "UPDATE identity_personal_key SET version = version + 1",
        "UPDATE identity_personal_key SET key_id = gen_random_uuid()",
        "DELETE FROM identity_personal_text WHERE field = 'contact'",
    ],
)
async def test_what_was_swapped_between_rows_is_refused(people, aye, ko, swap):
    people.run(swap)
    for person in (aye, ko):
        assert await people.code(person) == "personal_data_unreadable"


async def test_somebody_elses_whole_rows_do_not_open_as_ones_own(people, aye, ko):
    rows = people.backup()
    other = {name: [dict(row) for row in table] for name, table in rows.items()}
    for name in TABLES[1:]:
        for row in other[name]:
            row["person_id"] = {aye: ko, ko: aye}[row["person_id"]]
    people.restore(other)
    for person in (aye, ko):
        assert await people.code(person) == "personal_data_unreadable"
    people.restore(rows)
    assert await people.texts(aye) == AYE


async def test_a_text_of_before_does_not_open_among_those_of_now(people, aye):
    before = people.backup()
    await people.records.give(aye, KO)
    now = people.backup()
    people.restore({**now, "identity_personal_text": before["identity_personal_text"]})
    assert await people.code(aye) == "personal_data_unreadable"


async def test_a_backup_of_before_an_erasure_opens_until_a_rotation_and_never_after(people, aye, ko):
    backup = people.backup()
    people.clock.advance(60)
    await people.records.erase(aye)
    # What is honest to say: the backup and the key of its time are enough.
    people.restore(backup)
    assert await people.texts(aye) == AYE
    await people.records.erase(aye)
    status = await personal_status(people.records.database, people.records.key_file)
    assert (status.people, status.erased_since) == (1, 2)
    people.clock.advance(60)
    rotated = await people.rotate()
    assert (rotated.rewrapped, rotated.given_up) == (1, 0)
    assert await people.texts(ko) == KO
    status = await personal_status(people.records.database, people.records.key_file)
    assert (status.key_id, status.former, status.erased_since) == (rotated.key_id, 0, 0)
    people.restore(backup)
    assert [await people.code(person) for person in (aye, ko)] == ["personal_keys_outdated"] * 2
    with pytest.raises(RotationRefused, match="bring the right file"):
        await people.rotate()
    await people.rotate(give_up=True)
    assert (await people.records.give(ko, KO)).texts == KO


async def test_changes_of_one_person_at_once_leave_one_of_them_whole(people, aye):
    both = [
        {PersonalField.CONTACT: f"{number}", PersonalField.DISPLAY_NAME: f"{number}"} for number in range(8)
    ]
    answers = await asyncio.gather(
        *(people.records.give(aye, texts) for texts in both),
        *(people.records.erase(aye) for _ in range(4)),
        *(people.records.read(aye) for _ in range(8)),
    )
    for found in (*answers, await people.records.read(aye)):
        assert found.texts in [*both, AYE, {}]


class TestRotation:
    async def test_it_goes_on_where_it_died(self, people, monkeypatch):
        monkeypatch.setattr(personal_rotation, "BATCH", 2)
        everybody = [await people.person() for _ in range(7)]
        for person in everybody:
            await people.records.give(person, AYE)
        first = people.records.key_file.keys().current.key_id

        class Death(BaseException):
            pass

        wrapped = 0
        real = wrap

        def dying(*how: Any) -> bytes:
            nonlocal wrapped
            wrapped += 1
            if wrapped == 4:
                raise Death
            return real(*how)

        monkeypatch.setattr(personal_rotation, "wrap", dying)
        with pytest.raises(Death):
            await people.rotate()
        assert [await people.texts(person) for person in everybody] == [AYE] * 7
        keys = read_personal_keys(people.records.key_file.path)
        assert [one.key_id for one in keys.former] == [first]

        # Dies again, between the mark and the file.
        with monkeypatch.context() as dies:
            dies.setattr(personal_rotation, "destroy_keys", lambda *_: (_ for _ in ()).throw(Death()))
            with pytest.raises(Death):
                await people.rotate()
        assert [await people.texts(person) for person in everybody] == [AYE] * 7
        done = await people.rotate()
        assert (done.key_id, done.rewrapped) == (keys.current.key_id, 0), "the same rotation, at its end"
        assert read_personal_keys(people.records.key_file.path).former == ()
        assert [await people.texts(person) for person in everybody] == [AYE] * 7

    async def test_whoever_gives_while_it_runs_loses_nothing(self, people):
        everybody = [await people.person() for _ in range(12)]

        async def give_again(person: UUID) -> None:
            for number in range(6):
                await people.records.give(person, {PersonalField.CONTACT: f"{number}"})

        async def rotate_again() -> None:
            for _ in range(3):
                await people.rotate()

        await asyncio.gather(*map(give_again, everybody), rotate_again())
        assert [(await people.texts(person))[PersonalField.CONTACT] for person in everybody] == ["5"] * 12
        await people.rotate()
        assert [(await people.texts(person))[PersonalField.CONTACT] for person in everybody] == ["5"] * 12

    async def test_a_machine_with_the_file_of_before_writes_nothing_that_is_lost(self, people, aye, tmp_path):
        stale = tmp_path / "stale"
        stale.write_bytes(people.records.key_file.path.read_bytes())
        stale.chmod(0o600)
        other = PersonalRecords(people.records.database, people.clock, PersonalKeyFile(stale))
        await people.rotate()
        with pytest.raises(Refusal) as refused:
            await other.give(aye, KO)
        assert refused.value.code == "personal_keys_outdated"
        with pytest.raises(Refusal, match="personal_keys_outdated"):
            await other.read(aye)
        with pytest.raises(RotationRefused, match="bring the right file"):
            await rotate_personal_keys(people.records.database, people.clock, other.key_file)
        assert await people.texts(aye) == AYE
        stale.write_bytes(people.records.key_file.path.read_bytes())
        assert (await other.give(aye, KO)).texts == KO

    async def test_what_does_not_open_keeps_the_old_key_unless_it_may_end(self, people, aye, ko):
        people.run(
            "UPDATE identity_personal_key SET wrapped = sha256('x') || sha256('y') || '12345678'"
            " WHERE person_id = %s",
            aye,
        )
        with pytest.raises(RotationRefused, match=str(aye)):
            await people.rotate()
        assert len(read_personal_keys(people.records.key_file.path).former) == 1
        assert await people.texts(ko) == KO
        done = await people.rotate(give_up=True)
        assert (done.given_up, read_personal_keys(people.records.key_file.path).former) == (1, ())
        assert await people.texts(ko) == KO
        assert await people.code(aye) == "personal_data_unreadable"

    async def test_a_destroyed_key_that_the_database_knows_of_is_told_as_unreadable(self, people, aye):
        path = people.records.key_file.path
        keys = begin_rotation(path, people.clock)
        people.run("UPDATE identity_wrapping_key SET retired_at = first_used_at")
        destroy_keys(path, [one.key_id for one in keys.former])
        assert await people.code(aye) == "personal_data_unreadable"


class TestAccesses:
    @pytest.fixture
    async def officers(self, people: People) -> dict[str, UUID]:
        made = {}
        for role in Role:
            made[role.value] = await people.person()
            async with people.records.database.session() as session:
                await appoint_officer(
                    session, people.clock, person_id=made[role.value], name=role.value, roles=[role]
                )
        return made

    @pytest.mark.usefixtures("officers")
    async def test_an_officer_of_compliance_reads_and_the_person_sees_when(self, people, aye, ko):
        people.clock.advance(5)
        found = await read_as_officer(people.records, person_id=aye, by="compliance", reason=" a report ")
        assert found.texts == AYE
        (seen,) = await accesses_of(people.records, aye)
        assert (seen.role, seen.accessed_at) == (Role.COMPLIANCE, people.clock.now())
        assert await accesses_of(people.records, ko) == []
        with psycopg.connect(sync_url(people.records.database.url)) as connection:
            row = connection.execute("SELECT officer_name, reason FROM identity_personal_access").fetchall()
        assert row == [("compliance", "a report")]
        for statement in ("DELETE FROM identity_personal_access", "DELETE FROM identity_personal_erasure"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="stays written"):
                people.run(statement)

    async def test_nobody_else_reads_and_nothing_is_written(self, people, aye, officers):
        own = officers["compliance"]
        await people.records.give(own, KO)
        for by, person, reason in (
            *((role.value, aye, "curious") for role in Role if role is not Role.COMPLIANCE),
            ("nobody", aye, "curious"),
            ("compliance", aye, "  "),
            ("compliance", own, "my own"),
        ):
            with pytest.raises(PersonalAccessRefused):
                await read_as_officer(people.records, person_id=person, by=by, reason=reason)
        async with people.records.database.session() as session:
            await dismiss_officer(session, people.clock, name="compliance")
        with pytest.raises(PersonalAccessRefused):
            await read_as_officer(people.records, person_id=aye, by="compliance", reason="once more")
        assert await accesses_of(people.records, aye) == []

    @pytest.mark.usefixtures("officers")
    async def test_a_look_is_written_though_nothing_could_be_read(self, people, aye):
        people.run("UPDATE identity_personal_key SET version = 9")
        with pytest.raises(Refusal, match="personal_data_unreadable"):
            await read_as_officer(people.records, person_id=aye, by="compliance", reason="a report")
        assert len(await accesses_of(people.records, aye)) == 1
