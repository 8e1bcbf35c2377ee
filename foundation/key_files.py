"""Files of keys: a secret that is on disk before it is used, and is there whole or not at all.

Each is its owner's alone, appears whole under its name, and is replaced whole: a process
that dies meanwhile leaves the old file or the new one, and perhaps a draft that nobody reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from foundation.errors import NUGPayError


def read_key_file(path: Path, *, what: str, setting: str) -> str:
    """The text of a file of keys.

    Raises ``NUGPayError`` when it is missing or others may read it; ``what`` it holds and the
    ``setting`` that names it are for the operator.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise NUGPayError(
            f"The {what} cannot be read from {path} ({type(error).__name__}); "
            f"{setting} names their file: the same for every API."
        ) from None
    if mode & 0o077:
        raise NUGPayError(f"Others than its owner may use {path}: chmod 600 it.")
    return text


def make_key_file(path: Path, text: str) -> None:
    """Have a file with ``text``, unless there is one: never over another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _draft(path, text) as draft:
        # If another process makes it at the same moment, its file is the one.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()


def replace_key_file(path: Path, text: str) -> None:
    """Have a file with ``text`` in place of the one that is there."""
    with _draft(path, text) as draft:
        draft.replace(path)


@contextlib.contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Hold the directory's lock: the file itself is replaced, and a lock would go with it."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """A whole file beside ``path``, on disk, to be put in its place; the directory is on disk at the end."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
