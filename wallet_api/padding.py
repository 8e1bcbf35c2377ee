"""Padding: answers in a session have sizes that do not depend on whose wallet it is.

Whoever watches the line sees how long an answer is, and a wallet with less money and a
shorter history would have shorter ones. So JSON in a session ends in spaces, which
RFC 8259 allows, up to a size that only the question decides.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.types import Message, Scope, Send

STEP_BYTES: Final = 2048
"""Sizes are multiples of this: larger than any answer that is no list, in any language."""

FILE_STEP_BYTES: Final = 64 * 1024
"""Sizes of files in a session are multiples of this: some 400 lines, more than most months have. Of
a longer one the size tells that it is longer, and nothing else."""

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
        if message["type"] == "http.response.start" and _is_json(message):
            # Its length is known with the body, which comes in one piece.
            held = message
            return
        if held is not None and message["type"] == "http.response.body":
            start, held = held, None
            assert not message.get("more_body", False), "an answer of JSON comes in one piece"
            body = _fill(message.get("body", b""), scope.get(LEAST_KEY, 0))
            headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            await send({**start, "headers": [*headers, length]})
            await send({**message, "body": body})
            return
        await send(message)

    return send_padded


def _is_json(start: Message) -> bool:
    kinds: list[Any] = [value for name, value in start.get("headers", ()) if name == b"content-type"]
    return any(b"json" in kind for kind in kinds)


def _fill(body: bytes, least: int) -> bytes:
    size = max(len(body), least)
    return body.ljust(-(-size // STEP_BYTES) * STEP_BYTES)
