"""A server for measuring: a fresh PostgreSQL with the journal's own settings, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ops import postgres
from ops.guardian import start_guardian
from ops.migrations import migrate
from ops.processes import ProcessMark


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """A migrated, empty database on a server of its own; its URL. The server goes even if we are killed."""
    # Short, since Unix sockets live in it, and passable by the user that PostgreSQL runs as.
    home = Path(tempfile.mkdtemp(prefix="nugpay-bench-"))
    home.chmod(0o711)
    guardian = start_guardian(ProcessMark.of(os.getpid()), home, delete=home)
    try:
        url = postgres.ensure_running(home)
        migrate(url)
        yield url
    finally:
        postgres.stop(home, immediate=True)
        shutil.rmtree(home, ignore_errors=True)
        watching = guardian.process()
        if watching is not None:
            watching.terminate()
