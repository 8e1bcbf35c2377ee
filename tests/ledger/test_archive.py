"""Sealed segments as files: written, proven, and refused when they are not what was archived."""

from pathlib import Path

import pytest
import pytest_asyncio

from foundation.clock import SettableClock
from ledger.checks.snapshot import JournalSnapshot
from ledger.parquet.archiving import archive_segment
from ledger.parquet.manifest import ExportError
from ledger.parquet.segment_files import SegmentFile, file_name, manifest_name, writing_to
from tests.ledger.journals import write_journal


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def journal_url(shared_database_url: str) -> str:
    await write_journal(shared_database_url, SettableClock(), seed=8)
    return shared_database_url


def archive(url: str, *numbers: int, directory: Path) -> None:
    with JournalSnapshot(url) as tables:
        for number in numbers:
            archive_segment(tables, number, directory)


def test_an_archived_segment_gives_back_the_canonical_bytes_and_its_place_in_the_chain(
    journal_url: str, tmp_path: Path
) -> None:
    archive(journal_url, 1, 2, directory=tmp_path)
    first, second = SegmentFile(tmp_path, 1), SegmentFile(tmp_path, 2)
    with JournalSnapshot(journal_url) as tables:
        segments = tables.segments()
        for file, segment in zip((first, second), segments, strict=False):
            assert b"".join(file.pieces()) == b"".join(tables.transfers(segment))
            assert file.manifest.segment == segment
            assert segment.seal is not None
            assert file.manifest.hash_after == tables.batch_hash(segment.seal.last_sequence).hex()
    assert first.manifest.hash_before == "00" * 32
    assert first.manifest.hash_after == second.manifest.hash_before


def test_archiving_again_proves_the_file_that_is_there(journal_url: str, tmp_path: Path) -> None:
    archive(journal_url, 1, directory=tmp_path)
    before = (tmp_path / file_name(1)).stat().st_mtime_ns
    archive(journal_url, 1, directory=tmp_path)
    assert (tmp_path / file_name(1)).stat().st_mtime_ns == before


@pytest.mark.parametrize(("number", "why"), [(2, "has no segment 1"), (99, "no sealed segment 99")])
def test_a_segment_out_of_its_turn_is_refused(
    journal_url: str, tmp_path: Path, number: int, why: str
) -> None:
    with pytest.raises(ExportError, match=why):
        archive(journal_url, number, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_changed_or_is_another_segments_is_refused(journal_url: str, tmp_path: Path) -> None:
    archive(journal_url, 1, 2, directory=tmp_path)
    path = tmp_path / file_name(1)
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(ExportError, match="not the file that was archived"):
        archive(journal_url, 1, directory=tmp_path)
    path.write_bytes((tmp_path / file_name(2)).read_bytes())
    note = (tmp_path / manifest_name(2)).read_text()
    (tmp_path / manifest_name(1)).write_text(
        note.replace(file_name(2), file_name(1)).replace('"number": 2', '"number": 1')
    )
    with pytest.raises(ExportError, match="is not segment 1 of this journal"):
        archive(journal_url, 1, directory=tmp_path)


def test_a_crash_before_the_manifest_leaves_nothing_that_counts(
    journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("ledger.parquet.segment_files._put", no_room)
        with pytest.raises(ExportError, match="cannot be used: no room"):
            archive(journal_url, 1, directory=tmp_path)
    with pytest.raises(ExportError):
        SegmentFile(tmp_path, 1)
    archive(journal_url, 1, directory=tmp_path)
    assert SegmentFile(tmp_path, 1).manifest.number == 1


def no_room(*_: Path) -> None:
    raise OSError("no room")


def test_a_directory_that_cannot_be_written_to_is_refused_in_words(journal_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", Path("/proc/archive"), Path("/dev/full/archive")):
        with pytest.raises(ExportError, match="cannot be used"):
            archive(journal_url, 1, directory=directory)


def test_two_commands_at_once_do_not_write_over_each_other(journal_url: str, tmp_path: Path) -> None:
    with writing_to(tmp_path), pytest.raises(ExportError, match="is being written to"):
        archive(journal_url, 1, directory=tmp_path)
    archive(journal_url, 1, directory=tmp_path)


def test_what_was_there_already_is_settled_before_anybody_relies_on_it(
    journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(journal_url, 1, directory=tmp_path / "archive")
    synced: list[str] = []
    monkeypatch.setattr("ledger.parquet.segment_files._sync", lambda path: synced.append(path.name))
    archive(journal_url, 1, directory=tmp_path / "archive")
    assert synced == [file_name(1), manifest_name(1), "archive"]


def test_a_directory_with_another_journals_segments_is_refused(journal_url: str, tmp_path: Path) -> None:
    archive(journal_url, 1, directory=tmp_path)
    note = tmp_path / manifest_name(1)
    text = note.read_text()
    note.write_text(text.replace(SegmentFile(tmp_path, 1).manifest.hash_after, "ab" * 32))
    with pytest.raises(ExportError, match="a segment 1 that this journal does not continue"):
        archive(journal_url, 2, directory=tmp_path)
    assert not (tmp_path / file_name(2)).exists()
