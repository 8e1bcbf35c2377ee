"""A server for measuring: a fresh PostgreSQL with the journal's own settings, gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ops import postgres
from ops.migrations import migrate


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """A migrated, empty database on a server of its own; its URL."""
    # Short, since Unix sockets live in it, and passable by the user that PostgreSQL runs as.
    home = Path(tempfile.mkdtemp(prefix="nugpay-bench-"))
    home.chmod(0o711)
    try:
        url = postgres.ensure_running(home)
        migrate(url)
        yield url
    finally:
        postgres.stop(home, immediate=True)
        shutil.rmtree(home, ignore_errors=True)
