"""Detached segments: what needs their rows finds them in the file or is told so, and they come back whole."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from foundation.clock import SettableClock
from foundation.errors import NUGPayError
from foundation.postgres import sync_url
from foundation.settings import get_settings
from ledger import pipeline, segments
from ledger.archive import Archive
from ledger.checkpoints import Checkpoint
from ledger.checks.journal import Summary, check_journal
from ledger.checks.snapshot import JournalSnapshot
from ledger.client import LedgerClient
from ledger.contract import (
    AMOUNT_MAX,
    Account,
    AccountFilter,
    ChangeEventsFilter,
    CreateTransferStatus,
    QueryFilter,
    Transfer,
    TransferFlags,
)
from ledger.engine import LedgerEngine
from ledger.interface import SegmentArchived
from ledger.parquet import detaching
from ledger.parquet.archiving import archive_segment
from ledger.parquet.detaching import attach_segment, detach_segment
from ledger.parquet.manifest import ExportError
from ledger.parquet.segment_files import file_name
from ledger.parquet.segment_finder import ParquetFinder
from ledger.queries.questions import BalancesAsOf
from ledger.server import listening, publish
from ops.cli.ledger import app
from tests.ledger.test_segments import ROWS, A, B, fill, transfers

PENDING, POST = int(TransferFlags.PENDING), int(TransferFlags.POST_PENDING_TRANSFER)
CREATED, EXISTS = CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS
QUIET = 77
"""An account whose only transfers are in the first segment."""
ALIVE, POSTED, THE_POST = 1, 2, 3
"""Ids in the first segment: a pending transfer that is alive, one that is not, and what posted it."""


@contextlib.asynccontextmanager
async def serving(
    url: str, clock: SettableClock, directory: Path | None = None
) -> AsyncIterator[LedgerEngine]:
    files = None if directory is None else ParquetFinder(directory)
    engine = await LedgerEngine.start(url, clock, segment_rows=ROWS, files=files)
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture
async def journal(database_url: str, clock: SettableClock) -> str:
    """Four sealed segments."""
    async with serving(database_url, clock) as engine:
        await engine.create_accounts([Account(id=i, ledger=1, code=1) for i in (A, B, QUIET)])
        await engine.create_transfers(transfers(ALIVE, POSTED, amount=5, flags=PENDING))
        await engine.create_transfers(
            [Transfer(id=THE_POST, pending_id=POSTED, amount=AMOUNT_MAX, flags=POST)]
        )
        await engine.create_transfers(transfers(4, credit_account_id=QUIET))
        await fill(engine, 5)
    return database_url


@pytest.fixture
def detached(journal: str, clock: SettableClock, tmp_path: Path) -> str:
    """The two oldest of them detached, the first one dropped."""
    detach(journal, 1, tmp_path, clock, drop=True)
    detach(journal, 2, tmp_path, clock)
    return journal


def detach(url: str, number: int, directory: Path, clock: SettableClock, *, drop: bool = False) -> None:
    with JournalSnapshot(url, directory) as tables:
        manifest = archive_segment(tables, number, directory)
    detach_segment(url, manifest, clock, drop=drop)


def check(url: str, directory: Path | None = None) -> Summary:
    with JournalSnapshot(url, directory) as tables:
        return check_journal(tables)


def query(url: str, statement: str) -> list[Any]:
    with psycopg.connect(sync_url(url)) as db:
        return db.execute(statement).fetchall()


def tables_of(url: str) -> set[str]:
    """The tables of segments, those set aside too."""
    names = (
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^ledger_(transfer|archived)_[0-9]+$'"
    )
    return {row[0] for row in query(url, names)}


def parts_of(url: str) -> set[str]:
    parent = "'ledger_transfer_sealed'::regclass"
    names = query(url, f"SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = {parent}")
    return {row[0] for row in names}


async def test_an_id_in_a_detached_segment_is_never_created_again(
    detached: str, clock: SettableClock, tmp_path: Path
) -> None:
    async with serving(detached, clock, tmp_path) as engine:
        results = await engine.create_transfers(transfers(1000, 1016, 4))
        assert [r.status for r in results[:2]] == [EXISTS, EXISTS]
        [other] = await engine.create_transfers(transfers(1000, amount=2))
        assert other.status is CreateTransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT
        again = Transfer(id=THE_POST, pending_id=POSTED, amount=AMOUNT_MAX, flags=POST)
        second = Transfer(id=9001, pending_id=POSTED, amount=AMOUNT_MAX, flags=POST)
        statuses = [(await engine.create_transfers([event]))[0].status for event in (again, second)]
        assert statuses == [EXISTS, CreateTransferStatus.PENDING_TRANSFER_ALREADY_POSTED]
    assert check(detached, tmp_path).finding is None


async def test_without_the_directory_a_request_that_names_such_an_id_is_refused_alone(
    detached: str, clock: SettableClock, tmp_path: Path
) -> None:
    async with serving(detached, clock) as engine:
        balance = (await engine.lookup_accounts([A]))[0].debits_posted
        for events, number in (
            (transfers(9001, 1000), 1),
            (transfers(1016), 2),
            ([Transfer(id=9001, pending_id=POSTED, amount=1, flags=POST)], 1),
            (transfers(*range(8000, 8100), 1000), 1),
        ):
            with pytest.raises(SegmentArchived) as refused:
                await engine.create_transfers(events)
            assert (refused.value.number, refused.value.outcome_unknown) == (number, False)
        # Nothing of the refused was done, and what comes with them goes through.
        assert (await engine.lookup_accounts([A]))[0].debits_posted == balance
        many = await engine_gather(engine, [transfers(9002), transfers(1000), transfers(9003)])
        assert [type(outcome) for outcome in many] == [list, SegmentArchived, list]
        assert [r.status for r in (await engine.create_transfers(transfers(9001, 9002)))] == [CREATED, EXISTS]
    assert check(detached, tmp_path).finding is None


async def engine_gather(engine: LedgerEngine, requests: list[list[Transfer]]) -> list[Any]:
    return await asyncio.gather(*map(engine.create_transfers, requests), return_exceptions=True)


async def test_a_file_that_vanishes_between_two_look_ups_ends_the_request_and_not_the_engine(
    detached: str, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(detached, clock) as engine:
        with monkeypatch.context() as blind:
            blind.setattr(pipeline, "refuse_archived", lambda _tenure, _draft, asked: [None] * len(asked))
            with pytest.raises(SegmentArchived):
                await engine.create_transfers([*transfers(*range(8000, 8100)), *transfers(1000)])
        results = await engine.create_transfers(transfers(8000, 9001))
        assert [r.status for r in results] == [CREATED, CREATED]
    assert check(detached, tmp_path).finding is None


async def test_a_start_that_lost_its_checkpoint_names_the_segment_that_it_needs(
    detached: str, clock: SettableClock
) -> None:
    with psycopg.connect(sync_url(detached)) as db:
        db.execute("DELETE FROM ledger_checkpoint")
    with pytest.raises(SegmentArchived, match="Segment 1 is archived, and a start needs it"):
        await LedgerEngine.start(detached, clock, segment_rows=ROWS)


async def test_a_pending_transfer_of_a_detached_segment_is_posted_once(
    detached: str, clock: SettableClock, tmp_path: Path
) -> None:
    async with serving(detached, clock) as engine:
        posts = [Transfer(id=9000 + n, pending_id=ALIVE, amount=AMOUNT_MAX, flags=POST) for n in range(3)]
        outcomes = await engine_gather(engine, [[post] for post in posts])
        assert [type(outcome) for outcome in outcomes] == [list, SegmentArchived, SegmentArchived]
        assert outcomes[0][0].status is CREATED
    async with serving(detached, clock, tmp_path) as engine:
        [refused] = await engine.create_transfers([posts[1]])
        assert refused.status is CreateTransferStatus.PENDING_TRANSFER_ALREADY_POSTED
    assert check(detached, tmp_path).finding is None


async def test_reads_that_reach_into_a_detached_segment_are_refused_and_never_cut_short(
    detached: str, clock: SettableClock
) -> None:
    async with serving(detached, clock) as engine:
        first = (await engine.query_transfers(QueryFilter(limit=1, flags=1)))[0].timestamp
        [[high]] = query(detached, "SELECT last_timestamp FROM ledger_seal WHERE number = 2")
        reads: list[Callable[[], Any]] = [
            lambda: engine.get_account_transfers(AccountFilter(account_id=A, limit=8189, flags=3)),
            lambda: engine.get_account_transfers(AccountFilter(account_id=A, limit=8189, flags=7)),
            lambda: engine.get_account_transfers(AccountFilter(account_id=QUIET, limit=1, flags=3)),
            lambda: engine.get_statement(QUIET, limit=1),
            lambda: engine.query_transfers(QueryFilter(limit=8189)),
            lambda: engine.query_transfers(QueryFilter(limit=8189, flags=1)),
            lambda: engine.get_change_events(ChangeEventsFilter(limit=10)),
            lambda: engine.get_balances_as_of(BalancesAsOf(timestamp=high, account_ids=(A, B))),
            lambda: engine.get_balances_as_of(BalancesAsOf(timestamp=first, account_ids=(QUIET,))),
            lambda: engine.lookup_transfers([1000]),
            lambda: engine.get_pending_states([ALIVE]),
        ]
        for read in reads:
            with pytest.raises(SegmentArchived):
                await read()
        # What does not reach there is answered as ever.
        newest = await engine.get_account_transfers(AccountFilter(account_id=A, limit=20, flags=7))
        assert len(newest) == 20
        since = AccountFilter(account_id=A, limit=8189, flags=3, timestamp_min=high + 1)
        assert len(await engine.get_account_transfers(since)) == 5 * ROWS + 4 - 2 * ROWS
        assert await engine.lookup_transfers([424242]) == []
        assert (await engine.lookup_accounts([QUIET]))[0].credits_posted == 1


async def test_a_caller_over_the_socket_is_told_the_segment(detached: str, clock: SettableClock) -> None:
    with tempfile.TemporaryDirectory(prefix="nl-") as directory:
        address = f"unix:{directory}/ledger.sock"
        async with serving(detached, clock) as engine, listening(engine, address) as own:
            publish(address, own)
            client = LedgerClient(address)
            for ask in (client.create_transfers(transfers(1016)), client.lookup_transfers([1016])):
                with pytest.raises(SegmentArchived, match="Segment 2 is archived") as refused:
                    await ask
                assert (refused.value.number, refused.value.outcome_unknown) == (2, False)
            # Calls that the client sends in one request: only the one that names the segment is refused.
            asked = [[event] for event in transfers(9001, 9002, 1016, 9003)]
            outcomes = await asyncio.gather(*map(client.create_transfers, asked), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [list, list, SegmentArchived, list]
            assert len(await client.lookup_transfers([9001, 9002, 9003])) == 3
            await client.close()


async def test_look_ups_by_id_are_answered_from_the_files(
    journal: str, clock: SettableClock, tmp_path: Path
) -> None:
    ids = [ALIVE, POSTED, THE_POST, 4, 1000, 1016, 1099]
    async with serving(journal, clock) as engine:
        before = await engine.lookup_transfers(ids)
    for number in (1, 2):
        detach(journal, number, tmp_path, clock, drop=True)
    async with serving(journal, clock, tmp_path) as engine:
        assert await engine.lookup_transfers(ids) == before
        assert len(before) == len(ids)


async def test_segments_come_back_in_order_from_their_table_and_from_their_file(
    detached: str, clock: SettableClock, tmp_path: Path
) -> None:
    assert tables_of(detached) & {"ledger_archived_1", "ledger_archived_2"} == {"ledger_archived_2"}
    with pytest.raises(ExportError, match="cannot be attached now"):
        attach_segment(detached, 1, tmp_path, clock)
    attach_segment(detached, 2, None, clock)
    with pytest.raises(ExportError, match="cannot be attached now"):
        attach_segment(detached, 2, tmp_path, clock)
    attach_segment(detached, 1, tmp_path, clock)
    assert {"ledger_transfer_1", "ledger_transfer_2"} <= parts_of(detached)
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'ledger_transfer_1'"
    assert query(detached, indexes) == [(3,)]
    events = query(detached, "SELECT number, event FROM ledger_archive ORDER BY entry")
    assert events == [(1, "dropped"), (2, "detached"), (2, "attached"), (1, "attached")]
    assert check(detached).finding is None
    async with serving(detached, clock) as engine:
        assert len(await engine.query_transfers(QueryFilter(limit=8189))) == 5 * ROWS + 4
        assert [r.status for r in await engine.create_transfers(transfers(1000, 1016))] == [EXISTS, EXISTS]
    detach(detached, 1, tmp_path, clock)


def test_the_record_is_append_only(detached: str) -> None:
    with (
        psycopg.connect(sync_url(detached)) as db,
        pytest.raises(psycopg.Error, match="append-only"),
    ):
        db.execute("DELETE FROM ledger_archive")


def flip_a_bit(directory: Path, number: int) -> None:
    path = directory / file_name(number)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


async def test_a_file_that_was_changed_is_found_and_serves_nobody(
    detached: str, clock: SettableClock, tmp_path: Path
) -> None:
    assert check(detached, tmp_path).finding is None
    flip_a_bit(tmp_path, 1)
    finding = check(detached, tmp_path).finding
    assert finding is not None
    assert finding.table == file_name(1)
    attach_segment(detached, 2, None, clock)
    with pytest.raises(ExportError, match="not the file that was archived"):
        attach_segment(detached, 1, tmp_path, clock)
    async with serving(detached, clock, tmp_path) as engine:
        for refused in (engine.create_transfers(transfers(1000)), engine.lookup_transfers([1000])):
            with pytest.raises(SegmentArchived, match="not the file"):
                await refused
        assert [r.status for r in await engine.create_transfers(transfers(9001))] == [CREATED]


def test_a_check_without_the_files_says_what_it_cannot_see(detached: str) -> None:
    with JournalSnapshot(detached) as tables:
        assert [segment.number for segment in tables.unseen()] == [1, 2]
        with pytest.raises(SegmentArchived, match="Segment 1 "):
            check_journal(tables)


def test_the_commands_archive_detach_check_and_attach(
    journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUGPAY_DATABASE_URL", journal)
    monkeypatch.setenv("NUGPAY_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    archive = str(tmp_path / "archive")

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(arguments))
        return done.exit_code, done.stdout

    assert run("archive", "1", archive, "--detach", "--drop")[0] == 0
    code, said = run("check")
    assert code == 1
    assert said.startswith("not seen: segments 1 to 1, batches 1 to ")
    code, said = run("check", "--archive", archive)
    assert code == 0
    assert said.startswith("sound: ")
    assert run("export", str(tmp_path / "export"), "--archive", archive)[0] == 0
    with pytest.raises(NUGPayError, match="segment_00001"):
        CliRunner().invoke(app, ["archive", "1", f"{archive}-other"], catch_exceptions=False)
    assert run("attach", "1", archive)[0] == 0
    assert run("check")[0] == 0
    get_settings.cache_clear()


async def test_a_segment_that_a_start_needs_or_out_of_turn_is_not_detached(
    journal: str, clock: SettableClock, tmp_path: Path
) -> None:
    async with serving(journal, clock):
        with pytest.raises(ExportError, match="A ledger process writes"):
            detach(journal, 1, tmp_path, clock)
    with JournalSnapshot(journal) as tables:
        manifests = [archive_segment(tables, number, tmp_path) for number in (1, 2)]
    with pytest.raises(ExportError, match="Segment 1 is not detached yet"):
        detach_segment(journal, manifests[1], clock)
    [[last]] = query(journal, "SELECT last_sequence FROM ledger_seal WHERE number = 1")
    with psycopg.connect(sync_url(journal)) as db:
        db.execute("UPDATE ledger_checkpoint SET sequence = %s", (last - 1,))
    with pytest.raises(ExportError, match="a start replays it"):
        detach_segment(journal, manifests[0], clock)
    with psycopg.connect(sync_url(journal)) as db:
        old = Checkpoint.decode(*(Archive(db).checkpoint() or (0, b"")))
        old.identity.clear()
        db.execute("DELETE FROM ledger_checkpoint")
        db.execute("INSERT INTO ledger_checkpoint VALUES (1000000, 0, %b)", (old.encode(),))
    with pytest.raises(ExportError, match="There is no checkpoint that serves"):
        detach_segment(journal, manifests[0], clock)
    with psycopg.connect(sync_url(journal)) as db:
        db.execute("DELETE FROM ledger_checkpoint")
    with pytest.raises(ExportError, match="There is no checkpoint that serves"):
        detach_segment(journal, manifests[0], clock)
    assert "ledger_transfer_1" in parts_of(journal)


STEPS = ["put_aside", "drop_aside", "_record"]
BACK = ["create", "build_indexes", "put_among_sealed", "_compare", "_record_again"]


@contextlib.contextmanager
def breaking_after(step: str) -> Iterator[None]:
    """The session is cut right after a step."""
    module: Any = detaching if step.startswith("_") else segments
    original = getattr(module, step)

    def broken(connection: psycopg.Connection, *rest: Any) -> None:
        original(connection, *rest)
        query_pid = connection.info.backend_pid
        with psycopg.connect(
            connection.info.dsn, password=connection.info.password, autocommit=True
        ) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (query_pid,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, step, broken)
        yield


async def test_whatever_breaks_leaves_a_segment_wholly_attached_or_wholly_detached(
    journal: str, clock: SettableClock, tmp_path: Path
) -> None:
    for step in STEPS:
        with breaking_after(step), pytest.raises(psycopg.OperationalError):
            detach(journal, 1, tmp_path, clock, drop=True)
        assert "ledger_transfer_1" in parts_of(journal)
        assert query(journal, "SELECT FROM ledger_archive") == []
        assert check(journal).finding is None
    detach(journal, 1, tmp_path, clock, drop=True)
    for step in BACK:
        with breaking_after(step), pytest.raises(psycopg.OperationalError):
            attach_segment(journal, 1, tmp_path, clock)
        assert not {"ledger_transfer_1", "ledger_archived_1"} & tables_of(journal)
        assert check(journal, tmp_path).finding is None
    attach_segment(journal, 1, tmp_path, clock)
    assert check(journal).finding is None
