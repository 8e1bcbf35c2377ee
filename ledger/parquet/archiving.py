"""Archiving: a sealed segment written to a directory, and proven to be what its table holds."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from ledger.checks.snapshot import JournalSnapshot
from ledger.checks.tables import read_ahead
from ledger.parquet.manifest import ExportError
from ledger.parquet.segment_files import (
    SegmentFile,
    SegmentManifest,
    is_archived,
    read_segment_manifest,
    settle,
    write_segment,
    writing_to,
)
from ledger.segments import Segment


def archive_segment(tables: JournalSnapshot, number: int, directory: Path) -> SegmentManifest:
    """Write a segment into a directory that has all older ones, or prove the file that is there.

    Either way what the file gives back equals the table's canonical bytes, byte for
    byte. ``ExportError`` where it does not, or the segment may not be archived yet.
    """
    segments = {segment.number: segment for segment in tables.segments()}
    segment = segments.get(number)
    if segment is None or segment.seal is None:
        raise ExportError(f"There is no sealed segment {number}", "Only sealed segments are archived.")
    for older in range(1, number):
        if not is_archived(directory, older):
            raise ExportError(
                f"{directory} has no segment {older}", "Segments are archived in order, the oldest first."
            )
    hashes = tables.batch_hash(segment.first_sequence - 1), tables.batch_hash(segment.seal.last_sequence)
    if number > 1 and read_segment_manifest(directory, number - 1).hash_after != hashes[0].hex():
        raise ExportError(
            f"{directory} has a segment {number - 1} that this journal does not continue",
            "Name the directory of this journal.",
        )
    with writing_to(directory):
        if is_archived(directory, number):
            settle(directory, number)
        else:
            write_segment(tables, segment, hashes, directory)
    file = SegmentFile(directory, number)
    for _ in file.pieces():
        pass
    manifest = file.manifest
    found = manifest.segment, manifest.hash_before, manifest.hash_after, manifest.rows_sha256
    if found != (segment, hashes[0].hex(), hashes[1].hex(), rows_hash(tables, segment)):
        raise ExportError(
            f"{manifest.file} is not segment {number} of this journal", "Name the directory of this journal."
        )
    return manifest


def rows_hash(tables: JournalSnapshot, segment: Segment) -> str:
    """SHA-256 of the canonical bytes of a segment's rows."""
    digest = hashlib.sha256()
    for data in read_ahead(partial(tables.transfers, segment)):
        digest.update(data)
    return digest.hexdigest()
