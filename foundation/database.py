"""The database: PostgreSQL through SQLAlchemy on psycopg 3, and nothing else.

One ``session()`` block is one database transaction: it commits at its end and
rolls back on any error, and nobody else commits. Durability is not a setting:
a server that has ``fsync``, ``full_page_writes`` or ``synchronous_commit`` off
is refused at start, since it could forget an acknowledged transfer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from foundation.errors import NUGPayError


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


class DurabilityRefused(NUGPayError):
    """The server may lose acknowledged commits; carries the setting's name."""

    def __init__(self, setting: str, value: str) -> None:
        super().__init__(
            f"PostgreSQL has {setting} = {value}: an acknowledged transfer could be lost. "
            f"Set it on and restart."
        )
        self.setting: Final = setting
        self.value: Final = value


DURABLE_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")
"""Server settings that must not be off where money is kept."""


def refuse_weak_durability(values: dict[str, str]) -> None:
    """Raise ``DurabilityRefused`` when one of ``DURABLE_SETTINGS`` is off."""
    for setting in DURABLE_SETTINGS:
        value = values[setting]
        # "local" and "remote_write" still flush our own disk or a standby's
        # memory; only "off" answers before anything is durable.
        if value == "off":
            raise DurabilityRefused(setting, value)


def sqlalchemy_url(url: str) -> str:
    """The URL with the psycopg 3 driver named."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def sync_url(url: str) -> str:
    """The URL as libpq and psycopg take it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


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
