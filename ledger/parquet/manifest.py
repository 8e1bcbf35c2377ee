"""Manifest of an export: which files there are, what each holds, and the head that they end at."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from foundation.errors import NUGPayError
from ledger.segments import Seal, Segment

MANIFEST = "manifest.json"
FORMAT = 1
"""Raised when the files' form changes."""

_HASH_BYTES = 1 << 20


class ExportError(NUGPayError):
    """An export cannot be written, or a directory does not hold a whole and unchanged one."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class ExportFile(msgspec.Struct, frozen=True):
    """One Parquet file."""

    name: str
    rows: int
    sha256: str
    """Of the file."""
    rows_sha256: str
    """Of the canonical bytes of its rows, end to end."""


class ExportSegment(msgspec.Struct, frozen=True):
    """A segment of the journal; the last four are there where it is sealed."""

    number: int
    first_sequence: int
    last_sequence: int | None = None
    first_timestamp: int | None = None
    last_timestamp: int | None = None
    transfer_count: int | None = None


class Manifest(msgspec.Struct, frozen=True):
    """See the module; written last, so that a directory with a manifest holds a whole export."""

    format: int
    batches: int
    transfers: int
    head_hash: str
    """That of the newest batch: the chain of hashes ends here."""
    segments: list[ExportSegment]
    files: dict[str, ExportFile]
    """By table, such as ``accounts`` or ``transfers 1``."""


def manifest_segment(segment: Segment) -> ExportSegment:
    """A segment of the catalog as a manifest has it."""
    seal = segment.seal
    if seal is None:
        return ExportSegment(segment.number, segment.first_sequence)
    return ExportSegment(
        segment.number, segment.first_sequence, seal.last_sequence, seal.first_timestamp,
        seal.last_timestamp, seal.transfer_count,
    )  # fmt: skip


def catalog_segment(segment: ExportSegment) -> Segment:
    """A segment of a manifest as the catalog has it."""
    values = (segment.last_sequence, segment.first_timestamp, segment.last_timestamp, segment.transfer_count)
    numbers = [value for value in values if value is not None]
    seal = Seal(*numbers) if len(numbers) == len(values) else None
    return Segment(segment.number, segment.first_sequence, seal)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an export whose files are all there and unchanged; ``ExportError`` otherwise."""
    advice = "Take the directory that an export has written, whole and as it was."
    try:
        manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise ExportError(f"{directory} holds no whole export: there is no {MANIFEST}", advice) from None
    except msgspec.MsgspecError as error:
        raise ExportError(f"{MANIFEST} is not readable: {error}", advice) from None
    if manifest.format != FORMAT:
        raise ExportError(f"The export has form {manifest.format}, this program reads {FORMAT}", advice)
    for file in manifest.files.values():
        path = directory / file.name
        if path.name != file.name or not path.is_file():
            raise ExportError(f"{file.name} is missing from the export", advice)
        if file_hash(path) != file.sha256:
            raise ExportError(f"{file.name} is not the file that the export has written", advice)
    return manifest


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_HASH_BYTES):
            digest.update(data)
    return digest.hexdigest()
