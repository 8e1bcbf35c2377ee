"""Ids: made by the client, ordered by time, and the key of idempotency for ever.

New things get a UUIDv7 (RFC 9562 section 5.7). Things that come from the world
get an id derived from what identifies them there, so that seeing them twice
makes them once: a UUIDv8 (section 5.8) over SHA-256 of a domain and
length-prefixed parts.
"""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import Final
from uuid import UUID, SafeUUID

from foundation.clock import Clock
from foundation.errors import FoundationCode, Refusal

Part = str | int | bytes | UUID
"""What an id may be derived from; each kind is tagged, so 1 and "1" differ."""

_CANONICAL: Final = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_UUID_FRAME: Final = b"u" + (16).to_bytes(8, "big")

_UNKNOWN_SAFETY: Final = SafeUUID.unknown
"""Reading a member of an enumeration takes longer than the rest of making a UUID."""


def uuid7(clock: Clock) -> UUID:
    """A new time-ordered id: 48 bits of Unix milliseconds, 74 random bits."""
    milliseconds = clock.now_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return _uuid(value & ~(0x3 << 62) | 0x2 << 62)


def derive_id(domain: str, *parts: Part) -> UUID:
    """The id of something that the world already identifies.

    ``derive_id("deposit", chain_id, tx_hash, log_index)`` is the same for every
    process and for ever. Domains keep kinds apart; each part is tagged with its
    type and length, so that no two lists of parts read the same.
    """
    return _version_8(hashlib.sha256(_framed_domain(domain) + b"".join(map(_framed, parts))))


def derive_ids(domain: str, *parts: Part, lasts: Iterable[Part]) -> list[UUID]:
    """``derive_id(domain, *parts, last)`` for each of ``lasts``, in order; what they share is hashed once."""
    begun = hashlib.sha256(_framed_domain(domain) + b"".join(map(_framed, parts)))
    found = []
    for last in lasts:
        digest = begun.copy()
        digest.update(_framed(last))
        found.append(_version_8(digest))
    return found


@functools.lru_cache(maxsize=1_000)
def _framed_domain(domain: str) -> bytes:
    # A few dozen are written in our code, and each is asked for with every payment.
    return _framed(domain)


def _framed(part: Part) -> bytes:
    if type(part) is UUID:
        return _UUID_FRAME + part.int.to_bytes(16, "big")
    tag, data = _encode(part)
    return tag + len(data).to_bytes(8, "big") + data


def _version_8(digest: hashlib._Hash) -> UUID:
    value = int.from_bytes(digest.digest()[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    return _uuid(value & ~(0x3 << 62) | 0x2 << 62)


def _uuid(value: int) -> UUID:
    """The UUID of 128 bits that are known to be so many.

    Its constructor spends most of its time on choosing among six ways to say so, and a
    payment makes eight of them.
    """
    made = object.__new__(UUID)
    object.__setattr__(made, "int", value)
    object.__setattr__(made, "is_safe", _UNKNOWN_SAFETY)
    return made


def parse_id(text: str) -> UUID:
    """A UUID in its canonical form of 36 characters; refused as ``id_malformed`` otherwise."""
    if not _CANONICAL.fullmatch(text):
        raise Refusal(FoundationCode.ID_MALFORMED, "An id is a UUID of 36 characters.")
    return _uuid(int(text.replace("-", ""), 16))


def _encode(part: Part) -> tuple[bytes, bytes]:
    match part:
        case str():
            return b"s", part.encode()
        case bool():
            raise TypeError("an id is not derived from a truth value")
        case int():
            return b"i", part.to_bytes(part.bit_length() // 8 + 1, "big", signed=True)
        case UUID():
            return b"u", part.bytes
        case bytes():
            return b"b", part
