"""Sealing: how a person's texts become ciphertext, and only theirs opens in their place.

Each time somebody gives data a new key of theirs is made, which encrypts each text once;
the key itself is encrypted under the bank's (identity.personal_keys). Both are
XChaCha20-Poly1305 with random nonces, whose 192 bits never meet. What a ciphertext is
about is authenticated with it: person, key, version and field, so that none opens in
another row, in another field, or among those of another time. Every text is filled up to
one length, so that a reader of the database sees neither what was given nor how much.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from identity.personal_keys import KEY_BYTES, WrappingKey

NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16

TEXT_BYTES: Final = 1024
"""Every text is filled up to this, its length included."""

TEXT_BYTES_MAX: Final = TEXT_BYTES - 2
"""Longest text in UTF-8."""

SEALED_BYTES: Final = NONCE_BYTES + TEXT_BYTES + TAG_BYTES
"""Every sealed text."""

WRAPPED_BYTES: Final = NONCE_BYTES + KEY_BYTES + TAG_BYTES
"""A person's key, wrapped."""


class NotSealed(ValueError):
    """It does not open: another key, another place, or a bit that was changed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose key it is, and of which time."""

    person_id: UUID
    key_id: UUID
    version: int

    def about(self, purpose: bytes, what: str) -> bytes:
        """What is authenticated; all parts before the last have one length."""
        version = self.version.to_bytes(8, "big")
        return purpose + self.person_id.bytes + self.key_id.bytes + version + what.encode()


def new_key() -> bytes:
    """A person's key."""
    return secrets.token_bytes(KEY_BYTES)


def seal(key: bytes, place: Place, field: str, text: str) -> bytes:
    """A text in its place; an empty one looks like any other. Raises ``ValueError`` for a longer one."""
    data = text.encode()
    if len(data) > TEXT_BYTES_MAX:
        raise ValueError(f"a text has at most {TEXT_BYTES_MAX} bytes")
    filled = (len(data).to_bytes(2, "big") + data).ljust(TEXT_BYTES, b"\0")
    return _encrypt(key, place.about(_TEXT, field), filled)


def unseal(key: bytes, place: Place, field: str, sealed: bytes) -> str:
    """The text that was sealed in this place; raises ``NotSealed`` for anything else."""
    filled = _decrypt(key, place.about(_TEXT, field), sealed)
    length = int.from_bytes(filled[:2], "big")
    return filled[2 : 2 + length].decode()


def wrap(wrapping: WrappingKey, place: Place, key: bytes) -> bytes:
    """A person's key under the bank's."""
    return _encrypt(wrapping.secret, place.about(_KEY, wrapping.key_id), key)


def unwrap(wrapping: WrappingKey, place: Place, wrapped: bytes) -> bytes:
    """The person's key; raises ``NotSealed`` for anything else."""
    return _decrypt(wrapping.secret, place.about(_KEY, wrapping.key_id), wrapped)


_TEXT: Final = b"nugpay personal text 1\0"
_KEY: Final = b"nugpay personal key 1\0"


def _encrypt(key: bytes, about: bytes, data: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + bytes(crypto_aead_xchacha20poly1305_ietf_encrypt(data, about, nonce, key))


def _decrypt(key: bytes, about: bytes, sealed: bytes) -> bytes:
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise NotSealed
    nonce, data = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return bytes(crypto_aead_xchacha20poly1305_ietf_decrypt(data, about, nonce, key))
    except CryptoError:
        # Without the cause: what it was about is nobody's business.
        raise NotSealed from None
