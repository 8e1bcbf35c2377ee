"""Import: an exported journal into a database that has none, whole or not at all.

The files are checked like a journal first. Then everything goes into the tables
in one database transaction, under the writer's lock: rows as they were, sealed
segments sealed again with all that is kept beside them, and every table read back
and compared before COMMIT. A crash at any point leaves an empty journal.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import psycopg

from foundation.postgres import sync_url
from ledger import segments
from ledger.checks.journal import Report, Summary, check_journal
from ledger.checks.snapshot import copy_query
from ledger.checks.tables import BATCH_COLUMNS, JournalTables, read_ahead
from ledger.columns import TransferColumns
from ledger.connection import copy_out
from ledger.history_marks import encode_marks
from ledger.id_filter import IDFilter
from ledger.journal import LOCK_KEY
from ledger.parquet.manifest import ExportError
from ledger.rows import (
    ACCOUNT_COLUMNS,
    COPY_HEADER,
    COPY_TRAILER,
    EXPIRY_COLUMNS,
    FAILED_COLUMNS,
    TRANSFER_COLUMNS,
)
from ledger.segments import Segment, table_of

Read = Callable[[], Iterator[bytes]]

_EMPTY = (
    "ledger_batch", "ledger_account", "ledger_transfer", "ledger_expiry", "ledger_failed_id",
    "ledger_seal", "ledger_checkpoint", "ledger_id_filter", "ledger_history_mark", "ledger_archive",
)  # fmt: skip
"""What must hold no row."""

_BATCHES = "imported_batch"
_KEEP_BATCHES = (
    f"INSERT INTO ledger_batch ({', '.join(BATCH_COLUMNS)})"
    " SELECT sequence, timestamp, nullif(transfer_first, 0), nullif(transfer_last, 0),"
    f" account_count, transfer_count, expiry_count, failed_count, hash FROM {_BATCHES} ORDER BY sequence"
)


def import_journal(tables: JournalTables, url: str, report: Report = lambda _: None) -> Summary:
    """Check an export and put it into an empty database; ``ExportError`` where that cannot be.

    With a finding in the summary nothing was imported.
    """
    summary = check_journal(tables, report)
    if summary.finding is None:
        with psycopg.connect(
            sync_url(url), autocommit=True, application_name="nugpay-ledger-import"
        ) as connection:
            take_lock(connection)
            with connection.transaction():
                _refuse_a_journal(connection)
                _Import(tables, connection).run()
    return summary


LOCK_WAIT_SECONDS = 1.0
"""The server ends the session of a process that has just ended a moment after it, and then its lock."""


def take_lock(
    connection: psycopg.Connection[Any], advice: str = "Stop it, or name another database."
) -> None:
    """Be the one writer, for as long as the session lives: no ledger may serve meanwhile."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone()
        if row is not None and row[0]:
            return
        if time.monotonic() > deadline:
            raise ExportError("A ledger process writes to this database", advice)
        time.sleep(0.02)


def _refuse_a_journal(connection: psycopg.Connection[Any]) -> None:
    advice = "An import goes into a database that was only just made: ./nugpay migrate."
    for table in _EMPTY:
        if connection.execute(f"SELECT FROM {table} LIMIT 1").fetchone() is not None:
            raise ExportError(f"This database has a journal already: {table} holds rows", advice)
    if connection.execute("SELECT number, first_sequence FROM ledger_segment").fetchall() != [(1, 1)]:
        raise ExportError("This database has a journal already: ledger_segment holds rows", advice)


class _Import:
    """One import, inside its database transaction."""

    def __init__(self, tables: JournalTables, connection: psycopg.Connection[Any]) -> None:
        self._tables = tables
        self._connection = connection
        # All stored filters share one key, as those of one engine do.
        self._key = secrets.randbits(64) | 1, secrets.randbits(64) | 1

    def run(self) -> None:
        """Fill every table."""
        tables = self._tables
        self._copy("ledger_account", ACCOUNT_COLUMNS, "slot", tables.accounts)
        self._copy("ledger_expiry", EXPIRY_COLUMNS, "timestamp", tables.expiries)
        self._copy("ledger_failed_id", FAILED_COLUMNS, "timestamp", tables.failed_ids)
        for segment in tables.segments():
            self._import_segment(segment)
        # A batch without transfers has NULL where its raw row has 0.
        self._connection.execute(f"CREATE TEMPORARY TABLE {_BATCHES} (LIKE ledger_batch) ON COMMIT DROP")
        written = self._write(_BATCHES, BATCH_COLUMNS, tables.batches)
        self._connection.execute(_KEEP_BATCHES)
        self._compare("ledger_batch", BATCH_COLUMNS, "sequence", written)

    def _import_segment(self, segment: Segment) -> None:
        connection = self._connection
        if segment.number > 1:
            connection.execute(
                "INSERT INTO ledger_segment (number, first_sequence) VALUES (%s, %s)",
                (segment.number, segment.first_sequence),
            )
        if not segments.is_prepared(connection, segment.number):
            segments.prepare(connection, segment.number)
        read = partial(self._tables.transfers, segment)
        self._copy(table_of(segment.number), TRANSFER_COLUMNS, "timestamp", read)
        if segment.seal is not None:
            columns = TransferColumns.join([TransferColumns.decode(data) for data in read()])
            segments.build_indexes(connection, segment.number, segment.seal)
            segments.attach(
                connection, segment.number, segment.seal,
                self._filter_of(segment.number, columns), encode_marks(segment.number, columns),
            )  # fmt: skip

    def _filter_of(self, number: int, columns: TransferColumns) -> list[bytes]:
        ids = columns["id"]
        id_filter = IDFilter(self._key)
        id_filter.begin(number, len(ids))
        id_filter.add(np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1]))
        return id_filter.dump(number)

    def _copy(self, table: str, columns: tuple[str, ...], order: str, read: Read) -> None:
        self._compare(table, columns, order, self._write(table, columns, read))

    def _write(self, table: str, columns: tuple[str, ...], read: Read) -> bytes:
        """Put rows into a table; the hash of their canonical bytes."""
        digest = hashlib.sha256()
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        with self._connection.cursor().copy(statement) as copy:
            copy.write(COPY_HEADER)
            for data in read_ahead(read):
                copy.write(data)
                digest.update(data)
            copy.write(COPY_TRAILER)
        return digest.digest()

    def _compare(self, table: str, columns: tuple[str, ...], order: str, written: bytes) -> None:
        """What the table gives back is what was written."""
        digest = hashlib.sha256()
        for data in copy_out(self._connection, copy_query(table, columns, order)):
            digest.update(data)
        if digest.digest() != written:
            raise ExportError(
                f"{table} does not give back what was written", "Nothing was imported; look at the server."
            )
