"""The pepper: the secret without which the database tells nothing of PINs.

A PIN has at most some millions of values, so that whoever holds a table of its hashes
alone finds it in hours. Each hash is therefore of a MAC under this key, which is in a
file and never in the database. The same key makes what must look like nothing to a
reader of the database: which wallet a session opens, and which person is a decoy.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final
from uuid import UUID

from foundation.errors import NUGPayError

PEPPER_BYTES: Final = 32
"""256 bits."""


class Pepper:
    """A secret key for MACs; each use names its purpose, and purposes share nothing."""

    def __init__(self, key: bytes) -> None:
        if len(key) != PEPPER_BYTES:
            raise NUGPayError(f"A pepper has {PEPPER_BYTES} bytes, not {len(key)}.")
        self._key = key

    def mac(self, purpose: str, *parts: bytes | UUID) -> bytes:
        """32 bytes that only the key's holder can compute; lengths are part of what is read."""
        message = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (purpose.encode(), *parts):
            data = part.bytes if isinstance(part, UUID) else part
            message.update(len(data).to_bytes(4, "big") + data)
        return message.digest()


def read_pepper(path: Path) -> Pepper:
    """The pepper in a file; raises ``NUGPayError`` when it is missing, damaged or others may read it."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NUGPayError(
            f"The pepper of PINs cannot be read from {path} ({type(error).__name__}); "
            "NUGPAY_PIN_PEPPER names its file: the same 64 hexadecimal digits for every API."
        ) from None
    if mode & 0o077:
        raise NUGPayError(f"Others than its owner may use {path}: chmod 600 it.")
    try:
        return Pepper(bytes.fromhex(text))
    except ValueError:
        raise NUGPayError(f"{path} does not hold 64 hexadecimal digits.") from None


def make_pepper(path: Path) -> Pepper:
    """The pepper in a file, made first if there is none; never over another one.

    A lost pepper makes every PIN wrong for ever, so the file is on disk before anything
    is hashed with it, and appears whole under its name: if the process dies before that,
    a draft is left that nobody reads.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(PEPPER_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            # If another process makes it at the same moment, its pepper is the one.
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    return read_pepper(path)
