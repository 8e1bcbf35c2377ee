"""Task locks: a task runs once at a time, whoever starts it and wherever.

The lock is PostgreSQL's, held by a connection of its own for as long as the task
runs. A process that dies loses its connections and with them its locks; a broker
that delivers a message twice only finds the lock taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from foundation.database import Database

_KEY = "hashtextextended('task ' || :name, 0)"


@asynccontextmanager
async def task_lock(database: Database, name: str) -> AsyncIterator[bool]:
    """Whether the block may run: false if the task of that name runs elsewhere now."""
    async with database.engine.connect() as connection:
        # The lock outlives database transactions and must not sit in an open one,
        # which would keep PostgreSQL from cleaning up behind everybody.
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        taken = bool(await connection.scalar(text(f"SELECT pg_try_advisory_lock({_KEY})"), {"name": name}))
        try:
            yield taken
        finally:
            if taken:
                await connection.execute(text(f"SELECT pg_advisory_unlock({_KEY})"), {"name": name})
