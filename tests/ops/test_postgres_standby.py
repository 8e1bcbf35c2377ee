"""A standby of the embedded PostgreSQL: waited for, promoted once, and never where it could forget."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
from typer.testing import CliRunner

from foundation.postgres import DurabilityRefused, sync_url
from foundation.settings import Settings, get_settings
from ops import postgres, postgres_standby
from ops.cli import app
from ops.cluster import Cluster
from ops.errors import PostgresError
from ops.pair_status import pair_states
from ops.postgres_pair import Pair, Part, read_pair, write_pair
from ops.postgres_settings import STANDBY
from tests.fixtures.postgres import SMALLER


@pytest.fixture
def homes(make_home: Callable[[], Path]) -> Iterator[tuple[Path, Path]]:
    """A running server's home, and a place for a standby."""
    directory = make_home()
    first, second = directory / "a", directory / "b"
    postgres.ensure_running(first, changes=SMALLER)
    yield first, second
    for home in (first, second):
        Cluster(home, lambda _: None).stop(immediate=True)


def create(homes: tuple[Path, Path]) -> str:
    return postgres_standby.create(*homes)


def kill(home: Path) -> None:
    """Postmaster and children, as a power cut would."""
    postmaster = Cluster(home, lambda _: None).server_process()
    assert postmaster is not None
    for process in (postmaster, *postmaster.children(recursive=True)):
        # A backend whose client has just gone may end by itself before it is killed.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    postmaster.wait(timeout=60)


def write_row(url: str, **options: str) -> int:
    """Write one more row; how many there are then."""
    with psycopg.connect(sync_url(url), autocommit=True, **options) as connection:  # type: ignore[arg-type]  # a dict's values have no single type
        connection.execute("create table if not exists kept (id bigint generated always as identity)")
        connection.execute("insert into kept default values")
        row = connection.execute("select count(*) from kept").fetchone()
    assert row is not None
    return int(row[0])


def words(home: Path) -> list[tuple[str, bool]]:
    return [(state.part.value, state.is_well) for state in pair_states(home)]


def test_what_was_acknowledged_is_there_after_each_of_two_fail_overs(homes: tuple[Path, Path]) -> None:
    first, second = homes
    url = create(homes)
    assert postgres.database_url(Settings(home=first)) == url
    rows = [write_row(url) for _ in range(50)][-1]
    assert words(first) == words(second) == [("primary", True), ("standby", True)]
    kill(first)
    assert words(first) == [("primary", False), ("standby", False)]
    postgres_standby.promote(first)
    assert write_row(url) == rows + 1
    # The old primary follows the new one, and takes over in its turn.
    assert words(second) == [("primary", False), ("replaced", False)]
    postgres_standby.create(second, first)
    assert write_row(url) == rows + 2
    kill(second)
    postgres_standby.promote(first)
    assert write_row(url) == rows + 3


def test_a_home_that_was_replaced_means_its_successor_and_never_starts_again(
    homes: tuple[Path, Path],
) -> None:
    first, second = homes
    url = create(homes)
    kill(first)
    postgres_standby.promote(second)
    rows = write_row(url)
    kill(second)
    assert postgres.running_pid(first) is None
    again = postgres.ensure_running(first, changes=SMALLER)
    assert write_row(again) == write_row(url) - 1 == rows + 1
    assert Cluster(first, lambda _: None).server_process() is None
    postgres.stop(first)
    assert Cluster(second, lambda _: None).server_process() is None


def test_both_are_started_and_stopped_together(homes: tuple[Path, Path]) -> None:
    first, second = homes
    url = create(homes)
    assert postgres.is_whole(first)
    kill(second)
    assert not postgres.is_whole(first)
    assert postgres.ensure_running(first, changes=SMALLER) == url
    assert postgres.is_whole(second)
    assert write_row(url) == 1
    postgres.stop(first)
    assert all(Cluster(home, lambda _: None).server_process() is None for home in homes)
    postgres.ensure_running(second, changes=SMALLER)
    assert write_row(url) == 2


def test_a_commit_waits_for_a_standby_that_is_down_until_it_is_detached(homes: tuple[Path, Path]) -> None:
    first, second = homes
    url = create(homes)
    write_row(url)
    kill(second)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(write_row, url)
        deadline = time.monotonic() + 20
        while "1 commits stand still" not in pair_states(first)[0].words:
            assert time.monotonic() < deadline
        assert "may take over" in pair_states(first)[1].words
        assert not waiting.done()
        postgres_standby.detach(first)
        assert waiting.result(20) == 2
    assert write_row(url) == 3
    assert words(first) == [("primary", False)]
    with pytest.raises(PostgresError, match="may miss acknowledged transfers"):
        postgres_standby.promote(second)
    create(homes)
    assert words(first) == [("primary", True), ("standby", True)]


def test_a_primary_that_runs_is_not_replaced_unless_it_is_to_be_stopped(homes: tuple[Path, Path]) -> None:
    first, second = homes
    url = create(homes)
    rows = write_row(url)
    with pytest.raises(PostgresError, match="still runs"):
        postgres_standby.promote(second)
    assert write_row(url) == rows + 1
    postgres_standby.promote(second, stop_primary=True)
    assert write_row(url) == rows + 2
    assert read_pair(first) == Pair(part=Part.REPLACED, peer=second)
    assert read_pair(second) == Pair(part=Part.PRIMARY, peer=first)


def test_a_fail_over_that_was_interrupted_behind_the_fence_is_finished_by_the_next_try(
    homes: tuple[Path, Path],
) -> None:
    first, second = homes
    url = create(homes)
    rows = write_row(url)
    kill(first)
    kill(second)
    write_pair(first, Pair(part=Part.REPLACED, peer=second))
    postgres_standby.promote(second)
    assert write_row(url) == rows + 1


def test_a_standby_that_was_left_half_made_does_not_take_over_and_is_made_anew(
    homes: tuple[Path, Path],
) -> None:
    first, second = homes
    url = create(homes)
    write_pair(second, Pair(part=Part.STANDBY, peer=first))
    with pytest.raises(PostgresError, match="may miss"):
        postgres_standby.promote(second, stop_primary=True)
    assert words(first) == [("primary", True), ("standby", False)]
    postgres_standby.detach(first)
    create(homes)
    kill(first)
    postgres_standby.promote(second)
    assert write_row(url) == 1


def test_what_is_no_pair_is_refused_in_words(homes: tuple[Path, Path], make_home: Callable[[], Path]) -> None:
    first, second = homes
    with pytest.raises(PostgresError, match="primary itself"):
        postgres_standby.create(first, first)
    with pytest.raises(PostgresError, match="no standby that could take over"):
        postgres_standby.promote(first)
    with pytest.raises(PostgresError, match="There is no standby"):
        postgres_standby.detach(first)
    with pytest.raises(PostgresError, match="does not run"):
        postgres_standby.create(make_home(), second)
    (second / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(PostgresError, match="never part of this pair"):
        create(homes)
    (second / "postgres" / "data").rmdir()
    create(homes)
    with pytest.raises(PostgresError, match=r"follows .* already"):
        create(homes)


def test_a_server_that_does_not_wait_for_the_standby_it_names_is_refused(homes: tuple[Path, Path]) -> None:
    url = create(homes)
    with psycopg.connect(sync_url(url), autocommit=True) as connection:
        connection.execute("alter role nugpay set synchronous_commit = local")
    with pytest.raises(DurabilityRefused, match="synchronous standbys"):
        postgres.refuse_weak_server(url)


def test_only_the_standbys_role_may_copy_the_journal(homes: tuple[Path, Path]) -> None:
    create(homes)
    socket = Cluster(homes[0], lambda _: None).socket_dir
    psycopg.connect(f"host={socket} user={STANDBY} dbname=postgres replication=true").close()
    for role in ("nugpay", "postgres"):
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(f"host={socket} user={role} dbname=postgres replication=true")


def test_the_commands_make_watch_and_promote_a_standby(
    homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = homes
    monkeypatch.setenv("NUGPAY_HOME", str(first))
    get_settings.cache_clear()
    runner = CliRunner()
    try:
        assert runner.invoke(app, ["standby", "status"]).exit_code == 1
        made = runner.invoke(app, ["standby", "create", str(second)])
        assert made.exit_code == 0, made.output
        assert "on both disks" in made.output
        shown = runner.invoke(app, ["standby", "status"])
        assert shown.exit_code == 0, shown.output
        assert f"standby  {second}: follows; may take over" in shown.output
        kill(first)
        promoted = runner.invoke(app, ["standby", "promote"])
        assert promoted.exit_code == 0, promoted.output
        shown = runner.invoke(app, ["standby", "status"])
        assert shown.exit_code == 1
        assert f"primary  {second}: takes writes, and waits for no standby" in shown.output
        assert f"./nugpay standby create {first}" in shown.output
        assert runner.invoke(app, ["standby", "create", str(first)]).exit_code == 0
        detached = runner.invoke(app, ["standby", "detach"])
        assert detached.exit_code == 0, detached.output
    finally:
        get_settings.cache_clear()


def test_the_pair_survives_its_file(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    pair = Pair(part=Part.STANDBY, peer=tmp_path / "other", is_complete=True)
    write_pair(tmp_path, pair)
    assert read_pair(tmp_path) == pair
