"""The database: PostgreSQL through SQLAlchemy on psycopg 3, and nothing else.

One ``session()`` block is one database transaction: it commits at its end and
rolls back on any error, and nobody else commits. A server that could forget a
commit is refused (:mod:`foundation.postgres`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, MetaData, any_, literal, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, QueryableAttribute

from foundation.postgres import DURABLE_SETTINGS, refuse_weak_durability, sync_url

_SEVERAL_BEFORE_PATH = re.compile(
    r"(?P<begin>postgresql://(?:[^@/]*@)?)(?P<servers>[^/?]*,[^/?]*)(?P<path>[^?]*)\??(?P<query>.*)",
    re.DOTALL,
)
_SERVER = re.compile(r"(?P<host>\[[^]]*\]|[^:]*)(?::(?P<port>\d*))?")


class Base(DeclarativeBase):
    """Base of every room's tables; one metadata, one naming convention."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def sqlalchemy_url(url: str) -> str:
    """The URL with the psycopg 3 driver named, and several servers as SQLAlchemy has them."""
    own = make_url(_hosts_in_query(sync_url(url)))
    return own.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _hosts_in_query(url: str) -> str:
    """Write several servers where SQLAlchemy takes them; libpq takes them before the path too."""
    match = _SEVERAL_BEFORE_PATH.fullmatch(url)
    if match is None:
        return url
    servers = [_SERVER.fullmatch(server) for server in match["servers"].split(",")]
    if None in servers:
        raise ValueError("the database's URL names a server that is none")
    hosts = ",".join(server["host"].strip("[]") for server in servers if server)
    ports = ",".join(server["port"] or "5432" for server in servers if server)
    more = f"&{match['query']}" if match["query"] else ""
    return f"{match['begin']}{match['path']}?host={hosts}&port={ports}{more}"


def is_any(column: QueryableAttribute[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """A column has one of the values, said with one parameter however many they are.

    ``in_`` writes a parameter for each, which for thousands takes longer to write and to read
    than the rows take to find.
    """
    return column == any_(literal(list(values), ARRAY(column.type)))


class Database:
    """A pool of connections to PostgreSQL, and sessions on it."""

    def __init__(self, url: str, *, pool_size: int = 5, pool_overflow: int = 10) -> None:
        self.url = url
        self.engine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=pool_overflow,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """One database transaction: committed at the end, rolled back on error."""
        async with self._sessions() as session, session.begin():
            yield session

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """One database transaction without the ORM, for hot paths."""
        async with self.engine.begin() as connection:
            yield connection

    async def check_durability(self) -> None:
        """Refuse a server that could lose an acknowledged commit."""
        async with self.connection() as connection:
            values: dict[str, str] = {}
            for setting in DURABLE_SETTINGS:
                row: Any = await connection.execute(text("select current_setting(:name)"), {"name": setting})
                values[setting] = row.scalar_one()
        refuse_weak_durability(values)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
