"""Parquet tables: an export, read as the journal that it is of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.checks.row_layouts import ACCOUNTS, BATCHES, EXPIRIES, FAILED, Layout, encode_rows
from ledger.parquet.columns import rows_from_arrow, transfers_from_arrow
from ledger.parquet.manifest import ExportError, Manifest, catalog_segment, read_manifest
from ledger.segments import Segment

ROWS_AT_ONCE = 65_536
"""So many rows are read at a time."""

LAYOUTS = {"accounts": ACCOUNTS, "expiries": EXPIRIES, "failed_ids": FAILED, "batches": BATCHES}
"""Tables beside the transfers, by their names in a manifest."""


def transfers_key(number: int) -> str:
    """A segment's transfers in a manifest."""
    return f"transfers {number}"


class ParquetTables:
    """See :class:`ledger.checks.tables.JournalTables`; ``ExportError`` where a file is not what it was."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.manifest: Manifest = read_manifest(directory)

    def transfer_count(self) -> int:
        """Transfers by the manifest."""
        return self.manifest.transfers

    def segments(self) -> list[Segment]:
        """The catalog of segments, by number."""
        return [catalog_segment(segment) for segment in self.manifest.segments]

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Files have no bounds of their own: those of the seals."""
        return {
            segment.number: (segment.seal.first_timestamp, segment.seal.last_timestamp + 1)
            for segment in self.segments()
            if segment.seal is not None
        }

    def strays(self) -> list[str]:
        """Transfers of segments that are in no catalog."""
        known = {transfers_key(segment.number) for segment in self.segments()}
        return sorted(key for key in self.manifest.files if key not in known and key not in LAYOUTS)

    def accounts(self) -> Iterator[bytes]:
        """Accounts by slot."""
        return self._table("accounts")

    def transfers(self, segment: Segment) -> Iterator[bytes]:
        """A segment's transfers by timestamp."""
        return self._pieces(transfers_key(segment.number), lambda table: transfers_from_arrow(table).encode())

    def expiries(self) -> Iterator[bytes]:
        """Expiries by timestamp."""
        return self._table("expiries")

    def failed_ids(self) -> Iterator[bytes]:
        """Failed ids by timestamp."""
        return self._table("failed_ids")

    def batches(self) -> Iterator[bytes]:
        """Batches by sequence."""
        return self._table("batches")

    def checkpoint(self) -> tuple[int, bytes] | None:
        """An export has none: it follows from the journal."""
        return None

    def id_filters(self, number: int) -> list[bytes] | None:
        """An export has none: they follow from the journal."""
        del number
        return None

    def history_marks(self, number: int) -> bytes | None:
        """An export has none of these either."""
        del number
        return None

    def _table(self, key: str) -> Iterator[bytes]:
        layout: Layout = LAYOUTS[key]
        return self._pieces(key, lambda table: encode_rows(layout, rows_from_arrow(layout, table)))

    def _pieces(self, key: str, encode: Callable[[Any], bytes]) -> Iterator[bytes]:
        """The rows' canonical bytes, which must be those that were written."""
        file = self.manifest.files.get(key)
        if file is None:
            raise ExportError(f"The export has no {key}", "Export the journal again.")
        digest = hashlib.sha256()
        try:
            with pq.ParquetFile(self._directory / file.name) as parquet:
                for batch in parquet.iter_batches(ROWS_AT_ONCE):
                    data = encode(pa.Table.from_batches([batch]))
                    digest.update(data)
                    yield data
        except (pa.ArrowException, KeyError) as error:
            raise ExportError(f"{file.name} is not readable: {error}", "Export the journal again.") from None
        if digest.hexdigest() != file.rows_sha256:
            raise ExportError(f"{file.name} holds other rows than were exported", "Export the journal again.")
