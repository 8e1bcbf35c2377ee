"""A journal's tables in memory, as they were read: to be spoiled, and checked at once."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ledger.checks.tables import JournalTables
from ledger.segments import Segment

TABLES = ("accounts", "expiries", "failed_ids", "batches")


@dataclass
class TablesInMemory:
    """The raw rows of every table."""

    catalog: list[Segment]
    attached: dict[int, tuple[int, int]]
    rows: dict[str, bytearray]
    """By name of the table; transfers by the number of their segment."""
    stored_checkpoint: tuple[int, bytes] | None
    filters: dict[int, list[bytes]] = field(default_factory=dict)
    marks: dict[int, bytearray] = field(default_factory=dict)

    @classmethod
    def read(cls, tables: JournalTables) -> "TablesInMemory":
        segments = tables.segments()
        rows = {name: bytearray(b"".join(getattr(tables, name)())) for name in TABLES}
        for segment in segments:
            rows[f"transfers {segment.number}"] = bytearray(b"".join(tables.transfers(segment)))
        filters = {segment.number: tables.id_filters(segment.number) or [] for segment in segments}
        marks = {
            segment.number: bytearray(tables.history_marks(segment.number) or b"") for segment in segments
        }
        return cls(segments, tables.bounds(), rows, tables.checkpoint(), filters, marks)

    def transfer_count(self) -> int:
        return 0

    def segments(self) -> list[Segment]:
        return [replace(segment) for segment in self.catalog]

    def bounds(self) -> dict[int, tuple[int, int]]:
        return self.attached

    def strays(self) -> list[str]:
        return []

    def accounts(self) -> Iterator[bytes]:
        return self._pieces("accounts")

    def transfers(self, segment: Segment) -> Iterator[bytes]:
        return self._pieces(f"transfers {segment.number}")

    def expiries(self) -> Iterator[bytes]:
        return self._pieces("expiries")

    def failed_ids(self) -> Iterator[bytes]:
        return self._pieces("failed_ids")

    def batches(self) -> Iterator[bytes]:
        return self._pieces("batches")

    def checkpoint(self) -> tuple[int, bytes] | None:
        return self.stored_checkpoint

    def id_filters(self, number: int) -> list[bytes]:
        return self.filters.get(number, [])

    def history_marks(self, number: int) -> bytes:
        return bytes(self.marks.get(number, b""))

    def _pieces(self, name: str) -> Iterator[bytes]:
        data = bytes(self.rows.get(name, b""))
        if data:
            yield data
