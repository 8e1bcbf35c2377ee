"""Signatures of webhooks, by the Standard Webhooks specification (symmetric, v1).

    webhook-id: the event's id, the same each time it is sent
    webhook-timestamp: seconds since 1970 of this sending
    webhook-signature: v1,<base64 of HMAC-SHA256 under the secret of "id.timestamp.body">

While a secret is replaced there are two signatures, with a space between. A secret is
written as whsec_ and base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

SECRET_BEGIN: Final = "whsec_"  # noqa: S105 - how secrets begin, and none itself
"""How a secret is written before its base64."""

SECRET_BYTES: Final = 32
"""Random bytes of a secret; the specification asks for 24 to 64."""


def new_secret() -> bytes:
    """A secret that nobody knows yet."""
    return secrets.token_bytes(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """A secret as people and libraries get it."""
    return SECRET_BEGIN + base64.b64encode(secret).decode()


def signature_of(keys: Iterable[bytes], *, message_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``, with a signature under each of the secrets."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys
    )
