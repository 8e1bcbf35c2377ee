"""The keys over personal data: each wraps people's own keys, and is in a file, never in the database.

One key wraps; keys of before are in the file only while a rotation has not wrapped anew what
they hold, and are then destroyed. So whoever has the database, or a backup of it, and not
this file reads nothing; and whoever has a backup of before a rotation reads nothing even with
the file of after it. Keep the file apart from the database's backups, and keep no old one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from foundation.clock import Clock
from foundation.errors import NUGPayError
from foundation.key_files import alone_with, make_key_file, read_key_file, replace_key_file

KEY_BYTES: Final = 32
"""256 bits, as XChaCha20-Poly1305 takes."""


@dataclass(frozen=True, slots=True)
class WrappingKey:
    """A key that wraps people's keys."""

    secret: bytes = field(repr=False)
    since: str
    """When it was made, RFC 3339."""

    @property
    def key_id(self) -> str:
        """Its name, which tells nothing of it."""
        return hashlib.sha256(b"nugpay personal wrapping key\0" + self.secret).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class PersonalKeys:
    """The key that wraps, and those that a rotation is not done with."""

    current: WrappingKey
    former: tuple[WrappingKey, ...] = ()

    def find(self, key_id: str) -> WrappingKey | None:
        """The key of this name; None if it is not here, or not any more."""
        return next((one for one in (self.current, *self.former) if one.key_id == key_id), None)


class PersonalKeyFile:
    """The file of one machine's keys; what it holds is read again when it was replaced."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._read: tuple[tuple[int, int, int], PersonalKeys] | None = None

    def keys(self) -> PersonalKeys:
        """The keys as they are now; raises as ``read_personal_keys`` does."""
        try:
            stat = self.path.stat()
        except OSError:
            return read_personal_keys(self.path)
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_mode)
        if self._read is None or self._read[0] != mark:
            self._read = (mark, read_personal_keys(self.path))
        return self._read[1]


def read_personal_keys(path: Path) -> PersonalKeys:
    """The keys in a file; raises ``NUGPayError`` when it is missing, damaged or others may read it."""
    text = read_key_file(path, what="keys over personal data", setting="NUGPAY_PERSONAL_KEYS")
    try:
        current, *former = [_parse(one) for one in json.loads(text)["keys"]]
    except (ValueError, KeyError, TypeError):
        raise NUGPayError(f"{path} does not hold keys over personal data as they are written here.") from None
    return PersonalKeys(current, tuple(former))


def make_personal_keys(path: Path, clock: Clock) -> PersonalKeys:
    """The keys in a file, made first if there is none; never over others."""
    if not path.exists():
        make_key_file(path, _text([_new_key(clock)]))
    return read_personal_keys(path)


def begin_rotation(path: Path, clock: Clock) -> PersonalKeys:
    """Have another key wrap from now on; one that was begun and not ended is gone on with instead."""
    with alone_with(path):
        old = read_personal_keys(path)
        if not old.former:
            replace_key_file(path, _text([_new_key(clock), old.current]))
    return read_personal_keys(path)


def destroy_keys(path: Path, key_ids: Collection[str]) -> PersonalKeys:
    """Take former keys out of the file for ever; the one that wraps stays."""
    with alone_with(path):
        old = read_personal_keys(path)
        left = [one for one in old.former if one.key_id not in key_ids]
        if len(left) < len(old.former):
            replace_key_file(path, _text([old.current, *left]))
    return read_personal_keys(path)


def _new_key(clock: Clock) -> WrappingKey:
    since = clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")
    return WrappingKey(secrets.token_bytes(KEY_BYTES), since)


def _text(keys: list[WrappingKey]) -> str:
    told = [{"secret": one.secret.hex(), "since": one.since} for one in keys]
    return json.dumps({"keys": told}, indent=1) + "\n"


def _parse(content: dict[str, Any]) -> WrappingKey:
    secret, since = bytes.fromhex(content["secret"]), str(content["since"])
    datetime.fromisoformat(since)
    if len(secret) != KEY_BYTES:
        raise ValueError
    return WrappingKey(secret, since)
