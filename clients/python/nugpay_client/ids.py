"""Ids: UUIDv7 (RFC 9562), made by the device and kept until the answer is known."""

from __future__ import annotations

import secrets
from uuid import UUID

from nugpay_client.clock import DeviceClock


def new_id(clock: DeviceClock) -> UUID:
    """A new id for one payment or withdrawal: 48 bits of milliseconds, 74 random bits."""
    value = (int(clock.now() * 1000) & (2**48 - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
