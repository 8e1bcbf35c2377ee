"""Sealed columns: rows of sealed segments as columns, read in SQL.

Readers' sessions plan once and keep the plan (see ``READER_OPTIONS``): which
segments a question needs is found while it runs, where planning anew for every
question costs more than its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection

from ledger.columns import KINDS, TransferColumns
from ledger.rows import TRANSFER_COLUMNS
from ledger.segments import SEALED

ReadConnection = AsyncConnection[tuple[Any, ...]]

READER_OPTIONS = "-c plan_cache_mode=force_generic_plan -c jit=off"
"""Settings of a session that reads: one plan, which leaves out segments only when it runs."""


def selected(alias: str) -> str:
    """The journal's columns of a row as :func:`to_columns` takes them: ids as their bytes."""
    return ", ".join(
        f"uuid_send({alias}.{name})" if KINDS[name] == "16s" else f"{alias}.{name}"
        for name in TRANSFER_COLUMNS
    )


def to_columns(rows: Sequence[tuple[Any, ...]]) -> TransferColumns:
    """Rows of :func:`selected` as columns."""
    return TransferColumns.from_values(rows)


async def fetch(
    connection: ReadConnection, rest: str, values: Sequence[Any] | Mapping[str, Any], *, prepare: bool = True
) -> TransferColumns:
    """Rows of sealed segments: ``rest`` is what follows FROM, where they are called t."""
    statement = f"SELECT {selected('t')} FROM {SEALED} t {rest}"
    cursor = await connection.execute(statement, values, binary=True, prepare=prepare)
    return to_columns(await cursor.fetchall())


async def fetch_at(connection: ReadConnection, timestamps: Sequence[int]) -> TransferColumns:
    """The rows of these timestamps, oldest first; those that are not sealed are left out."""
    if not timestamps:
        return TransferColumns.empty()
    return await fetch(connection, "WHERE t.timestamp = ANY(%s) ORDER BY t.timestamp", (list(timestamps),))
