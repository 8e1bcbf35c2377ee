"""The database: one block is one database transaction, and durability is no setting."""

import psycopg
import pytest
from sqlalchemy import text

from foundation.database import (
    DURABLE_SETTINGS,
    Database,
    DurabilityRefused,
    refuse_weak_durability,
    sqlalchemy_url,
    sync_url,
)
from foundation.errors import NUGPayError

ON = dict.fromkeys(DURABLE_SETTINGS, "on")


@pytest.mark.parametrize("setting", DURABLE_SETTINGS)
def test_each_setting_that_could_forget_a_commit_is_refused_when_off(setting: str) -> None:
    with pytest.raises(DurabilityRefused) as refused:
        refuse_weak_durability(ON | {setting: "off"})
    assert (refused.value.setting, refused.value.value) == (setting, "off")
    assert isinstance(refused.value, NUGPayError)
    assert setting in str(refused.value)


@pytest.mark.parametrize("value", ["on", "local", "remote_write", "remote_apply"])
def test_every_commit_that_waits_for_a_disk_is_accepted(value: str) -> None:
    refuse_weak_durability(ON | {"synchronous_commit": value})


def test_a_missing_setting_is_an_error_and_not_a_yes() -> None:
    with pytest.raises(KeyError):
        refuse_weak_durability({"fsync": "on"})


async def test_a_server_is_asked_for_its_settings(database_url: str) -> None:
    database = Database(database_url)
    try:
        await database.check_durability()
    finally:
        await database.close()
    with psycopg.connect(sync_url(database_url), autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    database = Database(database_url)
    try:
        with pytest.raises(DurabilityRefused):
            await database.check_durability()
    finally:
        await database.close()


async def test_a_session_commits_at_its_end_and_rolls_back_on_error(database_url: str) -> None:
    database = Database(database_url)
    try:
        async with database.session() as session:
            await session.execute(text("create table kept (number integer)"))
            await session.execute(text("insert into kept values (1)"))
        for fail in (_fail_in_a_session, _fail_in_a_connection):
            with pytest.raises(RuntimeError):
                await fail(database)
        async with database.connection() as connection:
            rows = await connection.execute(text("select number from kept"))
            assert rows.scalars().all() == [1]
    finally:
        await database.close()


async def _fail_in_a_session(database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("insert into kept values (2)"))
        raise RuntimeError


async def _fail_in_a_connection(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(text("insert into kept values (3)"))
        raise RuntimeError


def test_urls_name_the_driver_for_sqlalchemy_and_none_for_libpq() -> None:
    for url in ("postgresql://u:p%40ss@h:1/d?host=%2Ftmp", "postgresql+psycopg://u:p%40ss@h:1/d?host=%2Ftmp"):
        assert sqlalchemy_url(url) == "postgresql+psycopg://u:p%40ss@h:1/d?host=%2Ftmp"
        assert sync_url(url) == "postgresql://u:p%40ss@h:1/d?host=%2Ftmp"
