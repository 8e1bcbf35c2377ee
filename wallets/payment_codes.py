"""Payment codes: whom to pay, how much and by when, as a text that fits a small QR code.

    NUGPAY:1<base32>            what a QR code holds; upper case, so that QR packs it tightly
    nugpay:1<base32>            the same as a URI
    https://<public url>/p/1<base32>      the same as a link

"1" is the version; "2" is the same for a payee who is not listed, with the pass by which the
payer finds the wallet (wallets.payee_passes). The base32 (RFC 4648, without padding) is of these bytes:

    1 byte      length of the handle in the upper five bits, then a bit each for amount,
                expiry and reference, if there is one
    3–30 bytes  the payee's handle
    varint      number of the asset's ledger
    varint      amount in minor units, if any
    varint      expiry in seconds since 1970, if any
    16 bytes    reference, if any
    10 bytes    the pass, in version 2 alone
    4 bytes     CRC-32 of "NUGPAY:", the version and all bytes before

A varint is LEB128 in its shortest form. Each code has one text of each form and every
other text is refused, so that two readers never see two different payments. The checksum
finds damage, any one character that changed for certain; it proves nothing about who made
the code. Who pays sees the payee's name and the amount before, and signs those.
"""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from foundation.assets import Asset, asset_by_ledger
from foundation.clock import SECOND_NS, Clock
from foundation.errors import FoundationCode, Refusal
from foundation.money import AMOUNT_LIMIT, Money
from wallets.errors import WalletCode
from wallets.handles import parse_handle
from wallets.payee_passes import PASS_BYTES
from wallets.request_errors import AskingCode

VERSION: Final = "1"
"""The version of a code whose payee is found by the handle."""

VERSION_FOR_UNLISTED: Final = "2"
"""The version of a code that carries a pass; readers of before say that they do not know it."""

SCHEME: Final = "nugpay:"
"""Of a code as a URI; in upper case it begins the text of a QR code."""

TEXT_LENGTH_MAX: Final = 512
"""Longest text that is looked at: a link with a long host."""

SECONDS_MAX: Final = 10 * 366 * 86_400
"""Longest time that a code may be for."""

_EXPIRY_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""
_HAS_AMOUNT, _HAS_EXPIRY, _HAS_REFERENCE = 1, 2, 4
_BASE32 = re.compile(r"[A-Z2-7]{14,128}", re.ASCII)
_MALFORMED = "This is no payment code."


@dataclass(frozen=True, slots=True)
class PaymentCode:
    """A payment that somebody proposes; whoever reads it may pay it, once or often or never."""

    payee_handle: str
    """Normalised, without @."""
    asset: Asset
    amount: Money | None = None
    """None leaves it to the payer."""
    expires_at_ns: int | None = None
    """A whole second, in nanoseconds since 1970; None is for ever."""
    reference: UUID | None = None
    """The payee's own number; the payment carries it."""
    payee_pass: bytes | None = None
    """By which the payee is found who is not listed."""


def new_payment_code(
    clock: Clock,
    *,
    payee_handle: str,
    asset: Asset,
    amount: Money | None = None,
    seconds: int | None = None,
    reference: UUID | None = None,
    payee_pass: bytes | None = None,
) -> PaymentCode:
    """A code that is good for ``seconds`` from now, or for ever.

    Refused as ``amount_not_positive``, ``payment_code_expiry_out_of_range`` or, for a
    reference of zeros, which the ledger takes for none, ``id_malformed``.
    """
    if amount is not None and amount.minor <= 0:
        raise Refusal(WalletCode.AMOUNT_NOT_POSITIVE, "The amount must be more than zero.")
    if seconds is not None and not 1 <= seconds <= SECONDS_MAX:
        raise Refusal(
            AskingCode.PAYMENT_CODE_EXPIRY_OUT_OF_RANGE,
            f"A payment code lasts for 1 to {SECONDS_MAX} seconds, or for ever.",
        )
    if reference is not None and reference.int == 0:
        raise Refusal(FoundationCode.ID_MALFORMED, "A reference is a UUID other than the one of zeros.")
    expires_at_ns = None if seconds is None else (clock.now_ns() // SECOND_NS + seconds) * SECOND_NS
    return PaymentCode(payee_handle, asset, amount, expires_at_ns, reference, payee_pass)


def qr_text(code: PaymentCode) -> str:
    """The code as a QR code holds it."""
    return SCHEME.upper() + payload(code)


def uri(code: PaymentCode) -> str:
    """The code as a URI, which opens an app that knows the scheme."""
    return SCHEME + payload(code)


def link(code: PaymentCode, base_url: str) -> str:
    """The code as a link under the API's public URL."""
    return f"{_link_begin(base_url)}{payload(code)}"


def payload(code: PaymentCode) -> str:
    """What is the same in every form: version and base32."""
    version, content = _version(code), _content(code)
    checked = content + _check(version, content)
    return version + base64.b32encode(checked).decode().rstrip("=")


def read_payment_code(text: str, *, base_url: str | None = None) -> PaymentCode:
    """The code in a text of any of the three forms, of a link only under ``base_url``.

    Refused as ``payment_code_malformed``, ``payment_code_version_unknown``,
    ``payment_code_checksum`` or ``unknown_asset``. Whether it has expired is not looked at.
    """
    begins = [SCHEME, SCHEME.upper(), *([_link_begin(base_url)] if base_url is not None else [])]
    begin = next((begin for begin in begins if text.startswith(begin)), None)
    if begin is None or len(text) > TEXT_LENGTH_MAX:
        raise _malformed()
    return read_payload(text.removeprefix(begin))


def read_payload(text: str) -> PaymentCode:
    """The code in a payload alone; refused as ``read_payment_code`` does."""
    version, rest = text[:1], text[1:]
    is_known = version in {VERSION, VERSION_FOR_UNLISTED}
    if not is_known and re.fullmatch(r"[0-9A-Z]", version, re.ASCII):
        raise Refusal(
            AskingCode.PAYMENT_CODE_VERSION_UNKNOWN, f"This payment code has version {version}, not 1 or 2."
        )
    if not is_known or not _BASE32.fullmatch(rest):
        raise _malformed()
    raw = _base32_bytes(rest)
    content, check = raw[:-4], raw[-4:]
    if _check(version, content) != check:
        raise Refusal(
            AskingCode.PAYMENT_CODE_CHECKSUM,
            "A character of the code is wrong; scan or copy it again.",
        )
    code = _read_content(content, has_pass=version == VERSION_FOR_UNLISTED)
    # Whatever could be written otherwise, as a long varint, would be a second text of one code.
    if _content(code) != content:
        raise _malformed()
    return code


def check_not_expired(code: PaymentCode, clock: Clock) -> None:
    """Refuse a code whose time is over as ``payment_code_expired``."""
    if code.expires_at_ns is not None and clock.now_ns() >= code.expires_at_ns:
        raise Refusal(
            AskingCode.PAYMENT_CODE_EXPIRED, "The time of this payment code is over; ask for a new one."
        )


def _version(code: PaymentCode) -> str:
    return VERSION if code.payee_pass is None else VERSION_FOR_UNLISTED


def _check(version: str, content: bytes) -> bytes:
    return zlib.crc32((SCHEME.upper() + version).encode() + content).to_bytes(4, "big")


def _link_begin(base_url: str) -> str:
    return f"{base_url.rstrip('/')}/p/"


def _malformed() -> Refusal:
    return Refusal(AskingCode.PAYMENT_CODE_MALFORMED, _MALFORMED)


def _base32_bytes(text: str) -> bytes:
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raise _malformed() from None
    # The last character may hold bits that belong to no byte; they are zero in the one form.
    if base64.b32encode(raw).decode().rstrip("=") != text:
        raise _malformed()
    return raw


def _content(code: PaymentCode) -> bytes:
    handle = code.payee_handle.encode()
    has = (
        (_HAS_AMOUNT if code.amount is not None else 0)
        | (_HAS_EXPIRY if code.expires_at_ns is not None else 0)
        | (_HAS_REFERENCE if code.reference is not None else 0)
    )
    parts = [bytes([len(handle) << 3 | has]), handle, _varint(code.asset.ledger)]
    if code.amount is not None:
        parts.append(_varint(code.amount.minor))
    if code.expires_at_ns is not None:
        parts.append(_varint(code.expires_at_ns // SECOND_NS))
    if code.reference is not None:
        parts.append(code.reference.bytes)
    if code.payee_pass is not None:
        parts.append(code.payee_pass)
    return b"".join(parts)


def _read_content(content: bytes, *, has_pass: bool) -> PaymentCode:
    rest = _Bytes(content)
    head = rest.take(1)[0]
    handle = rest.take(head >> 3).decode("latin-1")
    ledger = rest.varint(AMOUNT_LIMIT)
    amount = rest.varint(AMOUNT_LIMIT) if head & _HAS_AMOUNT else None
    expiry_s = rest.varint(_EXPIRY_MAX) if head & _HAS_EXPIRY else None
    reference = UUID(bytes=rest.take(16)) if head & _HAS_REFERENCE else None
    payee_pass = rest.take(PASS_BYTES) if has_pass else None
    is_whole = rest.is_empty and amount != 0 and expiry_s != 0
    if not is_whole or (reference is not None and reference.int == 0) or not _is_handle(handle):
        raise _malformed()
    asset = asset_by_ledger(ledger)
    return PaymentCode(
        handle,
        asset,
        Money(amount, asset) if amount is not None else None,
        expiry_s * SECOND_NS if expiry_s is not None else None,
        reference,
        payee_pass,
    )


def _is_handle(text: str) -> bool:
    try:
        return parse_handle(text) == text
    except Refusal:
        return False


class _Bytes:
    """Bytes that are read from the front; too few are refused as ``payment_code_malformed``."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def is_empty(self) -> bool:
        return not self._content

    def take(self, count: int) -> bytes:
        if len(self._content) < count:
            raise _malformed()
        taken, self._content = self._content[:count], self._content[count:]
        return taken

    def varint(self, largest: int) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if value > largest:
                raise _malformed()
            if byte < 0x80:
                return value


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
