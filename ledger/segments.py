"""Segments: how the journal's transfers are laid out in tables.

One segment is open: batches are appended to its table, which has no index. When
it is full the next one is opened, and a background thread seals the full one:
builds its indexes, proves its range of timestamps, and attaches it to
``ledger_transfer_sealed``, all in steps that may be repeated after a crash. The
table of the next segment always exists before it is needed, so that opening it
costs the writer one row. ``ledger_transfer`` is a view over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from ledger.connection import Connection
from ledger.contract import BATCH_MAX
from ledger.history_marks import store_marks
from ledger.rows import TRANSFER_COLUMNS

SEGMENT_ROWS = 1_000_000
"""A segment with so many transfers is full; the batch that fills it still goes in."""

SEALED = "ledger_transfer_sealed"
"""The partitioned table of all sealed segments."""


_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
"""Who waits for a table stands before everybody who comes later; so we never wait long."""


def room_for(segment_rows: int) -> int:
    """Rows that a segment has room for in memory: full, and the batch that filled it."""
    return segment_rows + min(segment_rows, BATCH_MAX)


def table_of(number: int) -> str:
    """The table of a segment."""
    return f"ledger_transfer_{number}"


@dataclass(slots=True, frozen=True)
class Segment:
    """A segment as the catalog has it."""

    number: int
    first_sequence: int
    """First batch whose transfers are in it."""
    seal: Seal | None = None
    """None while it is open, or full and not sealed yet."""


@dataclass(slots=True, frozen=True)
class Seal:
    """What a sealed segment holds."""

    last_sequence: int
    first_timestamp: int
    last_timestamp: int
    transfer_count: int


def load_segments(connection: Connection) -> list[Segment]:
    """All segments, oldest first."""
    rows: Any = connection.execute(
        "SELECT number, first_sequence, last_sequence, first_timestamp, last_timestamp, transfer_count"
        " FROM ledger_segment LEFT JOIN ledger_seal USING (number) ORDER BY number"
    ).fetchall()
    return [Segment(row[0], row[1], None if row[2] is None else Seal(*row[2:])) for row in rows]


def is_prepared(connection: Connection, number: int) -> bool:
    """Whether a segment's table exists."""
    row = connection.execute("SELECT to_regclass(%s)", (table_of(number),)).fetchone()
    return row is not None and row[0] is not None


def prepare(connection: Connection, number: int) -> None:
    """Make the table of a segment that will be opened next, and show it in the view.

    ``psycopg.errors.LockNotAvailable`` when somebody reads the view for too long.
    """
    with connection.transaction():
        connection.execute(_LOCK_TIMEOUT)
        create(connection, number)
        _show(connection, [*_unsealed(connection), number])


def create(connection: Connection, number: int) -> None:
    """Make the table of a segment, which nobody sees yet."""
    table = sql.Identifier(table_of(number))
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(table, sql.Identifier(SEALED)))
    connection.execute(sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = off)").format(table))
    connection.execute(
        sql.SQL(
            "CREATE TRIGGER {} BEFORE UPDATE OR DELETE OR TRUNCATE ON {}"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()"
        ).format(sql.Identifier(f"{table_of(number)}_append_only"), table)
    )


def is_sealed(connection: Connection, number: int) -> bool:
    """Whether a segment is one of the sealed ones."""
    row = connection.execute("SELECT FROM ledger_seal WHERE number = %s", (number,)).fetchone()
    return row is not None


def build_indexes(connection: Connection, number: int, seal: Seal) -> None:
    """Everything about sealing that takes long; each step may be repeated."""
    table = table_of(number)
    for index, rest in (
        ("timestamp", "(timestamp)"),
        ("id", "(id)"),
        ("pending_timestamp", "(pending_timestamp) WHERE pending_timestamp IS NOT NULL"),
    ):
        connection.execute(
            sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} " + rest).format(
                sql.Identifier(f"{table}_{index}"), sql.Identifier(table)
            )
        )
    constraint = f"{table}_range"
    known = connection.execute("SELECT FROM pg_constraint WHERE conname = %s", (constraint,)).fetchone()
    if known is None:
        connection.execute(
            sql.SQL(
                "ALTER TABLE {} ADD CONSTRAINT {} CHECK (timestamp >= {} AND timestamp < {}) NOT VALID"
            ).format(
                sql.Identifier(table), sql.Identifier(constraint),
                sql.Literal(seal.first_timestamp), sql.Literal(seal.last_timestamp + 1),
            )
        )  # fmt: skip
    connection.execute(
        sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
            sql.Identifier(table), sql.Identifier(constraint)
        )
    )
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))
    connection.execute(sql.SQL("ALTER TABLE {} RESET (autovacuum_enabled)").format(sql.Identifier(table)))


def attach(connection: Connection, number: int, seal: Seal, id_filter: Sequence[bytes], marks: bytes) -> None:
    """Hand a segment over to the sealed ones: one database transaction, all or nothing.

    A reader that is at work on the table makes us wait; ``psycopg.errors.LockNotAvailable``
    says that it took too long, and that it is to be tried again.
    """
    with connection.transaction():
        # The rows first: whoever reads the view waits for us from the next statement on.
        store_marks(connection, marks)
        connection.execute(_LOCK_TIMEOUT)
        put_among_sealed(connection, number, seal)
        connection.execute(
            "INSERT INTO ledger_seal (number, last_sequence, first_timestamp, last_timestamp, transfer_count)"
            " VALUES (%s, %s, %s, %s, %s)",
            (number, seal.last_sequence, seal.first_timestamp, seal.last_timestamp, seal.transfer_count),
        )
        for part, data in enumerate(id_filter):
            connection.execute("INSERT INTO ledger_id_filter VALUES (%s, %s, %s)", (number, part, data))
        _show(connection, [other for other in _unsealed(connection) if other != number])


def put_among_sealed(connection: Connection, number: int, seal: Seal) -> None:
    """Make a segment's table, with its indexes and its range, a part of the sealed ones."""
    connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            sql.Identifier(SEALED), sql.Identifier(table_of(number)),
            sql.Literal(seal.first_timestamp), sql.Literal(seal.last_timestamp + 1),
        )
    )  # fmt: skip


def detached_table_of(number: int) -> str:
    """The table of a detached segment: a name that neither the view nor a sealing looks at."""
    return f"ledger_archived_{number}"


def put_aside(connection: Connection, number: int) -> None:
    """Take a segment's table out of the sealed ones; the opposite of :func:`put_back`."""
    table, aside = sql.Identifier(table_of(number)), sql.Identifier(detached_table_of(number))
    connection.execute(_LOCK_TIMEOUT)
    connection.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(sql.Identifier(SEALED), table))
    connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(table, aside))


def put_back(connection: Connection, number: int, seal: Seal) -> None:
    """Make the table of a detached segment a part of the sealed ones again."""
    table, aside = sql.Identifier(table_of(number)), sql.Identifier(detached_table_of(number))
    connection.execute(_LOCK_TIMEOUT)
    connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(aside, table))
    put_among_sealed(connection, number, seal)


def drop_aside(connection: Connection, number: int) -> None:
    """Drop the table of a detached segment."""
    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(detached_table_of(number))))


def _unsealed(connection: Connection) -> list[int]:
    """Numbers of the tables of segments that are not sealed, the prepared one among them."""
    rows: Any = connection.execute(
        "SELECT substring(relname FROM '[0-9]+$')::integer AS number FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()"
        " WHERE relname ~ '^ledger_transfer_[0-9]+$' AND relkind = 'r' AND NOT relispartition"
        " ORDER BY number"
    ).fetchall()
    return [row[0] for row in rows]


def _show(connection: Connection, unsealed: list[int]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, TRANSFER_COLUMNS))
    tables = [SEALED, *(table_of(number) for number in sorted(set(unsealed)))]
    selects = [sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(table)) for table in tables]
    connection.execute(
        sql.SQL("CREATE OR REPLACE VIEW ledger_transfer AS {}").format(sql.SQL(" UNION ALL ").join(selects))
    )
