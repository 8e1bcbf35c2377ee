"""Addresses: where the ledger may be found.

``unix:/path``, ``http://host:port`` or ``https://host:port``; several of them,
with commas between, when the ledger and its standbys are on several machines.
On one machine one address is enough: whoever serves has the socket's name.
"""

from __future__ import annotations

import re

_SEPARATOR = re.compile(r",\s*(?=unix:|https?:)")
"""A comma that begins another address; a path may have commas of its own."""
_ADDRESS = re.compile(r"unix:.+|https?://[^/,\s]+/?")


def split_addresses(url: str) -> list[str]:
    """The addresses of a list, in the order in which they are asked; ``ValueError`` when one is none."""
    addresses = _SEPARATOR.split(url.strip())
    for address in addresses:
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"{address!r} is no address; write unix:/path or http://host:port")
    return addresses
