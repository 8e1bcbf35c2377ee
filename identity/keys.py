"""Device keys: the public half of a P-256 or Ed25519 key pair.

Keys come as JSON Web Keys (RFC 7517; Ed25519 as in RFC 8037) and are named by
their RFC 7638 thumbprint, which a client computes by itself. The algorithm
belongs to the key: a signature never chooses how it is verified.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from foundation.errors import Refusal
from identity.errors import IdentityCode

SIGNATURE_BYTES: Final = 64
"""Both algorithms sign with 64 bytes: Ed25519's R‖S, and ECDSA's r‖s (RFC 9421 3.3.4)."""

_COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""32 bytes as unpadded base64url."""

_FIELD_PRIME: Final = 2**255 - 19
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        _FIELD_PRIME - 1,
    }
)
"""y coordinates of the points of small order, for which anybody can make signatures that verify."""


class KeyAlgorithm(StrEnum):
    """How a device signs; the values are RFC 9421's names (section 6.2.2)."""

    ED25519 = "ed25519"
    """EdDSA over Curve25519 (RFC 8032)."""
    P256 = "ecdsa-p256-sha256"
    """ECDSA over P-256 with SHA-256; what phones' secure hardware offers."""


class PublicKey:
    """A device's public key, ready to verify; equal when algorithm and bytes are."""

    def __init__(self, algorithm: KeyAlgorithm, raw: bytes) -> None:
        """``raw`` is 32 bytes of Ed25519 or the 65 bytes of an uncompressed P-256 point.

        Refused as ``public_key_malformed`` when it is no such key.
        """
        self.algorithm: Final = algorithm
        self.raw: Final = raw
        self._key = _load_ed25519(raw) if algorithm is KeyAlgorithm.ED25519 else _load_p256(raw)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, str]) -> PublicKey:
        """Read a JSON Web Key of exactly the members that its kind has.

        ``{"kty":"OKP","crv":"Ed25519","x"}`` or ``{"kty":"EC","crv":"P-256","x","y"}``;
        refused as ``public_key_malformed`` otherwise. A private key (member ``d``) is
        refused like anything unknown: it has no business here.
        """
        kind = (jwk.get("kty"), jwk.get("crv"))
        if kind == ("OKP", "Ed25519") and jwk.keys() == {"kty", "crv", "x"}:
            return cls(KeyAlgorithm.ED25519, _coordinate(jwk["x"]))
        if kind == ("EC", "P-256") and jwk.keys() == {"kty", "crv", "x", "y"}:
            return cls(KeyAlgorithm.P256, b"\x04" + _coordinate(jwk["x"]) + _coordinate(jwk["y"]))
        raise _malformed("A public key is an Ed25519 or P-256 key as a JSON Web Key.")

    def to_jwk(self) -> dict[str, str]:
        """The key as a JSON Web Key, members in the order that RFC 7638 hashes them."""
        if self.algorithm is KeyAlgorithm.ED25519:
            return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(self.raw)}
        x, y = self.raw[1:33], self.raw[33:]
        return {"crv": "P-256", "kty": "EC", "x": _base64url(x), "y": _base64url(y)}

    @cached_property
    def key_id(self) -> str:
        """RFC 7638 thumbprint: SHA-256 of the canonical JSON Web Key, as 43 characters."""
        members = ",".join(f'"{name}":"{value}"' for name, value in self.to_jwk().items())
        return _base64url(hashlib.sha256(f"{{{members}}}".encode()).digest())

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` (64 bytes) was made over ``message`` with this key's other half."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if isinstance(self._key, Ed25519PublicKey):
                # libsodium takes half the time of OpenSSL for this, and refuses what is malleable.
                crypto_sign_open(signature + message, self.raw)
            else:
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                self._key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
        except (InvalidSignature, BadSignatureError):
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.algorithm is other.algorithm and self.raw == other.raw

    def __hash__(self) -> int:
        return hash((self.algorithm, self.raw))


def _load_ed25519(raw: bytes) -> Ed25519PublicKey:
    if len(raw) != 32:
        raise _malformed("An Ed25519 key has 32 bytes.")
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _FIELD_PRIME or y in _SMALL_ORDER_Y:
        raise _malformed("This Ed25519 key is not safe to use: anybody could sign for it.")
    return Ed25519PublicKey.from_public_bytes(raw)


def _load_p256(raw: bytes) -> EllipticCurvePublicKey:
    if len(raw) != 65 or raw[0] != 4:
        raise _malformed("A P-256 key is an uncompressed point of 65 bytes.")
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)
    except ValueError:
        raise _malformed("This point is not on the curve P-256.") from None


def _coordinate(text: object) -> bytes:
    if not isinstance(text, str) or not _COORDINATE.fullmatch(text):
        raise _malformed("A coordinate of a key is 32 bytes in base64url without padding.")
    try:
        raw = base64.urlsafe_b64decode(text + "=")
    except binascii.Error:
        raise _malformed("A coordinate of a key is 32 bytes in base64url without padding.") from None
    if _base64url(raw) != text:
        raise _malformed("A coordinate of a key has one spelling; this one is not canonical.")
    return raw


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _malformed(detail: str) -> Refusal:
    return Refusal(IdentityCode.PUBLIC_KEY_MALFORMED, detail)
