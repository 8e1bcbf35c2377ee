"""Officers of before roles: after the migration they may do what they could, and nothing more."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic import command

from foundation.clock import SettableClock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.postgres import sync_url
from identity.officer_decisions import check_decisions
from identity.officers import officer_name
from identity.roles import Action
from ops.migrations import alembic_config, migrate
from tests.fixtures.postgres import url_of


def test_officers_of_before_keep_what_they_could_do_and_appoint_nobody(
    postgres_admin: psycopg.Connection, postgres_url: str, database_url: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    postgres_admin.execute(f"create database {name}_before")
    url = url_of(postgres_url, f"{name}_before")
    person = uuid4()
    try:
        command.upgrade(alembic_config(url), "0029_memos")
        at = SettableClock().now()
        with psycopg.connect(sync_url(url)) as connection:
            connection.execute("INSERT INTO identity_person VALUES (%s, %s)", (person, at))
            connection.execute(
                "INSERT INTO identity_officer (person_id, name, appointed_at) VALUES (%s, 'old', %s)",
                (person, at),
            )
        migrate(url)
        asyncio.run(check(url, person))
    finally:
        postgres_admin.execute(f"drop database {name}_before with (force)")


async def check(url: str, person: UUID) -> None:
    database = Database(url)
    try:
        async with database.session() as session:
            others = {Action.DECIDE_ON_OFFICERS, Action.SEE_PERSONAL_ACCESSES}
            for action in set(Action) - others:
                assert await officer_name(session, person, action) == "old"
            for action in others:
                with pytest.raises(Refusal, match="officer_role_missing"):
                    await officer_name(session, person, action)
            assert await check_decisions(session) == []
    finally:
        await database.close()
