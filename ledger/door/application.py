"""The ledger's HTTP application: packed records or JSON in, and the same kind out.

``POST /v1/<operation>`` takes packed records (``application/octet-stream``) or
JSON and answers in kind. Who asks is known from the connection, never from the
request.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.contract import InvalidRequest
from ledger.door.desk import (
    JSON_BODY_MAX,
    PACKED_BODY_MAX,
    Desk,
    Reply,
    media_type_refused,
    problem,
    refusal_of,
    unknown_operation,
)
from ledger.door.judge import Caller, Door
from ledger.door.peers import CALLER
from ledger.door.rights import LedgerForbidden
from ledger.engine import LedgerEngine
from ledger.frames import Question
from ledger.operations import BATCHES_HEADER, JSON, OPERATIONS, PACKED, read_batches
from ledger.queries.operations import QUERY_OPERATIONS
from ledger.writer import Phase


def create_app(desk: Desk, engine: LedgerEngine, door: Door) -> Starlette:
    """The HTTP application in front of a desk."""

    async def operate(request: Request) -> Response:
        name = request.path_params["operation"]
        if name not in OPERATIONS and name not in QUERY_OPERATIONS:
            return _response(unknown_operation())
        try:
            # Before the body is read: a stranger's is not worth the memory.
            caller = desk.judge.greet(_caller_of(request))
            question = await _read_question(request, name)
        except (LedgerForbidden, InvalidRequest) as error:
            refused = refusal_of(error)
            assert refused is not None
            return _response(refused)
        except ClientDisconnect:
            # Nobody is left to read this, and nothing was asked of the engine yet.
            return _response(problem(400, "invalid_request", "The body is incomplete.", retryable="true"))
        if question is None:
            return _response(media_type_refused(PACKED, JSON))
        return _response(await desk.answer(caller, question))

    async def health(request: Request) -> Response:
        try:
            rights = desk.judge.greet(_caller_of(request)).rights
        except LedgerForbidden as error:
            refused = refusal_of(error)
            assert refused is not None
            return _response(refused)
        serving = door.is_open and engine.phase is Phase.SERVING
        body: dict[str, Any] = {"phase": engine.phase.value}
        if rights.full or rights.read:
            body |= {"sequence": engine.sequence, "refused": door.refusals.total()}
        return Response(msgspec.json.encode(body), 200 if serving else 503, media_type=JSON)

    return Starlette(
        routes=[
            Route("/v1/{operation}", operate, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ]
    )


def _caller_of(request: Request) -> Caller | None:
    caller: Caller | None = request.scope.get("state", {}).get(CALLER)
    return caller


async def _read_question(request: Request, name: str) -> Question | None:
    """What is asked; None where the body is of no kind that is read."""
    headers = request.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (PACKED, JSON):
        return None
    body = await _read_body(request, PACKED_BODY_MAX if kind == PACKED else JSON_BODY_MAX)
    batches = read_batches(headers.get(BATCHES_HEADER))
    return Question(name, body, kind, headers.get("accept") == PACKED, batches)


async def _read_body(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise InvalidRequest(f"the body is larger than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _response(reply: Reply) -> Response:
    answer = Response(reply.body, reply.status, media_type=reply.kind)
    if reply.retry_seconds is not None:
        answer.headers["retry-after"] = str(reply.retry_seconds)
    if reply.ends_connection:
        answer.headers["connection"] = "close"
    return answer
