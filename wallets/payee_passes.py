"""Payee passes: what lets a payer find a wallet that is not listed.

An unlisted wallet is found by its handle together with its pass, which stands in the
payment codes that it makes itself. A pass is a MAC of the wallet and of the moment since
which it is unlisted, under the pepper: nothing is stored, nobody without the pepper can
make one, and to be listed and unlisted again ends all passes of before. It proves that
its holder was given a code, and nothing else; who holds it may give it on.
"""

from __future__ import annotations

import base64
import hmac
from datetime import datetime
from typing import Final
from uuid import UUID

from foundation.clock import microseconds_of
from identity.pepper import Pepper

PASS_BYTES: Final = 10
"""80 bits: each guess is a signed request, and guesses are bounded as look-ups are."""

PASS_LENGTH: Final = 16
"""Characters of a pass as text."""


class PayeePasses:
    """Makes the passes of wallets, and knows them again."""

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper

    def of(self, wallet_id: UUID, unlisted_at: datetime) -> bytes:
        """The pass of a wallet that is unlisted since then."""
        since = microseconds_of(unlisted_at).to_bytes(8, "big")
        return self._pepper.mac("payee pass", wallet_id, since)[:PASS_BYTES]

    def opens(self, wallet_id: UUID, unlisted_at: datetime | None, shown: bytes | None) -> bool:
        """Whether a payer who shows this, if anything, may find the wallet by its handle."""
        if unlisted_at is None:
            return True
        return shown is not None and hmac.compare_digest(self.of(wallet_id, unlisted_at), shown)


def pass_text(raw: bytes) -> str:
    """A pass as it is sent: base32 in upper case, as payment codes are."""
    return base64.b32encode(raw).decode()


def parse_pass(text: str) -> bytes | None:
    """The bytes of a pass that somebody shows; what is none is as none, and finds nobody."""
    try:
        raw = base64.b32decode(text)
    except ValueError:
        return None
    return raw if len(raw) == PASS_BYTES else None
