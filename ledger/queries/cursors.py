"""Cursors: opaque positions in the answer to a question.

A cursor is bound to its question and to this ledger: one that was changed, or
comes from another question or another ledger, is ``InvalidFilter``. It holds no
secret and gives no right; what it says could be said by time bounds too. It lives
as long as the ledger does, over restarts and fail-overs.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import struct
from typing import Any

from ledger.contract import InvalidFilter

_VERSION = 1
_MAC_SIZE = 12
_PAGING = frozenset({"cursor", "limit", "wait_seconds"})
"""Fields that may differ from page to page."""


def write_cursor(ledger_key: bytes, question: Any, position: tuple[int, ...]) -> str:
    """A position in the answer to ``question``, a dataclass of :mod:`ledger.queries.questions`."""
    body = struct.pack(f"<B{len(position)}q", _VERSION, *position)
    return base64.urlsafe_b64encode(body + _mac(ledger_key, question, body)).rstrip(b"=").decode()


def read_cursor(ledger_key: bytes, question: Any, cursor: str, size: int) -> tuple[int, ...]:
    """The ``size`` numbers of a position; ``InvalidFilter`` for what is no cursor of this question."""
    refused = InvalidFilter("cursor", "is none of this question and this ledger")
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise refused from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != cursor:
        raise refused
    layout = struct.Struct(f"<B{size}q")
    body, mac = data[: layout.size], data[layout.size :]
    if len(body) != layout.size or mac != _mac(ledger_key, question, body):
        raise refused
    version, *position = layout.unpack(body)
    if version != _VERSION:
        raise refused
    return tuple(position)


def _mac(ledger_key: bytes, question: Any, body: bytes) -> bytes:
    # What has its default is left out, so that a new field leaves old cursors as they are.
    asked = [type(question).__name__]
    for field in sorted(dataclasses.fields(question), key=lambda field: field.name):
        value = getattr(question, field.name)
        if field.name not in _PAGING and value != field.default:
            asked.append(f"{field.name}={_plain(value)}")
    told = "\n".join(asked).encode()
    return hashlib.blake2b(told + b"\0" + body, key=ledger_key, digest_size=_MAC_SIZE).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Alternatives leave their defaults out for the same reason.
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        }
    return int(value) if isinstance(value, int) else value
