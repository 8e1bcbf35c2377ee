"""Memo keys: the public key that others encrypt memos to a wallet with.

A wallet has one, and publishes another one whenever it likes: memos from before are read
with the private key from before, and with no other. The private keys never come here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from sqlalchemy.dialects.postgresql import insert

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from wallets.memo_errors import MemoCode
from wallets.memo_models import MemoKeyRow
from wallets.memos import parse_unpadded
from wallets.wallets import Wallet


@dataclass(frozen=True, slots=True)
class MemoKey:
    """A wallet's public key for memos."""

    public_key: bytes
    """X25519, 32 bytes."""
    published_at: datetime


def parse_memo_key(text: str) -> bytes:
    """A public key that somebody publishes; refused as ``memo_key_malformed``."""
    raw = parse_unpadded(text)
    try:
        # A point of small order has no secret: whatever were encrypted to it, anybody could read.
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(raw or b""))
    except ValueError:
        raise Refusal(
            MemoCode.MEMO_KEY_MALFORMED, "A memo key is base64url, without padding, of an X25519 public key."
        ) from None
    return raw or b""


async def publish_memo_key(database: Database, clock: Clock, *, wallet: Wallet, public_key: bytes) -> MemoKey:
    """Have memos to a wallet be encrypted to ``public_key`` from now on; safe to repeat."""
    now = clock.now()
    made = insert(MemoKeyRow).values(wallet_id=wallet.id, public_key=public_key, published_at=now)
    async with database.connection() as connection:
        await connection.execute(
            made.on_conflict_do_update(
                index_elements=[MemoKeyRow.wallet_id],
                set_={"public_key": public_key, "published_at": now},
            )
        )
    return MemoKey(public_key, now)
