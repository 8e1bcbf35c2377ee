"""Device keys: an Ed25519 or P-256 key pair that signs a device's requests.

``DeviceKey`` keeps the private half in this process and saves it as PEM, encrypted
with a passphrase. A caller whose key lives in secure hardware implements
``RequestSigner`` instead; nothing else of this library touches private keys.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Literal, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

Algorithm = Literal["ed25519", "ecdsa-p256-sha256"]
"""How a key signs; RFC 9421's names."""


class RequestSigner(Protocol):
    """What the client asks of a key, wherever its private half lives."""

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm that ``sign`` uses."""

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public half as a JSON Web Key."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes: Ed25519's signature, or ECDSA's r and s, 32 bytes each."""


class DeviceKey:
    """A key pair in this process; a ``RequestSigner``."""

    def __init__(self, private_key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        """Use an existing private key: Ed25519, or EC on P-256."""
        if _curve(private_key) not in {None, "secp256r1"}:
            raise ValueError("an EC key must be on the curve P-256")
        self._private_key = private_key

    @classmethod
    def generate(cls, algorithm: Algorithm = "ed25519") -> DeviceKey:
        """A new key pair from the system's randomness."""
        if algorithm == "ed25519":
            return cls(ed25519.Ed25519PrivateKey.generate())
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None) -> DeviceKey:
        """Read a key from PEM (PKCS #8); ``ValueError`` or ``TypeError`` when it cannot be."""
        key = serialization.load_pem_private_key(pem, passphrase)
        if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise TypeError("a device key is Ed25519 or P-256")
        return cls(key)

    def to_pem(self, passphrase: bytes) -> bytes:
        """The private key as encrypted PEM (PKCS #8)."""
        return self._private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )

    @classmethod
    def load(cls, path: Path, passphrase: bytes) -> DeviceKey:
        """Read the key that ``save`` wrote."""
        return cls.from_pem(path.read_bytes(), passphrase)

    def save(self, path: Path, passphrase: bytes) -> None:
        """Write the key, encrypted, readable by its owner only; an existing file is never replaced."""
        with path.open("xb") as file:
            path.chmod(0o600)
            file.write(self.to_pem(passphrase))

    @property
    def algorithm(self) -> Algorithm:
        """``ed25519`` or ``ecdsa-p256-sha256``."""
        if isinstance(self._private_key, ed25519.Ed25519PrivateKey):
            return "ed25519"
        return "ecdsa-p256-sha256"

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public half as a JSON Web Key."""
        if isinstance(self._private_key, ed25519.Ed25519PrivateKey):
            return {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": _b64(self._private_key.public_key().public_bytes_raw()),
            }
        numbers = self._private_key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return {"kty": "EC", "crv": "P-256", "x": _b64(x), "y": _b64(y)}

    def sign(self, message: bytes) -> bytes:
        """64 bytes over ``message``."""
        if isinstance(self._private_key, ed25519.Ed25519PrivateKey):
            return self._private_key.sign(message)
        r, s = decode_dss_signature(self._private_key.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def key_id(jwk: dict[str, str]) -> str:
    """RFC 7638 thumbprint of a public key: how its device is named in a signature."""
    members = ",".join(f'"{name}":"{jwk[name]}"' for name in sorted(jwk))
    return _b64(hashlib.sha256(f"{{{members}}}".encode()).digest())


def _curve(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str | None:
    return key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
