"""Handles: the names by which wallets are found, written with an @ before them.

Every spelling of a handle is one: letters of either case, with the @ or without.
Only ASCII letters, digits and the underscore are allowed, so that no character
can look like another one of another script.
"""

from __future__ import annotations

import re
from typing import Final

from foundation.errors import Refusal
from wallets.errors import WalletCode

HANDLE_LENGTH_MAX: Final = 30
"""Longest handle, without the @."""

RESERVED: Final = frozenset(
    {
        "admin", "administrator", "agent", "bank", "help", "moderator", "nobody", "nug", "nugpay",
        "nug_pay", "official", "operator", "root", "security", "staff", "support", "system", "treasury",
    }
)  # fmt: skip
"""Handles that nobody gets, because a message from them would be believed."""

_HANDLE = re.compile(r"[a-z][a-z0-9_]{2,29}", re.ASCII)


def parse_handle(text: str) -> str:
    """The normalised handle, without @; refused as ``handle_malformed`` otherwise."""
    bare = text.removeprefix("@")
    # Only ASCII is lowered: str.lower() would turn the Kelvin sign into a k.
    lowered = bare.lower() if bare.isascii() else bare
    if not _HANDLE.fullmatch(lowered):
        raise Refusal(
            WalletCode.HANDLE_MALFORMED,
            "A handle is 3 to 30 letters a-z, digits or _, and begins with a letter.",
        )
    return lowered


def parse_new_handle(text: str) -> str:
    """A handle that somebody asks for; refused as ``handle_reserved`` where it could mislead."""
    handle = parse_handle(text)
    if handle in RESERVED or handle.startswith(("nugpay", "nug_pay")):
        raise Refusal(
            WalletCode.HANDLE_RESERVED, f"@{handle} is reserved; choose another handle.", handle=handle
        )
    return handle
