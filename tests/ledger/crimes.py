"""Crimes against a journal: single bits, and whole rows, changed in the raw rows of its tables."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from ledger.checks.tables import BATCH_COLUMNS
from ledger.columns import TransferColumns
from ledger.journal import batch_hash
from ledger.rows import ACCOUNT_COLUMNS, EXPIRY_COLUMNS, FAILED_COLUMNS, TRANSFER_COLUMNS
from ledger.segments import Seal
from tests.ledger.tables_in_memory import TablesInMemory

COLUMNS = {
    "accounts": ACCOUNT_COLUMNS,
    "expiries": EXPIRY_COLUMNS,
    "failed_ids": FAILED_COLUMNS,
    "batches": BATCH_COLUMNS,
}
SEAL_FIELDS = ("last_sequence", "first_timestamp", "last_timestamp", "transfer_count")


@dataclass(frozen=True)
class Cell:
    """A value that is there: which one, and where its bytes are."""

    row: int
    column: str
    start: int
    width: int


@dataclass(frozen=True)
class Flip:
    """One bit of one value of one row."""

    table: str
    row: int
    column: str
    bit: int
    undo: Callable[[], None]


def cells_of(tables: TablesInMemory, table: str) -> list[Cell]:
    columns = COLUMNS.get(table, TRANSFER_COLUMNS)
    return [
        Cell(row, column, start, width)
        for row, (begin, _) in enumerate(row_ranges(tables.rows[table]))
        for column, start, width in _values(tables.rows[table], begin, columns)
    ]


def row_ranges(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Where each row begins and ends."""
    ranges, at = [], 0
    while at < len(data):
        begin = at
        [fields] = struct.unpack_from("!h", data, at)
        at += 2
        for _ in range(fields):
            [length] = struct.unpack_from("!i", data, at)
            at += 4 + max(length, 0)
        ranges.append((begin, at))
    return ranges


def _values(data: bytearray, at: int, columns: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    at += 2
    for column in columns:
        [length] = struct.unpack_from("!i", data, at)
        at += 4
        if length > 0:
            yield column, at, length
            at += length


class Flipper:
    """Flips random bits of a journal in memory: each table as often as any other."""

    def __init__(self, tables: TablesInMemory, random: Random) -> None:
        self._tables = tables
        self._random = random
        self._cells = {name: cells_of(tables, name) for name in tables.rows}
        self._kinds = [name for name, cells in self._cells.items() if cells] + ["segments", "seals"]

    def flip(self) -> Flip:
        table = self._random.choice(self._kinds)
        if table in {"segments", "seals"}:
            return self._flip_catalog(table)
        cell = self._random.choice(self._cells[table])
        bit = self._random.randrange(8 * cell.width)
        data, at, mask = self._tables.rows[table], cell.start + bit // 8, 1 << bit % 8

        def toggle() -> None:
            data[at] ^= mask

        toggle()
        return Flip(table, cell.row, cell.column, bit, toggle)

    def _flip_catalog(self, table: str) -> Flip:
        catalog = self._tables.catalog
        row = self._random.choice([n for n, s in enumerate(catalog) if s.seal or table == "segments"])
        before = catalog[row]

        def undo() -> None:
            catalog[row] = before

        if table == "segments":
            column, bits = self._random.choice([("number", 31), ("first_sequence", 63)])
            bit = self._random.randrange(bits)
            catalog[row] = replace(before, **{column: getattr(before, column) ^ 1 << bit})
        else:
            column, bit = self._random.choice(SEAL_FIELDS), self._random.randrange(63)
            assert before.seal is not None
            changed = {name: getattr(before.seal, name) for name in SEAL_FIELDS}
            changed[column] ^= 1 << bit
            catalog[row] = replace(before, seal=Seal(**changed))
        return Flip(table, row, column, bit, undo)


def rows_of(tables: TablesInMemory, table: str) -> list[bytes]:
    data = bytes(tables.rows[table])
    return [data[begin:end] for begin, end in row_ranges(data)]


def put_rows(tables: TablesInMemory, table: str, rows: list[bytes]) -> None:
    tables.rows[table] = bytearray(b"".join(rows))


def forge(tables: TablesInMemory, number: int, change: Callable[[TransferColumns], None]) -> None:
    """Change a segment's transfers, and chain all batches anew: the hashes are right afterwards."""
    name = f"transfers {number}"
    columns = TransferColumns.decode(bytes(tables.rows[name]))
    columns = TransferColumns(len(columns), {key: values.copy() for key, values in columns.arrays.items()})
    change(columns)
    tables.rows[name] = bytearray(columns.encode())
    chain_anew(tables)


def chain_anew(tables: TablesInMemory) -> None:
    """Give every batch the hash that its rows and the batch before it ask for."""
    streams = {name: iter(rows_of(tables, name)) for name in ("accounts", "expiries", "failed_ids")}
    transfers = iter([row for s in tables.catalog for row in rows_of(tables, f"transfers {s.number}")])
    previous, forged = bytes(32), []
    for row in rows_of(tables, "batches"):
        sequence, timestamp, first, last = (struct.unpack_from("!q", row, 6 + 12 * n)[0] for n in range(4))
        counts = tuple(struct.unpack_from("!i", row, 54 + 8 * n)[0] for n in range(4))
        parts = [
            b"".join(next(stream) for _ in range(count))
            for stream, count in (
                (streams["accounts"], counts[0]), (streams["expiries"], counts[2]),
                (transfers, counts[1]), (streams["failed_ids"], counts[3]),
            )
        ]  # fmt: skip
        previous = batch_hash(previous, sequence, timestamp, (first, last), counts, parts)
        forged.append(row[:-32] + previous)
    put_rows(tables, "batches", forged)
