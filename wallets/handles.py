"""Handles: the names by which wallets are found, written with an @ before them.

Every spelling of a handle is one: letters of either case, with the @ or without.
Only ASCII letters, digits and the underscore are allowed, so that no character
can look like another one of another script. Within ASCII some still look alike,
as 0 and o do: handles that a hurried reader takes for one another have the same
skeleton, and only one wallet has it.
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

_SKELETON: Final = str.maketrans(
    {"0": "o", "1": "l", "i": "l", "m": "rn", "w": "vv", "_": ""},
)
"""What each character is read as. A skeleton grows from single characters only, never from
pairs, so that "rn", "m" and every mixture of them come to the same one."""

_HANDLE = re.compile(r"[a-z][a-z0-9_]{2,29}", re.ASCII)


def skeleton(handle: str) -> str:
    """What a normalised handle looks like; two handles with one skeleton look alike."""
    return handle.translate(_SKELETON)


_RESERVED_LOOKS: Final = frozenset(map(skeleton, RESERVED))
_BANK_LOOKS: Final = skeleton("nugpay")
"""How a handle begins that could be taken for the bank's."""


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
    looks = skeleton(handle)
    if looks in _RESERVED_LOOKS or looks.startswith(_BANK_LOOKS):
        raise Refusal(
            WalletCode.HANDLE_RESERVED, f"@{handle} is reserved; choose another handle.", handle=handle
        )
    return handle
