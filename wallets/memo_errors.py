"""Refusals of memos and of the keys that they are encrypted to."""

from __future__ import annotations

from foundation.errors import RefusalCode


class MemoCode(RefusalCode):
    """Why a memo is not carried, or a memo key not published."""

    MEMO_MALFORMED = "memo_malformed"
    """A memo is base64url, without padding, of 384, 768 or 1152 bytes of ciphertext."""
    MEMO_FOR_FORMER_HANDLE = "memo_for_former_handle"
    """The payment names a handle that the payee gave up: its memo would open for nobody."""
    MEMO_KEY_MALFORMED = "memo_key_malformed"
    """A memo key is base64url, without padding, of an X25519 public key that can be encrypted to."""
