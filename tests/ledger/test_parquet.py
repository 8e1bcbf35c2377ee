"""The journal as Parquet and back: the same rows, the same chain of hashes, whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger.checks.journal import check_journal
from ledger.checks.snapshot import JournalSnapshot
from ledger.engine import LedgerEngine
from ledger.journal import LOCK_KEY
from ledger.parquet.export import export_journal
from ledger.parquet.journal_import import import_journal, take_lock
from ledger.parquet.manifest import MANIFEST, ExportError, file_hash
from ledger.parquet.tables import ParquetTables
from tests.fixtures.postgres import TEMPLATE, drop_database, url_of
from tests.ledger import invariants
from tests.ledger.duel import START_NS
from tests.ledger.journals import SEGMENT_ROWS, read_tables, write_journal
from tests.ledger.world import World

STALL = """
import sys, time
from pathlib import Path
from ledger.parquet import journal_import
from ledger.parquet.tables import ParquetTables
compare = journal_import._Import._compare
def stall(self, table, *rest):
    compare(self, table, *rest)
    if table == sys.argv[3]:
        print("stalled", flush=True)
        time.sleep(60)
journal_import._Import._compare = stall
journal_import.import_journal(ParquetTables(Path(sys.argv[1])), sys.argv[2])
"""
"""An import that stops right after it has filled a table."""


@pytest.fixture
def other_url(postgres_url: str, postgres_admin: psycopg.Connection) -> Iterator[str]:
    """A second fresh database."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_admin.execute(f"create database {name} template {TEMPLATE}")
    yield url_of(postgres_url, name)
    drop_database(postgres_admin, name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def written(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A journal of everything, and its export."""
    await write_journal(shared_database_url, SettableClock(), seed=8)
    directory = tmp_path_factory.mktemp("export") / "journal"
    with JournalSnapshot(shared_database_url) as snapshot:
        assert export_journal(snapshot, directory).finding is None
    return shared_database_url, directory


@pytest.fixture
def copied(written: tuple[str, Path], tmp_path: Path) -> Path:
    """A copy of the export, to be spoiled."""
    directory = tmp_path / "copy"
    directory.mkdir()
    for path in written[1].iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return directory


def is_empty(url: str) -> bool:
    with psycopg.connect(sync_url(url)) as db:
        counts = [
            db.execute(f"SELECT count(*) FROM {table}").fetchone()
            for table in ("ledger_batch", "ledger_account", "ledger_transfer", "ledger_seal")
        ]
        segments = db.execute("SELECT number FROM ledger_segment").fetchall()
    return all(count == (0,) for count in counts) and segments == [(1,)]


def test_an_import_gives_back_every_row_and_all_that_is_kept_beside_them(
    written: tuple[str, Path], other_url: str
) -> None:
    url, directory = written
    summary = import_journal(ParquetTables(directory), other_url)
    with JournalSnapshot(url) as before, JournalSnapshot(other_url) as after:
        assert summary == check_journal(before) == check_journal(after)
    was, became = read_tables(url), read_tables(other_url)
    assert became.rows == was.rows
    assert (became.catalog, became.attached) == (was.catalog, was.attached)
    assert [len(filters) > 0 for filters in became.filters.values()] == [
        segment.seal is not None for segment in was.catalog
    ]
    marks = "SELECT * FROM ledger_history_mark ORDER BY part, number"
    with psycopg.connect(sync_url(url)) as one, psycopg.connect(sync_url(other_url)) as two:
        assert one.execute(marks).fetchall() == two.execute(marks).fetchall()
    invariants.check_journal(other_url)


async def test_an_engine_goes_on_from_an_import_with_the_same_chain_of_hashes(
    database_url: str, other_url: str, clock: SettableClock, tmp_path: Path
) -> None:
    await write_journal(database_url, clock, seed=8, steps=25)
    with JournalSnapshot(database_url) as snapshot:
        export_journal(snapshot, tmp_path / "journal")
    import_journal(ParquetTables(tmp_path / "journal"), other_url)
    ends = [await go_on(url, clock) for url in (database_url, other_url)]
    assert ends[0] == ends[1]


async def go_on(url: str, clock: SettableClock) -> tuple[int, bytes]:
    """Start an engine on a journal, fill a segment more, and check all of it: batches and head."""
    clock.set_ns(START_NS + 10**12)
    with psycopg.connect(sync_url(url)) as db:
        [old] = db.execute("SELECT id FROM ledger_transfer ORDER BY timestamp LIMIT 1").fetchone() or [None]
    engine = await LedgerEngine.start(url, clock, segment_rows=SEGMENT_ROWS)
    try:
        world = World(engine, clock, fresh_ids=iter(range(2**100, 2**100 + 100)))
        await world.open("a b")
        # The first transfer of the journal is in a sealed segment: its id is known there.
        [status] = await world.statuses(world.event(f"a -> b 77 id={old.int}"))  # type: ignore[union-attr]  # there is one
        assert status.name.startswith("EXISTS"), status
        for _ in range(SEGMENT_ROWS + 1):
            await world.request("a -> b 5 | created")
        await engine.wait_until_sealed()
    finally:
        await engine.close()
    with JournalSnapshot(url) as snapshot:
        summary = check_journal(snapshot)
    assert summary.finding is None
    return summary.batches, summary.head_hash


def test_the_lock_of_a_session_that_is_just_ending_is_waited_for_and_no_longer(other_url: str) -> None:
    ending = psycopg.connect(sync_url(other_url), autocommit=True)
    ending.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
    with psycopg.connect(sync_url(other_url), autocommit=True) as connection:
        with pytest.raises(ExportError, match="A ledger process writes"):
            take_lock(connection)
        end = threading.Timer(0.2, ending.close)
        end.start()
        take_lock(connection)
        end.join()


def test_an_import_into_a_database_that_has_a_journal_is_refused(written: tuple[str, Path]) -> None:
    url, directory = written
    before = read_tables(url)
    with pytest.raises(ExportError, match="has a journal already"):
        import_journal(ParquetTables(directory), url)
    assert read_tables(url) == before


async def test_an_import_beside_a_running_ledger_is_refused(
    written: tuple[str, Path], other_url: str, clock: SettableClock
) -> None:
    engine = await LedgerEngine.start(other_url, clock)
    try:
        with pytest.raises(ExportError, match="ledger process"):
            import_journal(ParquetTables(written[1]), other_url)
    finally:
        await engine.close()


@pytest.mark.parametrize("table", ["ledger_account", "ledger_transfer_2", "ledger_batch"])
def test_an_import_that_is_killed_leaves_nothing(
    written: tuple[str, Path], other_url: str, table: str
) -> None:
    command = [sys.executable, "-c", STALL, str(written[1]), other_url, table]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stalled\n"
        os.kill(process.pid, signal.SIGKILL)
    wait_for_lock(other_url)
    assert is_empty(other_url)
    assert import_journal(ParquetTables(written[1]), other_url).finding is None


def wait_for_lock(url: str) -> None:
    """Wait until the server has noticed that the client is gone."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute("SELECT pg_advisory_lock(%s)", (0x4E55_4750_4159,))


def flip_a_bit(directory: Path) -> None:
    path = directory / "transfers_00002.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def lose_a_file(directory: Path) -> None:
    (directory / "accounts.parquet").unlink()


def lose_the_manifest(directory: Path) -> None:
    (directory / MANIFEST).unlink()


def raise_the_format(directory: Path) -> None:
    change_manifest(directory, lambda manifest: manifest.update(format=2))


def climb_out(directory: Path) -> None:
    change_manifest(
        directory, lambda manifest: manifest["files"]["accounts"].update(name="../copy/accounts.parquet")
    )


def change_manifest(directory: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]  # JSON
    path = directory / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "crime",
    [flip_a_bit, lose_a_file, lose_the_manifest, raise_the_format, climb_out],
    ids=lambda c: c.__name__,
)
def test_an_export_that_is_not_as_it_was_written_is_refused(
    copied: Path, crime: Callable[[Path], None]
) -> None:
    crime(copied)
    with pytest.raises(ExportError):
        ParquetTables(copied)


def rewrite(directory: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a file, and let the manifest vouch for it."""
    path = directory / name
    pq.write_table(change(pq.read_table(path)), path)

    def vouch(manifest: dict) -> None:  # type: ignore[type-arg]  # JSON
        for file in manifest["files"].values():
            if file["name"] == name:
                file["sha256"] = file_hash(path)

    change_manifest(directory, vouch)


def test_rows_that_were_changed_are_refused_though_the_file_is_vouched_for(
    copied: Path, other_url: str
) -> None:
    def change(table: pa.Table) -> pa.Table:
        amounts = table.column("amount").to_pylist()
        amounts[3] += 1
        return table.set_column(
            table.schema.get_field_index("amount"), "amount", pa.array(amounts, pa.int64())
        )

    rewrite(copied, "transfers_00002.parquet", change)
    finding = import_journal(ParquetTables(copied), other_url).finding
    assert finding is not None
    assert finding.table == "ledger_transfer_2"
    assert is_empty(other_url)


def test_a_manifest_that_vouches_for_other_rows_is_refused(copied: Path, other_url: str) -> None:
    change_manifest(copied, lambda manifest: manifest["files"]["expiries"].update(rows_sha256="00" * 32))
    with pytest.raises(ExportError, match="other rows"):
        import_journal(ParquetTables(copied), other_url)
    assert is_empty(other_url)


def test_columns_of_other_types_are_refused(copied: Path, other_url: str) -> None:
    rewrite(
        copied, "transfers_00001.parquet",
        lambda table: table.set_column(
            table.schema.get_field_index("amount"), "amount", table.column("amount").cast(pa.float64())
        ),
    )  # fmt: skip
    with pytest.raises(ExportError, match="not readable"):
        import_journal(ParquetTables(copied), other_url)
    assert is_empty(other_url)


def test_a_directory_that_is_not_empty_is_left_alone(written: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with JournalSnapshot(written[0]) as snapshot, pytest.raises(ExportError, match="not empty"):
        export_journal(snapshot, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_anyone_can_read_the_files_with_the_contracts_types(written: tuple[str, Path]) -> None:
    table = pq.read_table(written[1] / "transfers_00001.parquet")
    kinds = {
        name: str(table.schema.field(name).type)
        for name in ("id", "amount", "user_data_64", "ledger", "code")
    }
    assert kinds == {
        "id": "extension<arrow.uuid>", "amount": "int64", "user_data_64": "uint64",
        "ledger": "uint32", "code": "uint16",
    }  # fmt: skip
    with psycopg.connect(sync_url(written[0])) as db:
        rows = db.execute(
            "SELECT id, amount, user_data_64, code FROM ledger_transfers ORDER BY timestamp LIMIT %s",
            (table.num_rows,),
        ).fetchall()
    read = table.select(["id", "amount", "user_data_64", "code"]).to_pylist()
    assert [(r["id"], r["amount"], r["user_data_64"] or 0, r["code"]) for r in read] == [
        (i, a, int(u), c) for i, a, u, c in rows
    ]


def test_an_empty_journal_comes_back_empty(database_url: str, other_url: str, tmp_path: Path) -> None:
    with JournalSnapshot(database_url) as snapshot:
        export_journal(snapshot, tmp_path / "journal")
    assert import_journal(ParquetTables(tmp_path / "journal"), other_url).batches == 0
    assert is_empty(other_url)
