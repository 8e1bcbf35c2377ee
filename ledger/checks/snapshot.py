"""Journal snapshot: the journal in PostgreSQL as of one instant, also under a running ledger.

One session holds a snapshot (REPEATABLE READ, READ ONLY) and no table; every read
is a short database transaction of its own that borrows it. So nothing that is
committed meanwhile shows, and a table is held only while it is read: sealing,
which needs a table for itself for a moment, never waits for a whole check.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from foundation.postgres import sync_url
from ledger.archive import GENESIS_HASH
from ledger.archived import Detached, load_detached
from ledger.checks.findings import Finding, FoundWrong
from ledger.checks.tables import BATCH_COLUMNS
from ledger.connection import copy_out
from ledger.interface import SegmentArchived
from ledger.rows import ACCOUNT_COLUMNS, EXPIRY_COLUMNS, FAILED_COLUMNS
from ledger.rows import TRANSFER_COLUMNS as TRANSFERS
from ledger.segments import SEALED, Segment, load_segments, table_of

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ZERO_FOR_NULL = ("transfer_first", "transfer_last")
_BOUNDS = re.compile(r"FOR VALUES FROM \('?(-?\d+)'?\) TO \('?(-?\d+)'?\)")


class JournalSnapshot:
    """See :class:`ledger.checks.tables.JournalTables`; a context, so that its sessions end.

    Detached segments are read from their files in the directory ``archive``.
    """

    def __init__(self, url: str, archive: Path | None = None) -> None:
        self._url = sync_url(url)
        self._archive = archive
        self._open = contextlib.ExitStack()
        self._snapshot = ""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            holder = opening.enter_context(self._connect())
            holder.execute(_BEGIN)
            row: Any = holder.execute("SELECT pg_export_snapshot()").fetchone()
            self._snapshot = row[0]
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def transfer_count(self) -> int:
        """Transfers by the batches' counts."""
        return int(self._rows("SELECT coalesce(sum(transfer_count), 0) FROM ledger_batch")[0][0])

    @cached_property
    def detached(self) -> list[Detached]:
        """The detached segments, oldest first."""
        with self._session() as connection:
            return load_detached(connection)

    def unseen(self) -> list[Segment]:
        """The segments that cannot be read here: detached, and no directory is known."""
        if self._archive is not None:
            return []
        numbers = {segment.number for segment in self.detached}
        return [segment for segment in self.segments() if segment.number in numbers]

    def batch_hash(self, sequence: int) -> bytes:
        """The hash of a batch; that before the first one for 0."""
        rows = self._rows(f"SELECT hash FROM ledger_batch WHERE sequence = {int(sequence)}")
        return bytes(rows[0][0]) if rows else GENESIS_HASH

    def segments(self) -> list[Segment]:
        """The catalog of segments, by number."""
        with self._session() as connection:
            return load_segments(connection)

    def bounds(self) -> dict[int, tuple[int, int]]:
        """The partitions of the sealed transfers, by the number in their name."""
        query = (
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i"
            f" JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '{SEALED}'::regclass"
        )
        found: dict[int, tuple[int, int]] = {}
        for name, bound in self._rows(query):
            number, limits = re.fullmatch(r"ledger_transfer_(\d+)", name), _BOUNDS.fullmatch(bound)
            if number is not None and limits is not None:
                found[int(number[1])] = int(limits[1]), int(limits[2])
        for segment in self.detached:
            # Its file stands for its part, which must not be there as well.
            bounds = segment.first_timestamp, segment.last_timestamp + 1
            found[segment.number] = (0, 0) if segment.number in found else bounds
        return found

    def strays(self) -> list[str]:
        """Tables of segments that are in no catalog and hold rows."""
        query = (
            "SELECT relname FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()"
            " WHERE relname ~ '^ledger_transfer_[0-9]+$' AND relkind = 'r'"
            " AND substring(relname FROM '[0-9]+$')::integer NOT IN (SELECT number FROM ledger_segment)"
        )
        names = [str(row[0]) for row in self._rows(query)]
        return [name for name in names if self._rows(f"SELECT FROM {name} LIMIT 1")]

    def accounts(self) -> Iterator[bytes]:
        """Accounts by slot."""
        return self._pieces("ledger_account", ACCOUNT_COLUMNS, "slot")

    def transfers(self, segment: Segment) -> Iterator[bytes]:
        """A segment's transfers by timestamp; ``SegmentArchived`` of one that is not seen here."""
        for detached in self.detached:
            if detached.number == segment.number:
                return self._archived(detached)
        return self._pieces(table_of(segment.number), TRANSFERS, "timestamp")

    def expiries(self) -> Iterator[bytes]:
        """Expiries by timestamp."""
        return self._pieces("ledger_expiry", EXPIRY_COLUMNS, "timestamp")

    def failed_ids(self) -> Iterator[bytes]:
        """Failed ids by timestamp."""
        return self._pieces("ledger_failed_id", FAILED_COLUMNS, "timestamp")

    def batches(self) -> Iterator[bytes]:
        """Batches by sequence."""
        return self._pieces("ledger_batch", BATCH_COLUMNS, "sequence")

    def checkpoint(self) -> tuple[int, bytes] | None:
        """The newest checkpoint."""
        rows = self._rows(
            "SELECT sequence, data FROM ledger_checkpoint"
            " WHERE sequence = (SELECT max(sequence) FROM ledger_checkpoint) ORDER BY part"
        )
        return (rows[0][0], b"".join(bytes(row[1]) for row in rows)) if rows else None

    def id_filters(self, number: int) -> list[bytes]:
        """The stored pieces of a segment's id filter."""
        rows = self._rows(f"SELECT data FROM ledger_id_filter WHERE number = {int(number)} ORDER BY part")
        return [bytes(row[0]) for row in rows]

    def history_marks(self, number: int) -> bytes:
        """A segment's history marks by part, each row in the form that they were written in."""
        query = (
            "COPY (SELECT part, number, slots, timestamps FROM ledger_history_mark"
            f" WHERE number = {int(number)} ORDER BY part) TO STDOUT (FORMAT BINARY)"
        )
        with self._session() as connection:
            return b"".join(copy_out(connection, query))

    def _archived(self, segment: Detached) -> Iterator[bytes]:
        """The rows of a detached segment, of the file that was recorded."""
        if self._archive is None:
            raise SegmentArchived(segment.number, "and no directory of archived segments was named")
        # Parquet's package is not needed by a journal that is all there.
        from ledger.parquet.manifest import ExportError
        from ledger.parquet.segment_files import SegmentFile, file_name

        try:
            yield from SegmentFile(self._archive, segment.number, sha256=segment.file_sha256).pieces()
        except ExportError as error:
            table, key = file_name(segment.number), f"segment {segment.number}"
            raise FoundWrong(
                Finding(table, key, "file", f"of no use: {error}", "the archived one")
            ) from error

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._url, autocommit=True, application_name="nugpay-ledger-check")

    @contextlib.contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """A session that sees what the snapshot sees."""
        with self._connect() as connection:
            connection.execute(_BEGIN)
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self._snapshot)))
            # The open segment has no index: its rows are sorted, and that in memory.
            connection.execute("SET LOCAL work_mem = '256MB'")
            yield connection
            if not connection.closed:
                connection.execute("COMMIT")

    def _rows(self, query: str) -> list[Any]:
        with self._session() as connection:
            return connection.execute(query, binary=True).fetchall()

    def _pieces(self, table: str, columns: tuple[str, ...], order: str) -> Iterator[bytes]:
        query = copy_query(table, columns, order)
        with self._session() as connection:
            done = False
            try:
                yield from copy_out(connection, query)
                done = True
            finally:
                if not done and not connection.closed:
                    # Whoever wanted the rows has seen enough.
                    connection.cancel_safe(timeout=2.0)
                    connection.close()


def copy_query(table: str, columns: tuple[str, ...], order: str) -> str:
    """The statement that gives a table's rows in their canonical form."""
    names = ", ".join(f"coalesce({name}, 0)" if name in _ZERO_FOR_NULL else name for name in columns)
    return f"COPY (SELECT {names} FROM {table} ORDER BY {order}) TO STDOUT (FORMAT BINARY)"
