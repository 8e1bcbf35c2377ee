"""Payment codes: a payment that somebody proposes, as a QR code's text, a URI or a link.

Made and read here without a network. Reading is strict: each code has one text in each
form, a damaged character is found, and a code whose time is over is not paid. Show the
payee and the amount before an order is made of it; ``Wallet.payee`` says whether the
payee is there.
"""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NoReturn
from uuid import UUID

from nugpay_client.errors import PaymentCodeRefused

ASSETS: Final = {1: ("USDT", 6), 2: ("USDC", 6), 3: ("DMMK", 2), 4: ("THB", 2), 5: ("XAU", 4)}
"""By number: code and decimals. Both never change; a code of a newer asset is refused."""

_NUMBERS: Final = {code: number for number, (code, _) in ASSETS.items()}
_SCALES: Final = dict(ASSETS.values())
_SCHEME: Final = "nugpay:"
_VERSION: Final = "1"
_VERSION_FOR_UNLISTED: Final = "2"
_PASS_BYTES: Final = 10
_LENGTH_MAX: Final = 512
_MINOR_MAX: Final = 2**63 - 1
_EXPIRY_MAX: Final = 253_402_300_799
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_HAS_AMOUNT, _HAS_EXPIRY, _HAS_REFERENCE = 1, 2, 4
_HANDLE = re.compile(rb"[a-z][a-z0-9_]{2,29}")
_BASE32 = re.compile(r"[A-Z2-7]{14,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PaymentCode:
    """Whom to pay what, and by when."""

    payee: str
    """The handle, with @."""
    asset: str
    amount: Decimal | None = None
    """None leaves it to the payer."""
    expires_at: datetime | None = None
    """A whole second; None is never."""
    reference: UUID | None = None
    """The payee's own number; the payment carries it."""
    payee_pass: str | None = None
    """By which a payee is found who is not listed."""

    def __post_init__(self) -> None:
        _content(self)

    @property
    def qr_text(self) -> str:
        """For a QR code: upper case, which QR packs tightly."""
        return _SCHEME.upper() + self.payload

    @property
    def uri(self) -> str:
        """For a link within a device; it opens an app that knows the scheme."""
        return _SCHEME + self.payload

    def link(self, base_url: str) -> str:
        """For messages: a link under the server's public URL."""
        return f"{base_url.rstrip('/')}/p/{self.payload}"

    @property
    def payload(self) -> str:
        """What is the same in every form."""
        version = _VERSION if self.payee_pass is None else _VERSION_FOR_UNLISTED
        content = _content(self)
        checked = content + _check(version, content)
        return version + base64.b32encode(checked).decode().rstrip("=")

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over at an aware time."""
        return self.expires_at is not None and now >= self.expires_at


def read_payment_code(text: str, *, base_url: str | None = None) -> PaymentCode:
    """The code in a text of any form, of a link only under ``base_url``.

    ``PaymentCodeRefused`` with the codes of the server. Whether it is over is not looked at.
    """
    begins = [_SCHEME, _SCHEME.upper(), *([f"{base_url.rstrip('/')}/p/"] if base_url is not None else [])]
    begin = next((begin for begin in begins if text.startswith(begin)), None)
    if begin is None or len(text) > _LENGTH_MAX:
        _refuse("malformed", "This is no payment code.")
    payload = text.removeprefix(begin)
    version, rest = payload[:1], payload[1:]
    is_known = version in {_VERSION, _VERSION_FOR_UNLISTED}
    if not is_known and re.fullmatch(r"[0-9A-Z]", version, re.ASCII):
        _refuse("version_unknown", f"This payment code has version {version}; a newer app reads it.")
    if not is_known or not _BASE32.fullmatch(rest):
        _refuse("malformed", "This is no payment code.")
    raw = _bytes(rest)
    content, check = raw[:-4], raw[-4:]
    if _check(version, content) != check:
        _refuse("checksum", "A character of the payment code is wrong; scan or copy it again.")
    code = _read(content, has_pass=version == _VERSION_FOR_UNLISTED)
    if _content(code) != content:
        _refuse("malformed", "This is no payment code.")
    return code


def _check(version: str, content: bytes) -> bytes:
    return zlib.crc32((_SCHEME.upper() + version).encode() + content).to_bytes(4, "big")


def _refuse(kind: str, detail: str) -> NoReturn:
    raise PaymentCodeRefused(f"payment_code_{kind}", detail)


def _bytes(text: str) -> bytes:
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raw = b""
    if base64.b32encode(raw).decode().rstrip("=") != text:
        _refuse("malformed", "This is no payment code.")
    return raw


def _content(code: PaymentCode) -> bytes:
    """The bytes of a code; ``ValueError`` when there can be no such code."""
    handle = code.payee.removeprefix("@").encode()
    number = _NUMBERS.get(code.asset)
    if number is None or not _HANDLE.fullmatch(handle):
        raise ValueError("a payment code names a handle and an asset of this library")
    has = (
        (_HAS_AMOUNT if code.amount is not None else 0)
        | (_HAS_EXPIRY if code.expires_at is not None else 0)
        | (_HAS_REFERENCE if code.reference is not None else 0)
    )
    parts = [bytes([len(handle) << 3 | has]), handle, _varint(number)]
    if code.amount is not None:
        numerator, denominator = code.amount.as_integer_ratio()
        minor, rest = divmod(numerator * 10 ** _SCALES[code.asset], denominator)
        if rest or not 0 < minor <= _MINOR_MAX:
            raise ValueError("an amount is positive and has no more decimals than its asset")
        parts.append(_varint(minor))
    if code.expires_at is not None:
        since = code.expires_at - _EPOCH
        if since % _SECOND or not 0 < since // _SECOND <= _EXPIRY_MAX:
            raise ValueError("an expiry is a whole second")
        parts.append(_varint(since // _SECOND))
    if code.reference is not None:
        if code.reference.int == 0:
            raise ValueError("a reference is not zero")
        parts.append(code.reference.bytes)
    if code.payee_pass is not None:
        shown = base64.b32decode(code.payee_pass)
        if len(shown) != _PASS_BYTES:
            raise ValueError("a pass is ten bytes in base32")
        parts.append(shown)
    return b"".join(parts)


def _read(content: bytes, *, has_pass: bool) -> PaymentCode:
    rest = bytearray(content)
    (head,) = _take(rest, 1)
    handle = _take(rest, head >> 3)
    number = _take_varint(rest, _MINOR_MAX)
    minor = _take_varint(rest, _MINOR_MAX) if head & _HAS_AMOUNT else None
    seconds = _take_varint(rest, _EXPIRY_MAX) if head & _HAS_EXPIRY else None
    reference = UUID(bytes=_take(rest, 16)) if head & _HAS_REFERENCE else None
    shown = _take(rest, _PASS_BYTES) if has_pass else None
    is_whole = not rest and minor != 0 and seconds != 0 and (reference is None or reference.int != 0)
    if not is_whole or not _HANDLE.fullmatch(handle):
        _refuse("malformed", "This is no payment code.")
    if number not in ASSETS:
        raise PaymentCodeRefused("unknown_asset", "The code is in an asset that this app does not know.")
    asset, scale = ASSETS[number]
    return PaymentCode(
        payee=f"@{handle.decode()}",
        asset=asset,
        amount=Decimal(f"{minor}E-{scale}") if minor is not None else None,
        expires_at=_EPOCH + timedelta(seconds=seconds) if seconds is not None else None,
        reference=reference,
        payee_pass=base64.b32encode(shown).decode() if shown is not None else None,
    )


def _take(rest: bytearray, count: int) -> bytes:
    if len(rest) < count:
        _refuse("malformed", "This is no payment code.")
    taken = bytes(rest[:count])
    del rest[:count]
    return taken


def _take_varint(rest: bytearray, largest: int) -> int:
    value = shift = 0
    while True:
        (byte,) = _take(rest, 1)
        value |= (byte & 0x7F) << shift
        shift += 7
        if value > largest:
            _refuse("malformed", "This is no payment code.")
        if byte < 0x80:
            return value


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
