"""Archive: what the journal holds, read back in order and in its canonical form.

Recovery, the check and exports read the same streams. Rows leave the server as
binary COPY, which is their canonical form, and become columns here.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg import sql

from ledger.columns import TransferColumns, uuid_pairs
from ledger.connection import Connection, copy_out
from ledger.interface import SegmentArchived
from ledger.read_ahead import ReadAhead
from ledger.rows import EXPIRY_COLUMNS, TRANSFER_COLUMNS
from ledger.segments import Segment, is_prepared, load_segments, table_of
from ledger.tail import is_ordered

PIECES_DECODED_BEHIND = 2
"""So many pieces of the journal may wait to be decoded while more is read."""

PIECES_READ_AHEAD = 16
"""So many pieces of a tail may wait for whoever takes it: 128 MB."""

GENESIS_HASH = bytes(32)
"""The hash before the first batch."""

_ACCOUNT_QUERY = (
    "SELECT slot, id, coalesce(user_data_128, '00000000-0000-0000-0000-000000000000'), "
    "coalesce(user_data_64, 0), coalesce(user_data_32, 0), ledger, code, flags, timestamp "
    "FROM ledger_account WHERE slot >= {} ORDER BY slot"
)
_EXPIRY_QUERY = "SELECT {} FROM ledger_expiry WHERE timestamp > {} ORDER BY timestamp"

_WHOLE_TABLE = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT BINARY)")

Record = npt.NDArray[np.void]


def _fixed(*columns: tuple[str, str]) -> np.dtype[np.void]:
    parts = [("fields", ">i2")]
    for name, kind in columns:
        parts += [(f"{name}_length", ">i4"), (name, kind)]
    return np.dtype(parts)


_ACCOUNT = _fixed(
    ("slot", ">i4"), ("id", "V16"), ("user_data_128", "V16"), ("user_data_64", ">i8"),
    ("user_data_32", ">i4"), ("ledger", ">i4"), ("code", ">i2"), ("flags", ">i2"), ("timestamp", ">i8"),
)  # fmt: skip
_EXPIRY = _fixed(
    *((name, ">i8") for name in EXPIRY_COLUMNS[:10]),
    ("debit_account", ">i4"), ("credit_account", ">i4"), ("flags", ">i2"),
)  # fmt: skip
_FAILED = _fixed(("id", "V16"))
_BATCH = _fixed(("sequence", ">i8"), ("timestamp", ">i8"), ("transfer_last", ">i8"))


@dataclass(slots=True, frozen=True)
class Head:
    """The newest batch: what the next one follows."""

    sequence: int = 0
    timestamp: int = 0
    hash: bytes = GENESIS_HASH


class Archive:
    """Reads the journal through a session of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def head(self) -> Head:
        """The newest batch."""
        row: Any = self._connection.execute(
            "SELECT sequence, timestamp, hash FROM ledger_batch ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return Head() if row is None else Head(row[0], row[1], bytes(row[2]))

    def segments(self) -> list[Segment]:
        """All segments, oldest first."""
        return load_segments(self._connection)

    def accounts(self, first_slot: int = 0) -> Iterator[Record]:
        """Accounts from that slot on, in order, as records with 0 for NULL."""
        return _copy_records(self._connection, _ACCOUNT_QUERY.format(int(first_slot)), _ACCOUNT)

    def transfers(self, segment: Segment, after: int = 0) -> Iterator[TransferColumns]:
        """A segment's transfers younger than a timestamp, in order; ``SegmentArchived`` of a detached one."""
        columns, table = self._place_of(segment)
        if segment.seal is None or after < segment.seal.first_timestamp:
            # A whole table is read fastest by itself. Its rows stand in the order of
            # their commits, but nothing promises it: they are sorted where that is needed.
            rows = TransferColumns.join(self._decode(_WHOLE_TABLE.format(table, columns)))
            timestamps = rows["timestamp"]
            if not is_ordered(timestamps):
                rows = rows.take(np.argsort(timestamps, kind="stable"))
                timestamps = rows["timestamp"]
            yield rows.part(int(np.searchsorted(timestamps, after, "right")), len(rows))
            return
        yield from self._decode(
            sql.SQL(
                "COPY (SELECT {} FROM {} WHERE timestamp > {} ORDER BY timestamp) TO STDOUT (FORMAT BINARY)"
            ).format(columns, table, sql.Literal(after))
        )

    @contextlib.contextmanager
    def read_ahead(self, segments: Sequence[Segment]) -> Iterator[Iterator[tuple[int, TransferColumns]]]:
        """Whole segments in parts, each with its segment's number, read while the caller does other things.

        In the order of their tables, which is that of their commits wherever anybody
        looked, but nothing promises it. Until the end nothing else may use this session.
        """

        def pieces() -> Iterator[tuple[int, bytes]]:
            for segment in segments:
                columns, table = self._place_of(segment)
                statement = _WHOLE_TABLE.format(table, columns).as_string(self._connection)
                for piece in copy_out(self._connection, statement):
                    yield segment.number, piece

        reading = ReadAhead(pieces(), PIECES_READ_AHEAD, self._connection.cancel)
        try:
            yield ((number, TransferColumns.decode(piece)) for number, piece in reading)
        finally:
            reading.close()

    def _place_of(self, segment: Segment) -> tuple[sql.Composed, sql.Identifier]:
        """A segment's columns and table; ``SegmentArchived`` of a detached one."""
        if not is_prepared(self._connection, segment.number):
            raise SegmentArchived(segment.number, "and a start needs it: attach it")
        columns = sql.SQL(", ").join(map(sql.Identifier, TRANSFER_COLUMNS))
        return columns, sql.Identifier(table_of(segment.number))

    def expiries(self, after: int = 0) -> Iterator[Record]:
        """Expiries younger than a timestamp, in order, as records."""
        names = ", ".join(EXPIRY_COLUMNS)
        return _copy_records(self._connection, _EXPIRY_QUERY.format(names, int(after)), _EXPIRY)

    def failed_ids(self) -> Iterator[npt.NDArray[np.uint64]]:
        """Failed ids as (low, high) pairs."""
        for rows in _copy_records(self._connection, "SELECT id FROM ledger_failed_id", _FAILED):
            yield uuid_pairs(rows["id"])

    def batches(self, after: int = 0) -> Record:
        """Sequence, timestamp and last transfer (0 for none) of each batch after that sequence."""
        query = (
            "SELECT sequence, timestamp, coalesce(transfer_last, 0) FROM ledger_batch"
            f" WHERE sequence > {int(after)} ORDER BY sequence"
        )
        parts = list(_copy_records(self._connection, query, _BATCH))
        return np.concatenate(parts) if parts else np.zeros(0, _BATCH)

    def id_filters(self, header_size: int) -> list[tuple[int, int, bytes]]:
        """Segment, part and first bytes of each stored piece of the id filter."""
        rows: Any = self._connection.execute(
            "SELECT number, part, substring(data FOR %s) FROM ledger_id_filter ORDER BY number, part",
            (header_size,),
        ).fetchall()
        return [(row[0], row[1], bytes(row[2])) for row in rows]

    def id_filter(self, number: int, part: int) -> bytes:
        """One piece of the id filter."""
        row: Any = self._connection.execute(
            "SELECT data FROM ledger_id_filter WHERE number = %s AND part = %s", (number, part), binary=True
        ).fetchone()
        return bytes(row[0])

    def checkpoint(self) -> tuple[int, bytes] | None:
        """The newest checkpoint: its batch's sequence, and its bytes."""
        rows: Any = self._connection.execute(
            "SELECT sequence, data FROM ledger_checkpoint"
            " WHERE sequence = (SELECT max(sequence) FROM ledger_checkpoint) ORDER BY part",
            binary=True,
        ).fetchall()
        return (rows[0][0], b"".join(row[1] for row in rows)) if rows else None

    def _decode(self, statement: sql.Composed) -> Iterator[TransferColumns]:
        """The rows of a COPY; while one piece becomes columns, the next is read."""
        waiting: deque[Future[TransferColumns]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="ledger-decoder") as decoder:
            for data in copy_out(self._connection, statement.as_string(self._connection)):
                waiting.append(decoder.submit(TransferColumns.decode, data))
                if len(waiting) > PIECES_DECODED_BEHIND:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def _copy_records(connection: Connection, query: str, record: np.dtype[np.void]) -> Iterator[Record]:
    """Stream the rows of a query without NULLs as fixed-width records of their binary COPY form."""
    for data in copy_out(connection, f"COPY ({query}) TO STDOUT (FORMAT BINARY)"):
        yield np.frombuffer(data, record)
