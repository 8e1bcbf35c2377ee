"""The gate: what every request passes before, and every answer after, its route.

It names the request, reads a body of bounded size in bounded time, insists on
JSON (and on CSV where a file is asked for), adds the headers that keep answers out
of caches and browsers, and turns a fault of ours into a problem instead of a broken connection.
"""

from __future__ import annotations

import itertools
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foundation.errors import Refusal
from wallet_api.cbor_bodies import CBOR, in_cbor, is_cbor, wants_cbor
from wallet_api.errors import ApiCode
from wallet_api.hosts import host_of
from wallet_api.padding import padded
from wallet_api.patience import Patience
from wallet_api.problem import internal_response, refusal_response
from wallet_api.savings import saves, saving

log = structlog.get_logger()

BODY_BYTES_MAX: Final = 16 * 1024
"""Longest body but a file; the longest request of this API, a payment with a memo, has some 2,000 bytes."""

BODY_SECONDS_MAX: Final = 20.0
"""How long a body may take to arrive: a few hundred bytes fit even 2G in that time."""

FILE_BYTES_MAX: Final = 1024 * 1024
"""Longest file of payments."""

FILE_SECONDS_MAX: Final = 60.0
"""How long a file may take to arrive; offices send them, over better lines than a phone's."""

TARGET_LENGTH_MAX: Final = 2048
"""Longest path and query together."""

HEADERS_BYTES_MAX: Final = 16 * 1024
"""All headers together; what proxies add is well below."""

REPEATABLE: Final = frozenset({"kind"})
"""Parameters of queries that may stand several times; a test compares them with the description."""

REQUEST_ID_KEY: Final = "nugpay.request_id"
"""Where the scope keeps the request's name."""

_BODY_KEY: Final = "nugpay.body"
"""Where the scope keeps the body, which was read as a whole."""

_PROCESS: Final = secrets.token_hex(8)
"""Begins the names that this process gives to requests."""

_numbers = itertools.count(1)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")

_HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
]
"""Answers hold balances: nothing between us and the device may keep or show them."""


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What a body may be."""

    bytes_max: int
    seconds_max: float
    kinds: frozenset[str]
    said: str
    """The kinds in a sentence."""


_JSON: Final = _Accepted(
    BODY_BYTES_MAX,
    BODY_SECONDS_MAX,
    frozenset({"application/json", "application/json;charset=utf-8", CBOR}),
    "A body is JSON in UTF-8 or CBOR, as its Content-Type says, and not compressed.",
)

_FILES: Final = {
    ("POST", "/v1/bulk_payments"): _Accepted(
        FILE_BYTES_MAX,
        FILE_SECONDS_MAX,
        frozenset({"text/csv", "text/csv;charset=utf-8"}),
        "A file is CSV in UTF-8, with Content-Type: text/csv and not compressed.",
    )
}
"""The operations whose bodies are no JSON; each is signed with its digest as any other body."""


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._patience = Patience()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id", b""))
        scope[REQUEST_ID_KEY] = request_id
        started = False

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [
                    *message.get("headers", ()),
                    *_HEADERS,
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        if saves(scope, headers):
            send = saving(headers, send)
        if b"authorization" in headers:
            # Before anything can be answered: refusals are padded as well.
            send = padded(scope, send)
        if wants_cbor(headers):
            send = in_cbor(send)
        try:
            body = scope[_BODY_KEY] = await _read_body(scope, headers, receive, self._patience)
            await self._app(scope, _replaying(body, receive), send_marked)
        except Refusal as refusal:
            await refusal_response(refusal, **asker_of(scope))(scope, receive, send_marked)
        except _ClientGone:
            log.info("client_gone", request_id=request_id, path=scope["path"])
        # Nothing may leave a client without an answer that says whether money moved.
        except Exception:
            log.exception("request_failed", request_id=request_id, method=scope["method"], path=scope["path"])
            if not started:
                await _fault(scope)(scope, receive, send_marked)


class _ClientGone(Exception):
    """The client closed the connection before its body was complete."""


def body_of(scope: Scope) -> bytes:
    """The body of a request that has passed the gate."""
    body: bytes = scope[_BODY_KEY]
    return body


def asker_of(scope: Scope) -> dict[str, str]:
    """What a problem must know of its request: path, name, and the languages that are wanted."""
    wanted = [value for name, value in scope["headers"] if name == b"accept-language"]
    return {
        "path": scope["path"],
        "request_id": scope[REQUEST_ID_KEY],
        # Several headers of a list are one list (RFC 9110 section 5.3).
        "accept_language": b",".join(wanted).decode("latin-1"),
    }


def _fault(scope: Scope) -> Response:
    return internal_response(
        **asker_of(scope), may_have_moved=scope["method"] not in {"GET", "HEAD", "OPTIONS"}
    )


def _request_id(asked: bytes) -> str:
    if _REQUEST_ID.fullmatch(asked):
        return asked.decode()
    return f"{_PROCESS}{next(_numbers):08x}"


async def _read_body(
    scope: Scope, headers: dict[bytes, bytes], receive: Receive, patience: Patience
) -> bytes:
    _check_size_of_headers(scope)
    host_of(scope)
    if scope["query_string"]:
        _check_query(scope["query_string"])
    accepted = _FILES.get((scope["method"], scope["path"]), _JSON)
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > accepted.bytes_max:
        raise _too_large(accepted)
    try:
        body = await patience.wait(_receive_all(receive, accepted), accepted.seconds_max)
    except TimeoutError:
        raise Refusal(
            ApiCode.BODY_TOO_SLOW, f"The body did not arrive within {accepted.seconds_max:.0f} s."
        ) from None
    if body:
        _check_kind(scope, headers, accepted, body)
    return body


async def _receive_all(receive: Receive, accepted: _Accepted) -> bytes:
    """The whole body, of bounded size."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > accepted.bytes_max:
            raise _too_large(accepted)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _check_size_of_headers(scope: Scope) -> None:
    target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    size = sum([len(name) + len(value) for name, value in scope["headers"]])
    if target > TARGET_LENGTH_MAX or size > HEADERS_BYTES_MAX:
        raise Refusal(ApiCode.HEADERS_TOO_LARGE, "The path, query or headers are too long.")


def _check_query(query: bytes) -> None:
    """Refuse a parameter that stands twice: what stands before us may have read the other one."""
    seen: set[str] = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in seen and name not in REPEATABLE:
            field = name[:100]
            raise Refusal(ApiCode.REQUEST_MALFORMED, f"{field}: Stands twice in the query.", field=field)
        seen.add(name)


def _check_kind(scope: Scope, headers: dict[bytes, bytes], accepted: _Accepted, body: bytes) -> None:
    kind = headers.get(b"content-type", b"").decode("latin-1").lower().replace(" ", "")
    encoding = headers.get(b"content-encoding", b"identity").lower()
    # Of two headers, what stands before us may have read the other one.
    said_once = b"content-type" in headers
    if len(headers) < len(scope["headers"]):
        names = [name for name, _ in scope["headers"]]
        said_once = names.count(b"content-type") == 1 and names.count(b"content-encoding") <= 1
    # What the bytes mean is in the bytes, which are signed; the type, which is not, must agree.
    is_as_said = is_cbor(body) == (kind == CBOR)
    if not (said_once and kind in accepted.kinds and is_as_said and encoding == b"identity"):
        raise Refusal(ApiCode.CONTENT_TYPE_NOT_ACCEPTED, accepted.said)


def _too_large(accepted: _Accepted) -> Refusal:
    return Refusal(ApiCode.BODY_TOO_LARGE, f"A body has at most {accepted.bytes_max} bytes here.")


def _replaying(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay
