"""Memos: a line beside a payment that payer and payee read, and the server cannot.

A memo is encrypted on the payer's device under a key of its own, and that key twice, to the
payee's memo key and to the payer's, with HPKE (RFC 9180, base mode, DHKEM(X25519,
HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305). All three are bound to the payment's id and to
both handles, so that a memo opens beside its own payment only. Its length is one of three.

What it does not do: the payee's key comes from the server, which could answer one of its own.
Whoever must exclude that compares ``Payee.memo_key`` with what the payee's device shows. And
who gets hold of a private key reads every memo that was encrypted to it.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from nugpay_client.errors import MemoRefused

SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
"""Wraps a memo's key for one party."""

MEMO_BYTES: Final = (384, 768, 1152)
"""Sizes of a whole memo."""

VERSION: Final = 1
"""The first byte of a memo."""

_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16
_WRAPPED_BYTES: Final = 32 + _KEY_BYTES + _TAG_BYTES
"""A public key that was made for this one wrapping, and the memo's key under it."""
_HEAD_BYTES: Final = 1 + 2 * _WRAPPED_BYTES
_LENGTH_BYTES: Final = 2

TEXT_BYTES_MAX: Final = MEMO_BYTES[-1] - _HEAD_BYTES - _LENGTH_BYTES - _TAG_BYTES
"""Longest text of a memo, in bytes of UTF-8: 973."""

_NONCE: Final = bytes(12)
"""A memo's key encrypts one text, so one nonce is enough."""

_PAYEE: Final = b"\x01"
_PAYER: Final = b"\x02"


@dataclass(frozen=True, slots=True)
class MemoKeys:
    """The private keys of one wallet's memos. Keep them: nobody else can bring a memo back."""

    handle: str
    """The wallet's."""
    current: X25519PrivateKey = field(repr=False)
    """The one whose public key is published."""
    former: tuple[X25519PrivateKey, ...] = field(default=(), repr=False)
    """Those before, which memos from before need."""
    former_handles: tuple[str, ...] = ()
    """Handles that the wallet had before, the newest first: memos from before are bound to them."""

    @classmethod
    def generate(cls, handle: str) -> MemoKeys:
        """A first key."""
        return cls(handle, X25519PrivateKey.generate())

    def renewed(self) -> MemoKeys:
        """The same with another current key: keep it, then publish it."""
        keys = (self.current, *self.former)
        return MemoKeys(self.handle, X25519PrivateKey.generate(), keys, self.former_handles)

    def renamed(self, handle: str) -> MemoKeys:
        """The same under another handle of the wallet: keep it once the handle has changed."""
        return MemoKeys(handle, self.current, self.former, (self.handle, *self.former_handles))

    @property
    def handles(self) -> tuple[str, ...]:
        """The handle of now, and those before."""
        return (self.handle, *self.former_handles)

    @property
    def public_text(self) -> str:
        """The current public key as it is published."""
        return _text(self.current.public_key().public_bytes_raw())

    def to_json(self) -> dict[str, Any]:
        """The keys as they may be kept; they are secret."""
        keys = [_text(key.private_bytes_raw()) for key in (self.current, *self.former)]
        return {"handle": self.handle, "memo_keys": keys, "former_handles": list(self.former_handles)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> MemoKeys:
        """Keys that were kept."""
        current, *former = (
            X25519PrivateKey.from_private_bytes(_bytes(each)) for each in content["memo_keys"]
        )
        return cls(content["handle"], current, tuple(former), tuple(content.get("former_handles", ())))


def seal_memo(text: str, *, payment_id: UUID, payer: MemoKeys, payee: str, payee_key: str) -> str:
    """A memo for a payment, as it is sent.

    ``payee`` is the payee's handle, ``payee_key`` what it published. ``MemoRefused`` with the
    code ``memo_too_long``, ``memo_malformed`` or ``memo_key_malformed``.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise MemoRefused("memo_malformed", "The memo is no text that can be written in UTF-8.") from None
    size = next((size for size in MEMO_BYTES if len(raw) <= _room(size)), None)
    if size is None:
        raise MemoRefused(
            "memo_too_long", f"A memo has at most {TEXT_BYTES_MAX} bytes; this one has {len(raw)}."
        )
    about = _about(payment_id, payer.handle, payee)
    key = os.urandom(_KEY_BYTES)
    try:
        for_payee = SUITE.encrypt(key, X25519PublicKey.from_public_bytes(_bytes(payee_key)), about + _PAYEE)
    except ValueError:
        raise MemoRefused("memo_key_malformed", "The payee's memo key is none.") from None
    for_payer = SUITE.encrypt(key, payer.current.public_key(), about + _PAYER)
    head = bytes([VERSION]) + for_payee + for_payer
    plain = len(raw).to_bytes(_LENGTH_BYTES, "big") + raw.ljust(_room(size), b"\0")
    return _text(head + ChaCha20Poly1305(key).encrypt(_NONCE, plain, about + head))


def open_memo(memo: str, keys: MemoKeys, *, payment_id: UUID, payer: str, payee: str) -> str:
    """The text of a payment's memo, for one of its parties.

    ``MemoRefused`` with the code ``memo_malformed`` when it is none, and
    ``memo_not_readable`` when it is another payment's, was changed, or none of the keys fits.
    What the payer wrote is shown as text, and never trusted as anything else.
    """
    try:
        raw = _bytes(memo)
    except ValueError:
        raw = b""
    if len(raw) not in MEMO_BYTES or raw[0] != VERSION:
        raise MemoRefused("memo_malformed", "This is no memo that this client can read.")
    about = _about(payment_id, payer, payee)
    head = raw[:_HEAD_BYTES]
    wrapped = {
        _PAYEE: head[1 : 1 + _WRAPPED_BYTES],
        _PAYER: head[1 + _WRAPPED_BYTES :],
    }
    # A wallet is one of both; the handle says which, whatever it is written like.
    own = {_bare(handle) for handle in keys.handles}
    role = _PAYER if _bare(payer) in own else _PAYEE
    key = _unwrapped(wrapped[role], (keys.current, *keys.former), about + role)
    try:
        plain = ChaCha20Poly1305(key).decrypt(_NONCE, raw[_HEAD_BYTES:], about + head)
        return _unfilled(plain)
    except (InvalidTag, ValueError):
        raise _not_readable() from None


def open_memo_of_line(memo: str, keys: MemoKeys, *, payment_id: UUID, outward: bool, other: str) -> str:
    """``open_memo`` beside a line of history, which names the other party alone.

    The own handle is the one of that time: each that the wallet had is tried.
    """
    for own in keys.handles:
        payer, payee = (own, other) if outward else (other, own)
        try:
            return open_memo(memo, keys, payment_id=payment_id, payer=payer, payee=payee)
        except MemoRefused as refused:
            if refused.code != "memo_not_readable":
                raise
    raise _not_readable()


def _unfilled(plain: bytes) -> str:
    length, filled = int.from_bytes(plain[:_LENGTH_BYTES], "big"), plain[_LENGTH_BYTES:]
    if length > len(filled) or any(filled[length:]):
        raise ValueError("not filled up as a memo is")
    return filled[:length].decode()


def _unwrapped(wrapped: bytes, keys: Sequence[X25519PrivateKey], info: bytes) -> bytes:
    for key in keys:
        try:
            return SUITE.decrypt(wrapped, key, info)
        except (InvalidTag, ValueError):
            continue
    raise _not_readable()


def _not_readable() -> MemoRefused:
    return MemoRefused("memo_not_readable", "None of the keys opens this memo beside this payment.")


def _room(size: int) -> int:
    """Bytes of text in a memo of this size."""
    return size - _HEAD_BYTES - _LENGTH_BYTES - _TAG_BYTES


def _about(payment_id: UUID, payer: str, payee: str) -> bytes:
    parts = [_bare(handle).encode() for handle in (payer, payee)]
    return b"nugpay memo 1\0" + payment_id.bytes + b"".join(bytes([len(part)]) + part for part in parts)


def _bare(handle: str) -> str:
    return handle.removeprefix("@").lower()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
