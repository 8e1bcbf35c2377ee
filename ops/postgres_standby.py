"""A PostgreSQL standby of the embedded server: made, watched, promoted, let go.

``create`` copies a running server into a second home, lets it follow, and then
lets every commit wait until it is on both disks. ``promote`` fences the primary
off and makes the standby the server that takes writes; nothing that was
acknowledged is lost, since it waited for the standby. ``detach`` goes on
without the standby, which may then never take over.

Crash-safety. A standby says of itself whether it is complete. It begins to say
so only when commits wait for it, and ceases to before they stop, so that one
which could miss an acknowledged commit is never promoted, wherever a command was
killed. The fence is on the disk before the standby takes writes. Every command
may be given again.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from ops.cluster import APPEAR_SECONDS_MAX, POLL_SECONDS, Cluster, Report
from ops.errors import PostgresError
from ops.postgres_pair import Pair, Part, forget_pair, read_pair, serving_home, standby_home, write_pair
from ops.postgres_settings import ROLE, STANDBY

CATCH_UP_SECONDS_MAX = 300
"""How long a new standby may take to catch up with the primary."""

OLD_DATA = "data.old"
"""Where the data of a home goes that becomes a standby again."""


def create(home: Path, directory: Path, *, report: Report | None = None) -> str:
    """Make a standby of ``home``'s running server in ``directory``; the URL that names both.

    From its end on, a commit is acknowledged when it is on both disks. A home whose server was replaced
    before may become the standby of its successor: its data is moved to ``data.old``. Raises
    ``PostgresError`` when it cannot be done; the primary then runs on by itself.
    """
    say = report or (lambda _: None)
    primary, standby = Cluster(serving_home(home), say), Cluster(directory, say)
    _refuse_unfit(primary, standby)
    if standby_home(primary.home) is not None:
        detach(home, report=report)
    with _both_locked(primary, standby):
        standby.make_way()
        _set_aside(standby)
        write_pair(standby.home, Pair(part=Part.STANDBY, peer=primary.home))
        _admit_standby(primary)
        say("copying the primary")
        part = standby.make_part()
        source = f"host='{primary.socket_dir}' user={STANDBY} application_name={STANDBY}"
        standby.run(
            "pg_basebackup", f"--pgdata={part}", f"--dbname={source}", "--wal-method=stream",
            "--checkpoint=fast", f"--slot={STANDBY}", "--create-slot", "--write-recovery-conf",
        )  # fmt: skip
        part.rename(standby.data)
        # Its settings are the primary's: with fewer connections, say, it would refuse to follow.
        standby.move_in()
        standby.start()
        if not standby.becomes_ready(grace_seconds=APPEAR_SECONDS_MAX):
            raise PostgresError("The standby does not start", f"Its last words:\n{standby.last_words()}")
        # From here on a start of the primary starts the standby too: it must, once commits wait for it.
        write_pair(primary.home, Pair(part=Part.PRIMARY, peer=standby.home))
        say("waiting until the standby has caught up")
        _let_commits_wait(primary)
        write_pair(standby.home, Pair(part=Part.STANDBY, peer=primary.home, is_complete=True))
    return primary.url_with(standby, ROLE)


def promote(home: Path, *, stop_primary: bool = False, report: Report | None = None) -> str:
    """Let the standby take over; ``home`` is either of the pair. The URL that names both.

    Raises ``PostgresError`` when the primary still runs (unless ``stop_primary``), and when the standby
    could miss something that was acknowledged.
    """
    say = report or (lambda _: None)
    standby = Cluster(_standby_of(home), say)
    pair = read_pair(standby.home)
    assert pair is not None
    if not pair.is_complete:
        raise PostgresError(
            f"The standby in {standby.home} may miss acknowledged transfers, and does not take over",
            f"Bring the primary back: ./nugpay up. Its data is in {pair.peer / 'postgres' / 'data'}.",
        )
    primary = Cluster(pair.peer, say)
    with _both_locked(primary, standby):
        if primary.server_process() is not None:
            if not stop_primary:
                raise PostgresError(
                    f"The primary in {primary.home} still runs",
                    "Two servers that take writes would be two ledgers. --stop-primary stops it first.",
                )
            say("stopping the primary")
            primary.stop(immediate=False)
        if primary.root.exists():
            write_pair(primary.home, Pair(part=Part.REPLACED, peer=standby.home))
        else:
            say(f"{primary.home} is not there: make sure that nobody starts a server from it again")
        if standby.server_process() is None:
            standby.start()
        if not standby.becomes_ready(grace_seconds=APPEAR_SECONDS_MAX):
            raise PostgresError("The standby does not start", f"Its last words:\n{standby.last_words()}")
        if _is_in_recovery(standby):
            say("promoting the standby")
            standby.run("pg_ctl", "promote", "-w", f"--pgdata={standby.data}")
        with standby.as_superuser() as connection:
            # A name that was copied from the primary would let commits wait for a standby that is not there.
            _alter(connection, synchronous_standby_names=None, primary_conninfo=None, primary_slot_name=None)
        write_pair(standby.home, Pair(part=Part.PRIMARY, peer=primary.home))
    return standby.url_with(primary, ROLE)


def detach(home: Path, *, report: Report | None = None) -> None:
    """Let commits wait for the primary's disk alone, and stop the standby if it runs.

    What is acknowledged from now on is not on the standby, so it may not take over; ``create`` makes
    it anew. Raises ``PostgresError`` when there is no standby, or the primary does not run.
    """
    say = report or (lambda _: None)
    primary = Cluster(serving_home(home), say)
    directory = standby_home(primary.home)
    if directory is None:
        raise PostgresError("There is no standby", "./nugpay standby create DIRECTORY makes one.")
    _refuse_stopped(primary)
    standby = Cluster(directory, say)
    with _both_locked(primary, standby):
        write_pair(standby.home, Pair(part=Part.STANDBY, peer=primary.home))
        standby.stop(immediate=True)
        with primary.as_superuser() as connection:
            _alter(connection, synchronous_standby_names=None)
            _drop_slot(connection)
        forget_pair(primary.home)


def _standby_of(home: Path) -> Path:
    """The standby of a pair, from either of its homes."""
    pair = read_pair(home)
    if pair is not None and pair.part is Part.STANDBY:
        return home
    standby = standby_home(serving_home(home))
    if standby is None:
        raise PostgresError(
            f"The server of {home} has no standby that could take over",
            "Name the standby's directory, or make one: ./nugpay standby create DIRECTORY",
        )
    return standby


def _refuse_unfit(primary: Cluster, standby: Cluster) -> None:
    """Raise ``PostgresError`` when this is no pair to be made."""
    _refuse_stopped(primary)
    if standby.home == primary.home:
        raise PostgresError(f"{standby.home} is the primary itself", "Name another directory.")
    if standby.data.exists() and read_pair(standby.home) is None:
        raise PostgresError(
            f"{standby.data} holds a database that was never part of this pair", "Name another directory."
        )
    with primary.as_superuser() as connection:
        attached = _standby_state(connection)
    if attached is not None:
        raise PostgresError(
            f"A standby follows {primary.home} already", "./nugpay standby detach lets it go first."
        )


def _refuse_stopped(primary: Cluster) -> None:
    if primary.server_process() is None:
        raise PostgresError(
            f"The PostgreSQL of {primary.home} does not run",
            "./nugpay up starts it; if it cannot start, ./nugpay standby promote lets the standby take over.",
        )


@contextlib.contextmanager
def _both_locked(one: Cluster, other: Cluster) -> Iterator[None]:
    """Be the only one who starts or stops either; always in the same order, so that nobody waits for ever."""
    with contextlib.ExitStack() as stack:
        for cluster in sorted((one, other), key=lambda each: each.home):
            # A primary whose disk is gone cannot be locked, and need not be.
            if cluster.home.parent.exists():
                stack.enter_context(cluster.lock())
        yield


def _set_aside(standby: Cluster) -> None:
    """Move the data of an earlier server out of the way."""
    standby.stop(immediate=True)
    if standby.data.exists():
        old = standby.root / OLD_DATA
        shutil.rmtree(old, ignore_errors=True)
        standby.data.rename(old)


def _admit_standby(primary: Cluster) -> None:
    """Let a standby connect to the primary, and forget an earlier one."""
    primary.admit()
    with primary.as_superuser() as connection:
        # First of all: a commit would wait for a standby that is no more.
        _alter(connection, synchronous_standby_names=None)
        _drop_slot(connection)
        if connection.execute("select from pg_roles where rolname = %s", [STANDBY]).fetchone() is None:
            connection.execute(sql.SQL("create role {} login replication").format(sql.Identifier(STANDBY)))


def _let_commits_wait(primary: Cluster) -> None:
    """Let commits wait for the standby, from when on all earlier ones are on its disk too."""
    with primary.as_superuser() as connection:
        _until(lambda: _standby_state(connection) == ("streaming", "async"), "follow the primary")
        _alter(connection, synchronous_standby_names=STANDBY)
        _until(lambda: _standby_state(connection) == ("streaming", "sync"), "be waited for")
        # Sessions are told by the checkpointer, which reads the new setting before it does this.
        connection.execute("checkpoint")
        row = connection.execute("select pg_current_wal_flush_lsn()").fetchone()
        assert row is not None
        written = "select from pg_stat_replication where application_name = %s and flush_lsn >= %s"
        _until(
            lambda: connection.execute(written, [STANDBY, row[0]]).fetchone() is not None,
            "have the journal on its disk",
        )


def _standby_state(connection: psycopg.Connection) -> tuple[str, str] | None:
    """How the standby follows, and whether commits wait for it; None when it is not connected."""
    row = connection.execute(
        "select state, sync_state from pg_stat_replication where application_name = %s", [STANDBY]
    ).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


def _is_in_recovery(cluster: Cluster) -> bool:
    with cluster.as_superuser() as connection:
        row = connection.execute("select pg_is_in_recovery()").fetchone()
    return row is not None and bool(row[0])


def _alter(connection: psycopg.Connection, **settings: str | None) -> None:
    """Change settings of the running server; None takes ours back."""
    for name, value in settings.items():
        if value is None:
            connection.execute(sql.SQL("alter system reset {}").format(sql.Identifier(name)))
        else:
            connection.execute(
                sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value))
            )
    connection.execute("select pg_reload_conf()")


def _drop_slot(connection: psycopg.Connection) -> None:
    """Let the primary forget what a standby has not fetched."""

    def dropped() -> bool:
        # A standby that was stopped a moment ago may hold it still.
        with contextlib.suppress(psycopg.errors.ObjectInUse):
            connection.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s",
                [STANDBY],
            )
            return True
        return False

    _until(dropped, "let go of its slot")


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
    while not holds():
        if time.monotonic() > deadline:
            raise PostgresError(
                f"The standby does not {what} after {CATCH_UP_SECONDS_MAX} s",
                "Its log is in postgres/log of its home. ./nugpay standby detach goes on without it.",
            )
        time.sleep(POLL_SECONDS)
