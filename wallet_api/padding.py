"""Padding: answers in a session have sizes that do not depend on whose wallet it is.

Whoever watches the line sees how long an answer is, and a wallet with less money and a
shorter history would have shorter ones. So JSON in a session ends in spaces, which
RFC 8259 allows, up to a size that only the question decides; CBOR, which allows nothing of the
kind, has a member ``padding`` of so many zeros.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.types import Message, Scope, Send

from foundation.cbor import decode, encode

STEP_BYTES: Final = 2048
"""Sizes are multiples of this: larger than any answer that is no list, in any language."""

FILE_STEP_BYTES: Final = 64 * 1024
"""Sizes of files in a session are multiples of this: some 400 lines, more than most months have. Of
a longer one the size tells that it is longer, and nothing else."""

PADDING: Final = "padding"
"""The member of a map of CBOR that fills it up."""

LEAST_KEY: Final = "nugpay.least_bytes"
"""Where the scope keeps how large an answer becomes at least."""


def pad_list(request: Request, *, lines_max: int, line_bytes: int) -> None:
    """Have a list be as large as the longest one that could have been the answer."""
    request.scope[LEAST_KEY] = (lines_max + 1) * line_bytes


def padded(scope: Scope, send: Send) -> Send:
    """A ``send`` that pads a JSON answer; others pass as they are."""
    held: Message | None = None

    async def send_padded(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start" and (_is(message, b"json") or _is(message, b"cbor")):
            # Its length is known with the body, which comes in one piece.
            held = message
            return
        if held is not None and message["type"] == "http.response.body":
            start, held = held, None
            assert not message.get("more_body", False), "an answer of JSON or CBOR comes in one piece"
            fill = _fill_cbor if _is(start, b"cbor") else _fill
            body = fill(message.get("body", b""), scope.get(LEAST_KEY, 0))
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            await send({**start, "headers": [*headers, length]})
            await send({**message, "body": body})
            return
        await send(message)

    return send_padded


def _is(start: Message, form: bytes) -> bool:
    kinds: list[Any] = [value for name, value in start.get("headers", ()) if name == b"content-type"]
    return any(form in kind for kind in kinds)


def _fill(body: bytes, least: int) -> bytes:
    size = max(len(body), least)
    return body.ljust(-(-size // STEP_BYTES) * STEP_BYTES)


def _fill_cbor(body: bytes, least: int) -> bytes:
    content = decode(body) | {PADDING: b""}
    bare = len(encode(content))
    size = -(-max(bare, least) // STEP_BYTES) * STEP_BYTES
    while True:
        # The string's length is written before it, in one to nine bytes, of which one is counted.
        for head in range(9):
            filled: bytes = encode(content | {PADDING: bytes(max(0, size - bare - head))})
            if len(filled) == size:
                return filled
        # Just where lengths become a byte longer, one size cannot be had.
        size += STEP_BYTES
