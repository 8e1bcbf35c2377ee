"""What measuring stands on: a fresh PostgreSQL with the journal's own settings, a process as it serves."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from foundation.garbage import keep_what_is_loaded
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


@contextlib.contextmanager
def collecting_as_served() -> Iterator[None]:
    """Garbage is collected as in a process that serves, and what was made before is not looked through.

    What is timed runs in such a process, beside nothing that was made in order to be sent.
    """
    before = gc.get_threshold()
    keep_what_is_loaded()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
