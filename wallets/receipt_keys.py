"""Receipt keys: the bank's keys under its receipts, in a file and never in the database.

One key signs; those before it are kept by their public halves, so that old receipts can
be verified for ever. A key says nothing but receipts: whoever has it can write receipts
of payments that never were, and can move no money.

The file is replaced whole when the key changes: a process that dies meanwhile leaves the
old file, or the new one. A process that signs looks whether the file is another one
before each receipt, so all of a machine change over at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from nacl.signing import SigningKey

from foundation.clock import Clock
from foundation.errors import NUGPayError, Refusal
from foundation.key_files import alone_with, make_key_file, read_key_file, replace_key_file
from identity.keys import KeyAlgorithm, PublicKey

KEY_BYTES: Final = 32
"""An Ed25519 private key (RFC 8032)."""


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A key that receipts can be verified with."""

    key: PublicKey
    since: str
    """When it was made, RFC 3339."""
    until: str | None
    """When another one took over; None for the one that signs."""


@dataclass(frozen=True, slots=True)
class ReceiptKeys:
    """The key that signs, and all that ever did."""

    signing: SigningKey
    published: tuple[PublishedKey, ...]
    """The one that signs first, then the others, the newest first."""

    @property
    def key_id(self) -> str:
        """RFC 7638 thumbprint of the key that signs."""
        return self.published[0].key.key_id


class ReceiptKeyFile:
    """The file of one machine's receipt keys; what it holds is read again when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._read: tuple[tuple[int, int, int], ReceiptKeys] | None = None

    def keys(self) -> ReceiptKeys:
        """The keys as they are now; raises as ``read_receipt_keys`` does."""
        try:
            stat = self._path.stat()
        except OSError:
            return read_receipt_keys(self._path)
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_mode)
        if self._read is None or self._read[0] != mark:
            self._read = (mark, read_receipt_keys(self._path))
        return self._read[1]


def read_receipt_keys(path: Path) -> ReceiptKeys:
    """The keys in a file; raises ``NUGPayError`` when it is missing, damaged or others may read it."""
    text = read_key_file(path, what="receipt keys", setting="NUGPAY_RECEIPT_KEYS")
    try:
        return _parse(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, Refusal):
        raise NUGPayError(f"{path} does not hold receipt keys as they are written here.") from None


def make_receipt_keys(path: Path, clock: Clock) -> ReceiptKeys:
    """The keys in a file, made first if there is none; never over others."""
    if not path.exists():
        make_key_file(path, _text(SigningKey.generate(), clock.now(), ()))
    return read_receipt_keys(path)


def rotate_receipt_key(path: Path, clock: Clock) -> ReceiptKeys:
    """Have another key sign from now on; the old one's private half is gone afterwards.

    What it has signed stays good: its public half stays listed. Two rotations at once
    follow one another, so that neither forgets the other's key.
    """
    with alone_with(path):
        old = read_receipt_keys(path)
        now = clock.now()
        former = PublishedKey(old.published[0].key, old.published[0].since, _time(now))
        replace_key_file(path, _text(SigningKey.generate(), now, (former, *old.published[1:])))
    return read_receipt_keys(path)


def _text(signing: SigningKey, since: datetime, former: tuple[PublishedKey, ...]) -> str:
    content = {
        "signing": bytes(signing).hex(),
        "since": _time(since),
        "former": [{"public": one.key.raw.hex(), "since": one.since, "until": one.until} for one in former],
    }
    return json.dumps(content, indent=1) + "\n"


def _parse(content: dict[str, Any]) -> ReceiptKeys:
    signing = SigningKey(bytes.fromhex(content["signing"]))
    published = [PublishedKey(_public(bytes(signing.verify_key)), _checked(content["since"]), None)]
    published += [
        PublishedKey(_public(bytes.fromhex(one["public"])), _checked(one["since"]), _checked(one["until"]))
        for one in content["former"]
    ]
    return ReceiptKeys(signing, tuple(published))


def _public(raw: bytes) -> PublicKey:
    return PublicKey(KeyAlgorithm.ED25519, raw)


def _checked(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
