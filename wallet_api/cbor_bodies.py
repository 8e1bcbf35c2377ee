"""CBOR bodies: the same API with the same names in fewer bytes, for whoever asks for it.

A request says ``Content-Type: application/cbor``, an answer is asked for by ``Accept:
application/cbor``; each by itself. Both are in the deterministic form (RFC 8949 section
4.2.1), and digest and signature cover the bytes as they are sent. Fields, patterns and
codes are those of JSON, amounts are texts there as here. A problem is the same map as in
JSON, under the same type: the status says that it is one. (RFC 9290 has other members,
with numbers for names, and would be a second vocabulary.)

Content-Type is not signed. So what signed bytes mean never depends on it: no JSON text
begins with the byte that begins a map of CBOR, and a body that is not what its type says
is refused.
"""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.types import Message, Send

from foundation.cbor import CBORMalformed, decode, encode
from foundation.errors import Refusal
from wallet_api.errors import ApiCode

CBOR: Final = "application/cbor"
"""The type of answers and requests in CBOR."""

_MAP_FIRST, _MAP_LAST = 0xA0, 0xBF
"""What a map's first byte may be: in JSON's UTF-8 these only go on with a letter, and begin none."""


def is_cbor(body: bytes) -> bool:
    """Whether a body is a map of CBOR, and so no JSON."""
    return bool(body) and _MAP_FIRST <= body[0] <= _MAP_LAST


def json_of(body: bytes) -> bytes:
    """The JSON that says the same as a map of CBOR; refused as ``cbor_malformed``."""
    try:
        content = decode(body)
        _check_plain(content)
    except CBORMalformed as error:
        raise Refusal(ApiCode.CBOR_MALFORMED, str(error)) from None
    return json.dumps(content).encode()


def wants_cbor(headers: dict[bytes, bytes]) -> bool:
    """Whether Accept names CBOR, and JSON not before it."""
    for part in headers.get(b"accept", b"").lower().split(b","):
        kind, _, parameters = part.partition(b";")
        if kind.strip() == b"application/json":
            return False
        if kind.strip() == CBOR.encode():
            return parameters.replace(b" ", b"") not in {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}
    return False


def in_cbor(send: Send) -> Send:
    """A ``send`` that turns an answer of JSON into CBOR; others pass as they are."""
    held: Message | None = None

    async def send_in_cbor(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start" and _is_json(message):
            held = message
            return
        if held is not None and message["type"] == "http.response.body":
            start, held = held, None
            assert not message.get("more_body", False), "an answer of JSON comes in one piece"
            body = encode(json.loads(message.get("body", b"")))
            kept = [pair for pair in start["headers"] if pair[0] not in {b"content-length", b"content-type"}]
            added = [(b"content-type", CBOR.encode()), (b"content-length", str(len(body)).encode())]
            await send({**start, "headers": [*kept, *added]})
            await send({**message, "body": body})
            return
        await send(message)

    return send_in_cbor


def _is_json(start: Message) -> bool:
    return any(name == b"content-type" and b"json" in value for name, value in start.get("headers", ()))


def _check_plain(content: Any) -> None:
    """Let nothing through that JSON has not: a name that is no text, bytes, a tag."""
    if isinstance(content, dict):
        for name, value in content.items():
            if not isinstance(name, str):
                raise CBORMalformed("A field's name is a text.")
            _check_plain(value)
    elif isinstance(content, list):
        for value in content:
            _check_plain(value)
    elif content is not None and not isinstance(content, str | int):
        raise CBORMalformed("Values are those that JSON has.")
