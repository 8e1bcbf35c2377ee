"""Receipts: what a payment was, signed by the bank, verified here without a network.

Keep the keys (``Receipts.keys``) from a time when you had reason to believe the server, as
``ReceiptKeys.to_json`` writes them; from then on ``verify_receipt`` needs nothing else. It
is strict: a receipt has one form, and any changed bit is refused. A receipt states what
happened when the payment was made; what was given back later, it does not say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nugpay_client.cbor import CBORMalformed, Tagged, decode, encode
from nugpay_client.connection import Connection
from nugpay_client.errors import AnswerMalformed, ReceiptRefused

LENGTH_MAX: Final = 1024
"""Longest receipt, in bytes; the longest that the bank writes has some 280."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MAX: Final = 253_402_300_799
_COSE_SIGN1, _EDDSA, _ALGORITHM, _KEY_ID = 18, -8, 1, 4
_FORM, _ID, _ASSET, _AMOUNT, _TIME, _PAYER, _PAYEE, _REFERENCE, _FEE = range(9)
_VERSION: Final = 1
_NEEDED: Final = {_FORM, _ID, _ASSET, _AMOUNT, _TIME, _PAYER, _PAYEE}
_HANDLE = re.compile(r"[a-z][a-z0-9_]{2,29}", re.ASCII)
_CODE = re.compile(r"[A-Z]{2,16}", re.ASCII)
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,20})(\.[0-9]{1,18})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the bank has signed."""

    payment_id: UUID
    asset: str
    amount: Decimal
    """What the payee got."""
    created_at: datetime
    payer: str
    payee: str
    reference: UUID | None
    fee: Decimal | None
    """What the payer paid on top; only the payer's own receipt says it."""
    key_id: str
    """The key that it was signed with."""


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A COSE_Sign1 (RFC 9052 section 4.2), taken apart and not verified."""

    protected: bytes
    unprotected: dict[Any, Any]
    payload: bytes
    signature: bytes

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether it was signed with the other half of an Ed25519 key (32 bytes)."""
        message = encode(["Signature1", self.protected, b"", self.payload])
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(self.signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class ReceiptKeys:
    """The bank's public keys, by their thumbprints."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        """``keys`` are 32 bytes each, by RFC 7638 thumbprint."""
        self._keys = dict(keys)

    @classmethod
    def from_json(cls, text: str | bytes) -> ReceiptKeys:
        """Read a JSON Web Key Set, or one key alone; ``ValueError`` when it is none.

        A key's name is computed here, never believed.
        """
        content = json.loads(text)
        listed = content["keys"] if isinstance(content, dict) and "keys" in content else [content]
        try:
            raw = [_public_key(each) for each in listed]
        except (KeyError, TypeError, AttributeError, binascii.Error):
            raise ValueError("this is no JSON Web Key Set of receipt keys") from None
        return cls({_thumbprint(each): each for each in raw})

    def to_json(self) -> str:
        """The keys as a JSON Web Key Set, to be kept."""
        keys = [
            {"kty": "OKP", "crv": "Ed25519", "kid": name, "x": _base64url(raw)}
            for name, raw in self._keys.items()
        ]
        return json.dumps({"keys": keys})

    def get(self, key_id: str) -> bytes | None:
        """The key of that name."""
        return self._keys.get(key_id)


class Receipts:
    """A wallet's receipts; found as ``Wallet.receipts``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, payment_id: UUID) -> bytes:
        """The receipt of a payment of this wallet: keep it, show it, verify it anywhere."""
        content = (await self._connection.send("GET", f"/v1/payments/{payment_id}/receipt")).content
        try:
            return _from_text(content["receipt"])
        except (ReceiptRefused, KeyError, TypeError):
            raise AnswerMalformed("the answer holds no receipt") from None

    async def keys(self) -> ReceiptKeys:
        """The bank's receipt keys, former ones as well."""
        content = (await self._connection.send("GET", "/v1/receipt_keys")).content
        try:
            return ReceiptKeys.from_json(json.dumps(content))
        except ValueError:
            raise AnswerMalformed("the answer holds no receipt keys") from None


def receipt_text(receipt: bytes) -> str:
    """A receipt as text, for messages and QR codes."""
    return _base64url(receipt)


def verify_receipt(receipt: bytes | str, keys: ReceiptKeys) -> Receipt:
    """What a receipt says, as bytes or as text, if one of ``keys`` has signed it.

    ``ReceiptRefused`` otherwise; its ``code`` says whether it is damaged (``receipt_malformed``),
    signed with a key that is not among them (``receipt_key_unknown``), or signed by nobody
    (``receipt_signature_wrong``).
    """
    data = _from_text(receipt) if isinstance(receipt, str) else receipt
    message = read_message(data)
    key_id = _signed_with(message)
    key = keys.get(key_id)
    if key is None:
        raise ReceiptRefused("receipt_key_unknown", f"No key that you have is {key_id}.")
    if not message.is_signed_by(key):
        raise ReceiptRefused("receipt_signature_wrong", "The bank has not signed this.")
    return _read(message.payload, key_id)


def read_message(data: bytes) -> SignedMessage:
    """Take a COSE_Sign1 apart; refused as ``receipt_malformed`` when it is none in its one form."""
    try:
        content = decode(data) if len(data) <= LENGTH_MAX else None
    except CBORMalformed:
        content = None
    if not isinstance(content, Tagged) or content.number != _COSE_SIGN1:
        raise _malformed()
    match content.value:
        case [bytes(protected), dict(unprotected), bytes(payload), bytes(signature)] if len(signature) == 64:
            return SignedMessage(protected, unprotected, payload, signature)
        case _:
            raise _malformed()


def _signed_with(message: SignedMessage) -> str:
    try:
        protected = decode(message.protected)
    except CBORMalformed:
        raise _malformed() from None
    # What stands outside of the protected part is signed by nobody: there is nothing.
    name = protected.get(_KEY_ID) if isinstance(protected, dict) and not message.unprotected else None
    if not isinstance(name, bytes) or len(name) != 32 or protected != {_ALGORITHM: _EDDSA, _KEY_ID: name}:
        raise _malformed()
    return _base64url(name)


def _read(payload: bytes, key_id: str) -> Receipt:
    try:
        found = decode(payload)
    except CBORMalformed:
        raise _malformed() from None
    if not isinstance(found, dict) or found.get(_FORM) != _VERSION:
        raise ReceiptRefused("receipt_malformed", "This receipt is of a form that this app does not know.")
    if not _NEEDED <= found.keys() <= _NEEDED | {_REFERENCE, _FEE}:
        raise _malformed()
    micros = found[_TIME]
    if not isinstance(micros, int) or not 0 < micros <= _SECONDS_MAX * 1_000_000:
        raise _malformed()
    return Receipt(
        payment_id=_uuid(found[_ID]),
        asset=_matching(_CODE, found[_ASSET]),
        amount=Decimal(_matching(_DECIMAL, found[_AMOUNT])),
        created_at=_EPOCH + timedelta(microseconds=micros),
        payer="@" + _matching(_HANDLE, found[_PAYER]),
        payee="@" + _matching(_HANDLE, found[_PAYEE]),
        reference=_uuid(found[_REFERENCE]) if _REFERENCE in found else None,
        fee=Decimal(_matching(_DECIMAL, found[_FEE])) if _FEE in found else None,
        key_id=key_id,
    )


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _malformed()
    return value


def _uuid(value: object) -> UUID:
    if not isinstance(value, bytes) or len(value) != 16:
        raise _malformed()
    return UUID(bytes=value)


def _from_text(text: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
    except (binascii.Error, ValueError):
        raise _malformed() from None
    if _base64url(data) != text.strip():
        # The last character has bits that say nothing: only one spelling counts.
        raise _malformed()
    return data


def _public_key(jwk: dict[str, Any]) -> bytes:
    raw = base64.urlsafe_b64decode(jwk["x"] + "=")
    if (jwk["kty"], jwk["crv"], len(raw)) != ("OKP", "Ed25519", 32):
        raise ValueError("a receipt key is an Ed25519 key")
    return raw


def _thumbprint(raw: bytes) -> str:
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64url(raw)}"}}'
    return _base64url(hashlib.sha256(members.encode()).digest())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _malformed() -> ReceiptRefused:
    return ReceiptRefused("receipt_malformed", "This is no receipt, or it is damaged.")
