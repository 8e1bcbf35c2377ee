"""Receipts: what a payment was, signed by the bank, to be verified by anybody without a network.

A receipt is a COSE_Sign1 (RFC 9052) under Ed25519 over a map in deterministic CBOR. It
states what happened when the payment was made, and nothing that came later: a payment that
was given back has the same receipt as before, for it was made. So the same key gives the
same bytes for ever, and no receipt is stored.

The payer's says the fee, the payee's does not: what the payer paid on top is the payer's.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from foundation.cbor import Tagged, encode
from wallets.payments import Payment
from wallets.receipt_keys import ReceiptKeys
from wallets.wallets import Wallet

VERSION: Final = 1
"""The form of the payload; another form has another number."""

COSE_SIGN1: Final = 18
"""The tag of a signed message with one signer (RFC 9052 section 4.2)."""

EDDSA: Final = -8
"""The algorithm EdDSA (RFC 9053 section 2.2)."""

_ALGORITHM, _KEY_ID = 1, 4
"""Labels of protected header parameters (RFC 9052 section 3.1)."""

_FORM, _ID, _ASSET, _AMOUNT, _TIME, _PAYER, _PAYEE, _REFERENCE, _FEE = range(9)
"""Keys of the payload; numbers, since a receipt must fit a QR code that cheap cameras read."""


def receipt(keys: ReceiptKeys, payment: Payment, *, viewer: Wallet) -> bytes:
    """The receipt of a payment for ``viewer``, who paid or was paid."""
    payload = encode(_payload(payment, for_payer=viewer.id == payment.payer.id))
    protected = encode({_ALGORITHM: EDDSA, _KEY_ID: _raw(keys.key_id)})
    signature = keys.signing.sign(to_be_signed(protected, payload)).signature
    return encode(Tagged(COSE_SIGN1, [protected, {}, payload, signature]))


def to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """The bytes that a COSE_Sign1's signature is under (RFC 9052 section 4.4)."""
    return encode(["Signature1", protected, b"", payload])


def receipt_text(data: bytes) -> str:
    """A receipt as text, for messages and QR codes: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _payload(payment: Payment, *, for_payer: bool) -> dict[int, Any]:
    payload: dict[int, Any] = {
        _FORM: VERSION,
        _ID: payment.id.bytes,
        _ASSET: payment.amount.asset.code,
        # As everywhere: a decimal text at the asset's scale, so that a reader needs no table of scales.
        _AMOUNT: payment.amount.format(),
        # Microseconds since 1970, which is what the API says of it.
        _TIME: payment.created_at_ns // 1000,
        _PAYER: payment.payer.handle_at(payment.created_at_ns),
        _PAYEE: payment.payee.handle_at(payment.created_at_ns),
    }
    if payment.reference is not None:
        payload[_REFERENCE] = payment.reference.bytes
    if for_payer:
        payload[_FEE] = payment.fee.format()
    return payload


def _raw(thumbprint: str) -> bytes:
    return base64.urlsafe_b64decode(thumbprint + "=")
