"""The operating-system user that PostgreSQL runs as.

PostgreSQL refuses to run as root, and containers and fresh servers often have
nobody else. For root there is a system user without a login, made at the first
start, that owns the data directory and nothing more. Everybody else runs
PostgreSQL as themselves.
"""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ops.errors import PostgresError

SYSTEM_USER = "nugpay-postgres"
"""Made by us, and only when root starts the database."""


@dataclass(frozen=True)
class OSUser:
    """Who runs PostgreSQL: ``uid`` is None when that is simply ourselves."""

    name: str
    uid: int | None
    gid: int | None

    def process_arguments(self) -> dict[str, object]:
        """What ``subprocess`` needs to start a program as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give one file or directory to this user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def own_tree(self, path: Path) -> None:
        """Give a directory and all that is in it to this user."""
        for parent, _, files in os.walk(path):
            self.own(Path(parent))
            for name in files:
                self.own(Path(parent, name))


def postgres_user() -> OSUser:
    """The user that runs PostgreSQL here; makes the system user for root."""
    if os.geteuid() != 0:
        return OSUser(name=getpass.getuser(), uid=None, gid=None)
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        entry = _make_system_user()
    return OSUser(name=SYSTEM_USER, uid=entry.pw_uid, gid=entry.pw_gid)


def _make_system_user() -> pwd.struct_passwd:
    advice = "Run as an ordinary user, or set NUGPAY_DATABASE_URL to a PostgreSQL server of your own."
    if shutil.which("useradd") is None:
        raise PostgresError(
            f"PostgreSQL does not run as root, and useradd is missing to make {SYSTEM_USER}", advice
        )
    command = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--shell",
        "/usr/sbin/nologin",
        SYSTEM_USER,
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        # Two first starts at once: the slower one's useradd fails, and the user is there.
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise PostgresError(f"useradd {SYSTEM_USER} failed: {made.stderr.strip()}", advice) from None


def make_home(home: Path) -> None:
    """Make a home that nobody else can list; for root, whose PostgreSQL is another user, one to pass."""
    home.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)


def let_through(path: Path, user: OSUser) -> None:
    """Let ``user`` pass through the directories above ``path``.

    Only for root, whose own home is closed to others. A directory gets the right
    to be passed (o+x), never to be listed, and the operator is told.
    """
    if user.uid is None:
        return
    for parent in reversed(path.absolute().parents):
        mode = parent.stat().st_mode
        if mode & stat.S_IXOTH or parent.stat().st_uid == user.uid:
            continue
        parent.chmod(mode | stat.S_IXOTH)
        sys.stderr.write(
            f"nugpay: {parent} may now be passed through (not listed) by {user.name}, for PostgreSQL\n"
        )
