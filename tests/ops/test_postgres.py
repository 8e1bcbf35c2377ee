"""The embedded PostgreSQL: starts from anything a crash leaves, and never without durability."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from foundation.postgres import NEVER_OFF, DurabilityRefused
from ops import postgres
from ops.cluster import Cluster, programs, stands_in
from ops.errors import PostgresError
from ops.postgres_settings import OPERATOR_FILE, ROLE
from tests.fixtures.postgres import SMALLER


@pytest.fixture(scope="module")
def shared_home(make_home: Callable[[], Path]) -> Iterator[Path]:
    """A home whose cluster the module's tests start and stop."""
    home = make_home()
    yield home
    postgres.stop(home, immediate=True)


@pytest.fixture
def home(shared_home: Path) -> Iterator[Path]:
    """The same home, its server down and its settings untouched before and after."""
    yield shared_home
    postgres.stop(shared_home)
    operator = shared_home / "postgres" / "data" / OPERATOR_FILE
    if operator.exists():
        operator.write_text("")


def start(home: Path) -> str:
    return postgres.ensure_running(home, changes=SMALLER)


def write_row(url: str) -> int:
    """Write one more row; how many there are then."""
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists kept (id bigint generated always as identity)")
        connection.execute("insert into kept default values")
        row = connection.execute("select count(*) from kept").fetchone()
    assert row is not None
    return int(row[0])


class TestStart:
    def test_server_is_made_started_and_found_again(self, home: Path) -> None:
        url = start(home)
        rows = write_row(url)
        pid = postgres.running_pid(home)
        assert start(home) == url
        assert postgres.running_pid(home) == pid
        postgres.stop(home)
        assert postgres.running_pid(home) is None
        assert write_row(start(home)) == rows + 1

    def test_server_is_tuned_and_listens_on_a_socket_alone(self, home: Path) -> None:
        with psycopg.connect(postgres.ensure_running(home)) as connection:
            shown = {
                name: connection.execute(f"show {name}").fetchone()
                for name in (
                    "listen_addresses",
                    "shared_buffers",
                    "max_wal_size",
                    "checkpoint_timeout",
                    "timezone",
                )
            }
        assert shown == {
            "listen_addresses": ("",),
            "shared_buffers": ("512MB",),
            "max_wal_size": ("8GB",),
            "checkpoint_timeout": ("15min",),
            "timezone": ("UTC",),
        }

    def test_two_starters_at_once_get_one_server(self, home: Path) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(2) as pool:
            first, second = pool.map(start, [home, home])
        assert first == second
        servers = [each for each in psutil.process_iter() if _stands_in(each, home)]
        parents = {each.ppid() for each in servers}
        assert len([each for each in servers if each.pid in parents]) == 1

    def test_application_role_is_no_superuser(self, home: Path) -> None:
        with psycopg.connect(start(home)) as connection:
            assert connection.execute(
                "select current_user, rolsuper from pg_roles where rolname = current_user"
            ).fetchone() == (ROLE, False)

    def test_home_with_a_path_too_long_for_a_socket_works(self, make_home: Callable[[], Path]) -> None:
        long = make_home().joinpath(*["a-directory-of-thirty-letters-x"] * 5)
        try:
            assert write_row(start(long)) == 1
        finally:
            postgres.stop(long, immediate=True)

    def test_cluster_of_another_version_is_refused_in_words(self, home: Path) -> None:
        start(home)
        postgres.stop(home)
        version = home / "postgres" / "data" / "PG_VERSION"
        version.write_text("16\n")
        try:
            with pytest.raises(PostgresError, match="made by PostgreSQL 16"):
                start(home)
        finally:
            version.write_text("18\n")

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to try")
    def test_another_user_of_the_machine_does_not_get_in(self, home: Path) -> None:
        url = start(home)
        tried = subprocess.run(
            [programs() / "psql", url, "-c", "select 1"],
            user="nobody", capture_output=True, text=True, cwd="/", check=False,
        )  # fmt: skip
        assert tried.returncode != 0
        assert "failed" in tried.stderr


class TestDurability:
    @pytest.mark.parametrize("setting", NEVER_OFF)
    def test_server_that_may_forget_a_commit_is_refused_and_stopped(self, home: Path, setting: str) -> None:
        start(home)
        postgres.stop(home)
        (home / "postgres" / "data" / OPERATOR_FILE).write_text(f"{setting} = off\n")
        with pytest.raises(DurabilityRefused, match=setting):
            start(home)
        assert postgres.running_pid(home) is None

    def test_role_that_would_not_wait_for_the_disk_is_refused(self, home: Path) -> None:
        with psycopg.connect(start(home), autocommit=True) as connection:
            connection.execute(f"alter role {ROLE} set synchronous_commit = off")
        with pytest.raises(DurabilityRefused, match="synchronous_commit"):
            start(home)
        (home / "postgres" / "data" / OPERATOR_FILE).write_text("fsync = on\n")
        _as_superuser(home, f"alter role {ROLE} reset synchronous_commit")
        start(home)


class TestCrash:
    def test_killed_server_starts_again_with_every_acknowledged_row(self, home: Path) -> None:
        url = start(home)
        before = write_row(url)
        acknowledged = 0
        pid = postgres.running_pid(home)
        assert pid is not None
        with psycopg.connect(url, autocommit=True) as connection:
            killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
            killer.start()
            try:
                while True:
                    connection.execute("insert into kept default values")
                    acknowledged += 1
            except psycopg.OperationalError:
                pass
            killer.join()
        rows = write_row(start(home)) - before - 1
        # The one that was under way may have been kept; none that was answered may be missing.
        assert acknowledged <= rows <= acknowledged + 1

    @pytest.mark.slow
    def test_start_that_takes_longer_than_ten_seconds_is_waited_for(self, home: Path) -> None:
        """Recovery of a large journal is slow; here the server is halted while it recovers."""
        rows = write_row(start(home))
        pid = postgres.running_pid(home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            halting = pool.submit(_halt_starting_server, home, pid, 10.5)
            told: list[str] = []
            url = postgres.ensure_running(home, changes=SMALLER, report=told.append)
            assert halting.result() != pid
        assert time.monotonic() - began > 10
        assert any("waiting for PostgreSQL" in word for word in told)
        assert write_row(url) == rows + 1

    def test_pid_file_whose_number_is_another_program_s_now_does_not_block(self, home: Path) -> None:
        start(home)
        postgres.stop(home)
        (home / "postgres" / "data" / "postmaster.pid").write_text(
            f"{os.getpid()}\n{home / 'postgres' / 'data'}\n1700000000\n5432\n{home}\n\n\nready\n"
        )
        start(home)

    def test_half_made_cluster_is_made_anew(self, make_home: Callable[[], Path]) -> None:
        home = make_home()
        part = home / "postgres" / "data.part" / "base"
        part.mkdir(parents=True)
        (part.parent / "PG_VERSION").write_text("18\n")
        try:
            assert write_row(start(home)) == 1
        finally:
            postgres.stop(home, immediate=True)


def _halt_starting_server(home: Path, old: int, seconds: float) -> int:
    """Halt the new server as soon as it shows itself, and let it go on later."""
    while (pid := postgres.running_pid(home)) in {None, old}:
        time.sleep(0.001)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    return pid


def _stands_in(process: psutil.Process, home: Path) -> bool:
    return stands_in(process, home / "postgres" / "data")


def _as_superuser(home: Path, statement: str) -> None:
    """Start the server without asking what it may forget, run a statement, stop it."""
    cluster = Cluster(home, lambda _: None)
    cluster.prepare()
    cluster.configure(SMALLER)
    cluster.start()
    assert cluster.becomes_ready(grace_seconds=5)
    with psycopg.connect(cluster.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())
    cluster.stop(immediate=False)
