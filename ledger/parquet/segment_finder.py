"""Segment finder: single rows in the files of archived segments.

A file is proven by its hash when it is first used, and again when it has changed;
one column is kept in memory for each kind of question, and of the rows only those
groups are read that have one. Threads may share a finder.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ledger.archived import Detached
from ledger.columns import TransferColumns
from ledger.parquet.columns import column_from_arrow, transfers_from_arrow
from ledger.parquet.manifest import ExportError
from ledger.parquet.segment_files import SegmentFile, file_name

COLUMNS_KEPT = 8
"""So many columns are kept in memory, of a million values each as segments are by default."""

_MASK64 = 2**64 - 1

Stamp = tuple[int, int]


class ParquetFinder:
    """See :class:`ledger.archived.SegmentFinder`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._proven: dict[int, Stamp] = {}
        self._columns: dict[tuple[int, str], npt.NDArray[Any]] = {}
        self._lock = threading.Lock()

    def find(self, segment: Detached, column: str, values: Collection[int]) -> TransferColumns:
        """The rows whose column has one of these values; ``ExportError`` where the file is not right."""
        with self._lock:
            path = self._directory / file_name(segment.number)
            try:
                self._prove(segment, path)
                with pq.ParquetFile(path) as parquet:
                    held = self._column(parquet, segment.number, column)
                    return _read(parquet, _matches(held, values))
            except (OSError, pa.ArrowException, KeyError) as error:
                raise ExportError(
                    f"{path.name} is not readable: {error}", "Set NUGPAY_LEDGER_ARCHIVE to the archive."
                ) from None

    def _prove(self, segment: Detached, path: Path) -> None:
        status = path.stat()
        stamp = status.st_mtime_ns, status.st_size
        if self._proven.get(segment.number) != stamp:
            self._columns = {key: held for key, held in self._columns.items() if key[0] != segment.number}
            SegmentFile(self._directory, segment.number, sha256=segment.file_sha256)
            self._proven[segment.number] = stamp

    def _column(self, parquet: Any, number: int, name: str) -> npt.NDArray[Any]:
        held = self._columns.pop((number, name), None)
        if held is None:
            held = column_from_arrow(name, parquet.read(columns=[name]).column(name))
        # The one that was used last is the last to go.
        self._columns[number, name] = held
        while len(self._columns) > COLUMNS_KEPT:
            del self._columns[next(iter(self._columns))]
        return held


def _matches(held: npt.NDArray[Any], values: Collection[int]) -> list[int]:
    if held.ndim == 1:
        return np.flatnonzero(np.isin(held, np.array(list(values), held.dtype))).tolist()
    wanted = set(values)
    low = np.array([value & _MASK64 for value in wanted], np.uint64)
    near = np.flatnonzero(np.isin(held[:, 0], low)).tolist()
    return [row for row in near if int(held[row, 1]) << 64 | int(held[row, 0]) in wanted]


def _read(parquet: Any, rows: list[int]) -> TransferColumns:
    """These rows, which are in order."""
    parts: list[TransferColumns] = []
    first = 0
    for group in range(parquet.num_row_groups):
        end = first + parquet.metadata.row_group(group).num_rows
        inside = [row - first for row in rows if first <= row < end]
        if inside:
            parts.append(transfers_from_arrow(parquet.read_row_group(group)).take(np.array(inside)))
        first = end
    return TransferColumns.join(parts)
