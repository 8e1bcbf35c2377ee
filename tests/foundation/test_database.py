"""The database: one block is one database transaction, and a weak server is refused."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Text, Uuid, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from foundation.database import Database, is_any, sqlalchemy_url
from foundation.postgres import DurabilityRefused, sync_url


class _Base(DeclarativeBase):
    """Of tables that only this file has."""


class _Named(_Base):
    __tablename__ = "named"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(Text)


async def test_thousands_of_values_are_one_parameter_and_find_the_rows_that_have_them(
    database_url: str,
) -> None:
    ids = [UUID(int=number) for number in range(5_000)]
    names = ["it's", "{a,b}", 'say "x"', "\\", "ကျော်", "NULL"]
    database = Database(database_url)
    try:
        async with database.session() as session:
            await session.execute(text("create table named (id uuid primary key, name text)"))
            session.add_all([_Named(id=ids[n], name=name) for n, name in enumerate(names)])
        asked = select(_Named.name).order_by(_Named.id)
        async with database.connection() as connection:
            for condition, expected in (
                (is_any(_Named.id, set(ids)), names),
                (is_any(_Named.id, ids[1:3]), names[1:3]),
                (is_any(_Named.id, []), []),
                (is_any(_Named.name, [*names, "nobody"]), names),
                (is_any(_Named.name, ["a", "b", "null", ""]), []),
            ):
                assert (await connection.execute(asked.where(condition))).scalars().all() == expected
        with pytest.MonkeyPatch.context() as watching:
            said: list[str] = []
            execute = psycopg.AsyncCursor.execute

            async def listened(cursor: Any, query: Any, *arguments: Any, **named: Any) -> Any:
                said.append(str(query))
                return await execute(cursor, query, *arguments, **named)

            watching.setattr(psycopg.AsyncCursor, "execute", listened)
            async with database.connection() as connection:
                await connection.execute(asked.where(is_any(_Named.id, ids)))
        [statement] = [each for each in said if "FROM named" in each]
        assert statement.count("%(") == 1
    finally:
        await database.close()


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
