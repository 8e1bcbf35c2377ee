"""Inserts: a few transfers and their batch's row as one prepared statement, one round trip.

The values are those of the rows' canonical bytes, cut at their lengths: PostgreSQL's
binary form of a parameter is that of a COPY's field. One statement is one database
transaction, which commits wholly or not.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import psycopg

from ledger.connection import Connection, run_alone
from ledger.rows import TRANSFER_COLUMNS, TRANSFER_FIXED, TRANSFER_OPTIONAL

BATCH_COLUMNS = (
    "sequence", "timestamp", "transfer_first", "transfer_last", "account_count", "transfer_count",
    "expiry_count", "failed_count", "hash",
)  # fmt: skip
"""A batch's row."""

_TYPE_OF = {"q": 20, "i": 23, "h": 21, "16s": 2950}
"""PostgreSQL's numbers of bigint, integer, smallint and uuid."""
_TRANSFER_TYPES = [_TYPE_OF[kind] for kind in (*TRANSFER_FIXED, *TRANSFER_OPTIONAL)]
_BATCH_TYPES = [20] * 4 + [23] * 4 + [17]
_LENGTH = struct.Struct("!i")
_BATCH = struct.Struct("!qqqqiiii")


class Inserts:
    """The prepared statements of one session, for the table that it writes to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._table = ""
        self._names: dict[int, bytes] = {}
        """Statements by how many transfers they take."""

    def insert(self, table: str, count: int, transfers: bytes, batch: Sequence[int], digest: bytes) -> None:
        """Store ``count`` transfers, given as their canonical bytes, and the row of their batch.

        ``batch`` holds its numbers but for the hash, the range of transfers among them.
        ``psycopg.OperationalError`` may leave the outcome open, as with any commit.
        """
        name = self._statement(table, count)
        numbers = _BATCH.pack(*batch)
        values = _values(transfers, count)
        values += [numbers[at : at + 8] for at in range(0, 32, 8)]
        values += [numbers[at : at + 4] for at in range(32, 48, 4)]
        values.append(digest)
        formats = [1] * len(values)
        run_alone(
            self._connection,
            lambda pgconn: pgconn.send_query_prepared(name, values, param_formats=formats),
        )

    def _statement(self, table: str, count: int) -> bytes:
        """The name of the statement, prepared once; those of another table are let go of."""
        if table != self._table:
            for name in self._names.values():
                self._connection.execute(b"DEALLOCATE " + name)
            self._table, self._names = table, {}
        if count not in self._names:
            name = f"insert_{table}_{count}".encode()
            types = _TRANSFER_TYPES * count + _BATCH_TYPES
            statement = _insert(table, count).encode()
            run_alone(self._connection, lambda pgconn: pgconn.send_prepare(name, statement, types))
            self._names[count] = name
        return self._names[count]


def _insert(table: str, count: int) -> str:
    width = len(TRANSFER_COLUMNS)
    rows = ", ".join(_parameters(1 + number * width, width) for number in range(count))
    return (
        f"WITH rows AS (INSERT INTO {table} ({', '.join(TRANSFER_COLUMNS)}) VALUES {rows})"
        f" INSERT INTO ledger_batch ({', '.join(BATCH_COLUMNS)})"
        f" VALUES {_parameters(1 + count * width, len(BATCH_COLUMNS))}"
    )


def _parameters(first: int, count: int) -> str:
    return "(" + ", ".join(f"${number}" for number in range(first, first + count)) + ")"


def _values(transfers: bytes, count: int) -> list[bytes | None]:
    """The fields of binary COPY rows, one after the other; None for NULL."""
    values: list[bytes | None] = []
    at = 0
    for _ in range(count):
        at += 2
        for _ in TRANSFER_COLUMNS:
            (length,) = _LENGTH.unpack_from(transfers, at)
            at += 4
            if length < 0:
                values.append(None)
            else:
                values.append(transfers[at : at + length])
                at += length
    if at != len(transfers):
        raise psycopg.DataError(f"{count} rows end at {at}, not {len(transfers)}")
    return values
