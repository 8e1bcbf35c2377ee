"""Export: the journal as Parquet, one file a table and segment, with a manifest.

The files come first, each on disk before the next, and the manifest last: what a
crash leaves is a directory without a manifest, which nothing reads. What was
written is read back and checked like a journal before the export counts as done.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from ledger.archive import GENESIS_HASH
from ledger.checks.journal import Report, Summary, check_journal
from ledger.checks.row_layouts import BATCHES, Layout, decode_rows
from ledger.checks.tables import JournalTables, read_ahead
from ledger.columns import TransferColumns
from ledger.parquet.columns import rows_to_arrow, transfers_to_arrow
from ledger.parquet.manifest import (
    FORMAT,
    MANIFEST,
    ExportError,
    ExportFile,
    Manifest,
    file_hash,
    manifest_segment,
)
from ledger.parquet.tables import LAYOUTS, ParquetTables, transfers_key


def export_journal(tables: JournalTables, directory: Path, report: Report = lambda _: None) -> Summary:
    """Write the journal into a directory that is empty or not there yet, and check what was written.

    A finding in the summary means that the journal itself is wrong: the files hold it as it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ExportError(f"{directory} is not empty", "Name a directory that is new or empty.")
    export = _Export(tables, directory, report)
    export.write()
    return check_journal(ParquetTables(directory), known_hash=export.head_hash)


class _Export:
    """One export in progress."""

    def __init__(self, tables: JournalTables, directory: Path, report: Report) -> None:
        self._tables = tables
        self._directory = directory
        self._report = report
        self._files: dict[str, ExportFile] = {}
        self._batches = self._transfers = 0
        self._newest = GENESIS_HASH

    @property
    def head_hash(self) -> bytes | None:
        """The newest batch's hash; None for a journal without any."""
        return self._newest if self._batches else None

    def write(self) -> None:
        """Write every file, and then the manifest."""
        for key, layout in LAYOUTS.items():
            self._write_file(key, key, getattr(self._tables, key), partial(self._convert, layout))
        segments = self._tables.segments()
        for segment in segments:
            read = partial(self._tables.transfers, segment)
            name = f"transfers_{segment.number:05}"
            self._write_file(transfers_key(segment.number), name, read, self._convert_transfers)
        manifest = Manifest(
            FORMAT, self._batches, self._transfers, self._newest.hex(),
            [manifest_segment(segment) for segment in segments], self._files,
        )  # fmt: skip
        path = self._directory / f"{MANIFEST}.part"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        _sync(path)
        path.rename(self._directory / MANIFEST)
        _sync(self._directory)

    def _convert(self, layout: Layout, data: bytes) -> Any:
        columns, starts = decode_rows(layout, data)
        if layout is BATCHES and data:
            self._newest = columns["hash"][-1].tobytes()
            self._batches += len(starts) - 1
        return rows_to_arrow(layout, columns)

    def _convert_transfers(self, data: bytes) -> Any:
        columns = TransferColumns.decode(data)
        self._transfers += len(columns)
        self._report(self._transfers)
        return transfers_to_arrow(columns)

    def _write_file(
        self,
        key: str,
        stem: str,
        read: Callable[[], Iterator[bytes]],
        convert: Callable[[bytes], Any],
    ) -> None:
        """Write one table as it is read; an empty one has a file with its columns."""
        path = self._directory / f"{stem}.parquet"
        digest, rows = hashlib.sha256(), 0
        nothing = convert(b"")
        with contextlib.closing(pq.ParquetWriter(path, nothing.schema, compression="zstd")) as writer:
            for data in read_ahead(read):
                table = convert(data)
                writer.write_table(table)
                digest.update(data)
                rows += table.num_rows
        _sync(path)
        self._files[key] = ExportFile(path.name, rows, file_hash(path), digest.hexdigest())


def _sync(path: Path) -> None:
    """Have a file or directory on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
