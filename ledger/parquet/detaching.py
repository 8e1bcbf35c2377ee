"""Detaching: an archived segment leaves the sealed ones, and comes back.

Only while no engine holds the writer's lock: an engine reads once which segments
are detached. Each step is one database transaction, so that a crash anywhere
leaves a segment wholly attached or wholly detached, with a record that says so.
Detached are always the oldest segments, and attached again the newest of them first.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from foundation.clock import Clock
from foundation.postgres import sync_url
from ledger import segments
from ledger.archive import Archive
from ledger.archived import Detached, load_detached
from ledger.checkpoints import Checkpoint
from ledger.checks.snapshot import copy_query
from ledger.connection import copy_out
from ledger.parquet.journal_import import take_lock
from ledger.parquet.manifest import ExportError
from ledger.parquet.segment_files import SegmentFile, SegmentManifest
from ledger.rows import COPY_HEADER, COPY_TRAILER, TRANSFER_COLUMNS
from ledger.segments import Seal, Segment

Session = psycopg.Connection[Any]

_STOP = "Stop it for a moment: an engine must not lose rows that it may be reading."


def detach_segment(url: str, manifest: SegmentManifest, clock: Clock, *, drop: bool = False) -> None:
    """Take a segment whose archived file was just proven out of the sealed ones.

    Its table stays under another name, or goes with ``drop``; that also drops the table
    of a segment that is detached already. ``ExportError`` where it may not be detached.
    """
    with _alone(url) as connection:
        detached = {segment.number: segment for segment in load_detached(connection)}
        known = detached.get(manifest.number)
        if known is not None:
            if known.file_sha256 != manifest.sha256:
                raise ExportError(f"Segment {known.number} was detached with another file", "Name that one.")
            if drop and not known.is_dropped:
                with connection.transaction():
                    segments.drop_aside(connection, known.number)
                    _record(connection, known.number, "dropped", manifest, clock)
            return
        _refuse_needed(connection, manifest, detached)
        with connection.transaction():
            segments.put_aside(connection, manifest.number)
            if drop:
                segments.drop_aside(connection, manifest.number)
            _record(connection, manifest.number, "dropped" if drop else "detached", manifest, clock)


def _refuse_needed(connection: Session, manifest: SegmentManifest, detached: dict[int, Detached]) -> None:
    """Refuse a segment out of its turn, or one that a start of the engine reads."""
    number = manifest.number
    if number != len(detached) + 1:
        raise ExportError(
            f"Segment {len(detached) + 1} is not detached yet", "Segments go in order, the oldest first."
        )
    catalog = {segment.number: segment for segment in segments.load_segments(connection)}
    if catalog.get(number) != manifest.segment:
        raise ExportError(f"{manifest.file} is not segment {number} of this journal", "Archive it again.")
    checkpoint = Checkpoint.serving(Archive(connection).checkpoint())
    if not checkpoint.sequence:
        raise ExportError(
            "There is no checkpoint that serves: a start replays every segment, and so needs this one",
            "Let the ledger write one: it does when enough transfers have come.",
        )
    if checkpoint.sequence < manifest.last_sequence:
        raise ExportError(
            f"The newest checkpoint is of batch {checkpoint.sequence}, segment {number} goes on to batch"
            f" {manifest.last_sequence}: a start replays it, and its pending transfers are nowhere else",
            "Wait for the next checkpoint.",
        )


def attach_segment(url: str, number: int, directory: Path | None, clock: Clock) -> None:
    """Bring a detached segment back: from its table, where that was kept, or from its file.

    ``ExportError`` where neither is what was detached, or a younger segment is detached too.
    """
    with _alone(url) as connection:
        detached = load_detached(connection)
        if not detached or detached[-1].number != number:
            newest = detached[-1].number if detached else None
            raise ExportError(
                f"Segment {number} cannot be attached now",
                "No segment is detached." if newest is None else f"Attach segment {newest} first.",
            )
        known = detached[-1]
        catalog = {segment.number: segment for segment in segments.load_segments(connection)}
        segment = catalog[number]
        assert segment.seal is not None
        with connection.transaction():
            if known.is_dropped:
                if directory is None:
                    raise ExportError(f"The table of segment {number} was dropped", "Name the archive.")
                _load(connection, segment, segment.seal, known, directory)
            else:
                _compare(connection, segments.detached_table_of(number), known)
                segments.put_back(connection, number, segment.seal)
            _record_again(connection, known, segment.seal, clock)


def _load(connection: Session, segment: Segment, seal: Seal, known: Detached, directory: Path) -> None:
    """Make the segment's table again, of its file."""
    file = SegmentFile(directory, known.number, sha256=known.file_sha256)
    if file.manifest.segment != segment:
        raise ExportError(f"{file.path.name} is not segment {known.number} of this journal", "Name its own.")
    segments.create(connection, known.number)
    table = segments.table_of(known.number)
    statement = f"COPY {table} ({', '.join(TRANSFER_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor().copy(statement) as copy:
        copy.write(COPY_HEADER)
        for data in file.pieces():
            copy.write(data)
        copy.write(COPY_TRAILER)
    _compare(connection, table, known)
    segments.build_indexes(connection, known.number, seal)
    segments.put_among_sealed(connection, known.number, seal)


def _compare(connection: Session, table: str, known: Detached) -> None:
    """The table holds the rows that were detached, byte for byte."""
    digest = hashlib.sha256()
    for data in copy_out(connection, copy_query(table, TRANSFER_COLUMNS, "timestamp")):
        digest.update(data)
    if digest.hexdigest() != known.rows_sha256:
        raise ExportError(
            f"{table} does not hold the rows that were detached", "Nothing was attached; look at the server."
        )


@contextlib.contextmanager
def _alone(url: str) -> Iterator[Session]:
    """A session that holds the writer's lock."""
    with psycopg.connect(
        sync_url(url), autocommit=True, application_name="nugpay-ledger-archive"
    ) as connection:
        take_lock(connection, _STOP)
        try:
            yield connection
        except psycopg.errors.LockNotAvailable:
            raise ExportError("Somebody reads the journal for long", "Try again when that is over.") from None


_INSERT = (
    "INSERT INTO ledger_archive (entry, number, event, transfer_count, file_sha256, rows_sha256, recorded_at)"
    " SELECT coalesce(max(entry), 0) + 1, %s, %s, %s, %s, %s, %s FROM ledger_archive"
)


def _record(connection: Session, number: int, event: str, manifest: SegmentManifest, clock: Clock) -> None:
    hashes = bytes.fromhex(manifest.sha256), bytes.fromhex(manifest.rows_sha256)
    connection.execute(_INSERT, (number, event, manifest.transfer_count, *hashes, clock.now_ns()))


def _record_again(connection: Session, known: Detached, seal: Seal, clock: Clock) -> None:
    hashes = bytes.fromhex(known.file_sha256), bytes.fromhex(known.rows_sha256)
    connection.execute(_INSERT, (known.number, "attached", seal.transfer_count, *hashes, clock.now_ns()))
