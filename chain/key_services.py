"""Key services: who holds the signer's key and signs with it.

The keystore of this machine is one; a key management service or a hardware module is
another. It gets 32 bytes and answers an ECDSA signature over secp256k1 in DER, as
such services do; that is all it is asked, so that a service needs no knowledge of
Ethereum. What comes back is not believed: it is brought into the one form that the
chain takes (low s, EIP-2), and must be the signature of the address that is known.
A service may sign the same twice with different bytes: the signing log keeps the
bytes that were first given away, and gives those again.
"""

from __future__ import annotations

from typing import Final, Protocol

from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from eth_hash.auto import keccak

from chain.transactions import SignedTransaction, Transaction, with_signature
from foundation.errors import InvariantViolation, Unavailable

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Number of points of secp256k1; a signature with s above half of it is not mined."""


class KeyService(Protocol):
    """Holds one secp256k1 key and signs with it; shows its address and nothing else."""

    @property
    def address(self) -> str:
        """The key's address, in lower case."""
        ...

    async def sign_digest(self, digest: bytes) -> bytes:
        """An ECDSA signature of 32 bytes, in DER. Raises ``Unavailable`` when it cannot now."""
        ...


def unavailable(detail: str) -> Unavailable:
    """What a service raises that does not answer; nothing has left the signer then."""
    return Unavailable("key_service_unavailable", f"The key service: {detail}.", outcome_unknown=False)


async def sign_with(service: KeyService, transaction: Transaction) -> SignedTransaction:
    """Have a transaction signed.

    Raises ``Unavailable`` as the service does, and ``InvariantViolation`` when what it
    answers is no signature of its address: such bytes must not leave.
    """
    digest = transaction.digest()
    try:
        r, s = decode_dss_signature(await service.sign_digest(digest))
    except ValueError as error:
        raise InvariantViolation("the key service answered no signature") from error
    if not (0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER):
        raise InvariantViolation("the key service answered no signature")
    s = min(s, CURVE_ORDER - s)
    compact = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    for parity in (0, 1):
        if _signer_of(compact, parity, digest) == service.address:
            return with_signature(transaction, r=r, s=s, parity=parity)
    raise InvariantViolation(f"the key service's signature is not that of {service.address}")


def _signer_of(compact: bytes, parity: int, digest: bytes) -> str | None:
    try:
        key = PublicKey.from_signature_and_message(compact + bytes([parity]), digest, hasher=None)
    # libsecp256k1 finds no point for this parity, and coincurve says so with the bare class.
    except Exception:  # noqa: BLE001
        return None
    return "0x" + keccak(key.format(compressed=False)[1:])[12:].hex()
