"""Savings: bytes that need not be sent again, or not so many of them.

What is read may be compressed (gzip, RFC 9110 section 8.4.1.3), and has a tag by which it
need not be sent again while it is the same (RFC 9110 section 13.1.2).

Neither is done where the header Authorization stands, that is in a session. Its answers are
padded so that their size does not tell whose wallet is open, and padding compresses to
nothing. A tag would tell it too: an app that keeps the tag of the real wallet would get a
short 304 there and a whole answer in the decoy's, for all on the line to see. Nor is it done
to what changes something: such answers can hold a secret (the token of a session), and
others choose what stands beside it (BREACH).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import zlib
from typing import Any, Final

from starlette.types import Message, Scope, Send

LEAST_BYTES: Final = 512
"""What is shorter is sent as it is: a packet is not much longer."""

LEVEL: Final = 6
"""Of compression; more costs twice the time for a hundredth of the size."""

_COMPRESSED_ALREADY: Final = (b"application/pdf", b"application/cose")


def saves(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Whether anything may be saved for this request."""
    return scope["method"] == "GET" and b"authorization" not in headers


def saving(headers: dict[bytes, bytes], send: Send) -> Send:
    """A ``send`` that saves what it can; for requests that ``saves``."""
    takes_gzip = _takes_gzip(headers.get(b"accept-encoding", b""))
    known = {tag.strip().removeprefix(b"W/") for tag in headers.get(b"if-none-match", b"").split(b",")}
    held: Message | None = None
    stream: Any = None

    async def send_saving(message: Message) -> None:
        nonlocal held, stream
        if message["type"] == "http.response.start":
            held = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if held is None:
            if stream is not None:
                body = stream.compress(body) + (b"" if more else stream.flush())
            await send({**message, "body": body})
            return
        start, held = held, None
        compresses = takes_gzip and not _has(start, b"content-type", _COMPRESSED_ALREADY)
        if more:
            if compresses:
                stream = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
                start = _changed(start, (b"content-encoding", b"gzip"))
                body = stream.compress(body)
        else:
            start, body = _whole(start, body, known, compresses=compresses)
        await send(start)
        await send({**message, "body": body})

    return send_saving


def _whole(start: Message, body: bytes, known: set[bytes], *, compresses: bool) -> tuple[Message, bytes]:
    """An answer in one piece, as it is sent."""
    if start["status"] == 200:
        tag = _tag(start, body)
        if tag in known or b"*" in known:
            kept = [pair for pair in start["headers"] if not pair[0].startswith(b"content-")]
            return {**start, "status": 304, "headers": [*kept, (b"etag", b"W/" + tag)]}, b""
        start = {**start, "headers": [*start["headers"], (b"etag", b"W/" + tag)]}
    if compresses and len(body) >= LEAST_BYTES:
        body = gzip.compress(body, LEVEL, mtime=0)
        start = _changed(start, (b"content-encoding", b"gzip"), (b"content-length", str(len(body)).encode()))
    return start, body


def _tag(start: Message, body: bytes) -> bytes:
    """The answer's name: another one for the same content in another form, so that forms do not mix."""
    digest = hashlib.sha256()
    for name, value in start["headers"]:
        if name == b"content-type":
            digest.update(value)
    digest.update(b"\0" + body)
    return b'"' + base64.urlsafe_b64encode(digest.digest()[:12]) + b'"'


def _changed(start: Message, *pairs: tuple[bytes, bytes]) -> Message:
    kept = [pair for pair in start["headers"] if pair[0] != b"content-length"]
    return {**start, "headers": [*kept, *pairs]}


def _has(start: Message, name: bytes, values: tuple[bytes, ...]) -> bool:
    return any(given == name and value.startswith(values) for given, value in start["headers"])


def _takes_gzip(accept_encoding: bytes) -> bool:
    for part in accept_encoding.lower().split(b","):
        coding, _, parameters = part.partition(b";")
        if coding.strip() == b"gzip":
            return parameters.replace(b" ", b"") not in {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}
    return False
