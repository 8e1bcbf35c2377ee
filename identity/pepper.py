"""The pepper: the secret without which the database tells nothing of PINs.

A PIN has at most some millions of values, so that whoever holds a table of its hashes
alone finds it in hours. Each hash is therefore of a MAC under this key, which is in a
file and never in the database. The same key makes what must look like nothing to a
reader of the database: which wallet a session opens, and which person is a decoy.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final
from uuid import UUID

from foundation.errors import NUGPayError
from foundation.key_files import make_key_file

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
    is hashed with it, and appears whole under its name.
    """
    if not path.exists():
        make_key_file(path, secrets.token_hex(PEPPER_BYTES) + "\n")
    return read_pepper(path)
