"""Baselines: what PostgreSQL alone does with the journal's own rows.

The rows come from the journal that a run has just written, in its own binary form,
so that the baseline stores the same bytes; reading them is not timed. One batch is
one database transaction, durable as the journal's.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from uuid import UUID

import psycopg
from psycopg import sql

from benchmarks.ledger.workloads import Ids
from foundation.postgres import sync_url
from ledger.rows import COPY_HEADER, COPY_TRAILER

BATCHES_AT_ONCE = 64
"""Batches that are read before they are written: reading must not go on while writing is timed."""


def newest_timestamp(url: str) -> int:
    """Timestamp of the journal's newest transfer: where the next run's rows begin."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        row = db.execute("SELECT coalesce(max(timestamp), 0) FROM ledger_transfer").fetchone()
        assert row is not None
        return int(row[0])


def copy_rate(url: str, *, batch: int, after: int = 0, unique_id: bool = False) -> float:
    """Rows a second of binary COPY alone (B0), or with a unique index on the id (B1).

    The rows are those of the transfers after a timestamp.
    """
    rows, seconds = 0, 0.0
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute("CREATE TABLE bare AS SELECT * FROM ledger_transfer WITH NO DATA")
        if unique_id:
            db.execute("CREATE UNIQUE INDEX ON bare (id)")
        try:
            with closing(_read_batches(url, after, batch)) as batches:
                while prepared := list(islice(batches, BATCHES_AT_ONCE)):
                    began = time.perf_counter()
                    for data in prepared:
                        with (
                            db.transaction(),
                            db.cursor().copy("COPY bare FROM STDIN (FORMAT BINARY)") as copy,
                        ):
                            copy.write(data)
                    seconds += time.perf_counter() - began
            rows = db.execute("SELECT count(*) FROM bare").fetchone()[0]  # type: ignore[index]  # count always gives a row
        finally:
            db.execute("DROP TABLE bare")
    assert rows, "a baseline needs the rows of a run"
    return float(rows / seconds)


def _read_batches(url: str, after: int, batch: int) -> Generator[bytes]:
    """Binary COPY streams of the transfers after a timestamp, a batch of rows each."""
    statement = sql.SQL(
        "COPY (SELECT * FROM ledger_transfer WHERE timestamp > {}) TO STDOUT (FORMAT BINARY)"
    ).format(sql.Literal(after))
    with psycopg.connect(sync_url(url), autocommit=True) as db, db.cursor().copy(statement) as copy:
        rows: list[bytes] = []
        for part in copy:
            # The server sends a message for each row; the first one has the header before it.
            row = bytes(part).removeprefix(COPY_HEADER)
            if row and row != COPY_TRAILER:
                rows.append(row)
            if len(rows) == batch:
                yield COPY_HEADER + b"".join(rows) + COPY_TRAILER
                rows.clear()
        if rows:
            yield COPY_HEADER + b"".join(rows) + COPY_TRAILER


def insert_latencies_ms(url: str, count: int) -> list[float]:
    """Milliseconds of each one-row INSERT and COMMIT into a table with the id's index alone."""
    latencies = []
    ids = Ids(seed=2)
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute("CREATE TABLE bare_single AS SELECT * FROM ledger_transfer WITH NO DATA")
        db.execute("CREATE UNIQUE INDEX ON bare_single (id)")
        cursor = db.execute("SELECT * FROM ledger_transfer LIMIT 1")
        row = cursor.fetchone()
        assert row is not None
        columns = [column.name for column in cursor.description or ()]
        at = columns.index("id")
        statement = sql.SQL("INSERT INTO bare_single VALUES ({})").format(
            sql.SQL(", ").join([sql.Placeholder()] * len(columns))
        )
        for _ in range(count):
            values = (*row[:at], UUID(int=ids.one()), *row[at + 1 :])
            began = time.perf_counter()
            db.execute(statement, values)
            latencies.append((time.perf_counter() - began) * 1000)
        db.execute("DROP TABLE bare_single")
    return latencies
