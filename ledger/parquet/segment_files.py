"""Segment files: a sealed segment of the journal as one Parquet file with a manifest beside it.

The file comes first and the manifest last, each on disk before the next, so that a
manifest always speaks of a whole file. A crash before that leaves parts that
nothing reads and the next attempt writes over. One process at a time writes to a
directory: two would write over each other's parts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from ledger.checks.tables import JournalTables, read_ahead
from ledger.columns import TransferColumns
from ledger.parquet.columns import transfers_from_arrow, transfers_to_arrow
from ledger.parquet.manifest import FORMAT, ExportError, file_hash
from ledger.segments import Seal, Segment

ROWS_AT_ONCE = 65_536
"""So many rows are read at a time."""

_ADVICE = "Take the directory that an archiving has written, whole and as it was."


class SegmentManifest(msgspec.Struct, frozen=True):
    """What an archived segment is, and what its file must be."""

    format: int
    number: int
    first_sequence: int
    last_sequence: int
    first_timestamp: int
    last_timestamp: int
    transfer_count: int
    hash_before: str
    """That of the batch before its first one: the chain of hashes enters here."""
    hash_after: str
    """That of its last batch."""
    file: str
    sha256: str
    """Of the file."""
    rows_sha256: str
    """Of the canonical bytes of its rows, end to end."""

    @property
    def segment(self) -> Segment:
        """The segment as the catalog has it."""
        seal = Seal(self.last_sequence, self.first_timestamp, self.last_timestamp, self.transfer_count)
        return Segment(self.number, self.first_sequence, seal)


def file_name(number: int) -> str:
    """The file of a segment."""
    return f"segment_{number:05}.parquet"


def manifest_name(number: int) -> str:
    """The manifest of a segment."""
    return f"segment_{number:05}.json"


def is_archived(directory: Path, number: int) -> bool:
    """Whether a directory has a segment, by its manifest."""
    return (directory / manifest_name(number)).is_file()


def write_segment(
    tables: JournalTables, segment: Segment, hashes: tuple[bytes, bytes], directory: Path
) -> None:
    """Write a sealed segment's file and manifest.

    ``hashes`` are those of the batch before its first one and of its last one.
    """
    seal = segment.seal
    if seal is None:
        raise ExportError(f"Segment {segment.number} is not sealed", "Only sealed segments are archived.")
    path = directory / file_name(segment.number)
    part = path.with_suffix(".part")
    digest, rows = hashlib.sha256(), 0
    schema = transfers_to_arrow(TransferColumns.empty()).schema
    with contextlib.closing(pq.ParquetWriter(part, schema, compression="zstd")) as writer:
        for data in read_ahead(partial(tables.transfers, segment)):
            table = transfers_to_arrow(TransferColumns.decode(data))
            writer.write_table(table, row_group_size=ROWS_AT_ONCE)
            digest.update(data)
            rows += table.num_rows
    if rows != seal.transfer_count:
        raise ExportError(
            f"Segment {segment.number} has {rows} rows, its seal says {seal.transfer_count}",
            "Nothing was archived; ./nugpay ledger check says what is wrong.",
        )
    manifest = SegmentManifest(
        FORMAT, segment.number, segment.first_sequence, seal.last_sequence, seal.first_timestamp,
        seal.last_timestamp, rows, hashes[0].hex(), hashes[1].hex(), path.name,
        file_hash(part), digest.hexdigest(),
    )  # fmt: skip
    _put(part, path)
    note = directory / manifest_name(segment.number)
    part = note.with_suffix(".json.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    _put(part, note)


@contextlib.contextmanager
def writing_to(directory: Path) -> Iterator[None]:
    """Have a directory, and be the only one who writes segments into it; ``ExportError`` where that fails."""
    try:
        new = [path for path in (directory, *directory.parents) if not path.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        for path in new:
            _sync(path.parent)
        with _opened(directory) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise ExportError(f"{directory} is being written to", "Wait for the other command.") from None
    except OSError as error:
        raise ExportError(f"{directory} cannot be used: {error}", "Nothing was archived.") from None


def settle(directory: Path, number: int) -> None:
    """Have a segment on disk that is in a directory already: whoever put it there may have died too early."""
    for path in (directory / file_name(number), directory / manifest_name(number), directory):
        _sync(path)


def _put(part: Path, path: Path) -> None:
    """Have a file on disk under its own name."""
    _sync(part)
    part.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    with _opened(path) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_segment_manifest(directory: Path, number: int) -> SegmentManifest:
    """The manifest of a segment, whatever its file is like; ``ExportError`` where it is not one."""
    name = manifest_name(number)
    try:
        manifest = msgspec.json.decode((directory / name).read_bytes(), type=SegmentManifest)
    except OSError:
        raise ExportError(f"{directory} has no {name}", _ADVICE) from None
    except msgspec.MsgspecError as error:
        raise ExportError(f"{name} is not readable: {error}", _ADVICE) from None
    if (manifest.format, manifest.number, manifest.file) != (FORMAT, number, file_name(number)):
        raise ExportError(f"{name} is not of form {FORMAT} and of segment {number}", _ADVICE)
    return manifest


class SegmentFile:
    """An archived segment whose file is as it was written; ``ExportError`` where it is not."""

    def __init__(self, directory: Path, number: int, *, sha256: str | None = None) -> None:
        self.manifest = read_segment_manifest(directory, number)
        self.path = directory / file_name(number)
        if not self.path.is_file():
            raise ExportError(f"{self.path.name} is missing", _ADVICE)
        if file_hash(self.path) != self.manifest.sha256 or sha256 not in (None, self.manifest.sha256):
            raise ExportError(f"{self.path.name} is not the file that was archived", _ADVICE)

    def pieces(self) -> Iterator[bytes]:
        """The rows' canonical bytes, which must be those that were written."""
        digest = hashlib.sha256()
        for columns in self.columns():
            data = columns.encode()
            digest.update(data)
            yield data
        if digest.hexdigest() != self.manifest.rows_sha256:
            raise ExportError(f"{self.path.name} holds other rows than were archived", _ADVICE)

    def columns(self) -> Iterator[TransferColumns]:
        """The rows in order, some at a time."""
        try:
            with pq.ParquetFile(self.path) as parquet:
                for batch in parquet.iter_batches(ROWS_AT_ONCE):
                    yield transfers_from_arrow(pa.Table.from_batches([batch]))
        except (pa.ArrowException, KeyError) as error:
            raise ExportError(f"{self.path.name} is not readable: {error}", _ADVICE) from None
