"""The database: one block is one database transaction, and a weak server is refused."""

import psycopg
import pytest
from sqlalchemy import text

from foundation.database import Database, sqlalchemy_url
from foundation.postgres import DurabilityRefused, sync_url


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
