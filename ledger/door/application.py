"""The ledger's HTTP application: packed records or JSON in, and the same kind out.

``POST /v1/<operation>`` takes packed records (``application/octet-stream``) or
JSON and answers in kind. Who asks is known from the connection, never from the
request, and the door judges the whole question before the engine sees any of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from foundation.errors import Unavailable
from ledger.contract import BATCH_MAX, AccountFilter, InvalidFilter, InvalidRequest
from ledger.door.judge import Door, Judge
from ledger.door.peers import CALLER
from ledger.door.rights import LedgerForbidden, Rule
from ledger.engine import LedgerEngine
from ledger.interface import LedgerBusy, LedgerUnavailable, SegmentArchived
from ledger.operations import BATCHES_HEADER, JSON, OPERATIONS, PACKED, Operation, split_batches, to_json
from ledger.queries.json_forms import to_plain
from ledger.queries.operations import QUERY_OPERATIONS, QueryOperation
from ledger.records import RECORD_SIZE, transfer_records
from ledger.writer import Phase

log = structlog.get_logger()

BODY_MAX = 16 * 1024 * 1024
"""Largest body of a JSON request; packed ones are smaller by nature."""
_Scalar = int | str | bool | None
_BODY: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    list[dict[str, _Scalar] | _Scalar] | dict[str, _Scalar]
)
"""Reads a question: objects of plain values, one or a list. A value that is nested is refused where it
begins, so that no body can exhaust the stack, whatever the process' recursion limit is."""


_QUESTION: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    list[_Scalar] | dict[str, _Scalar | list[_Scalar | dict[str, _Scalar | list[_Scalar]]]]
)
"""The same for questions, whose alternatives are objects, and whose values may be lists."""


def create_app(engine: LedgerEngine, door: Door) -> Starlette:
    """The HTTP application around an engine, behind a door."""
    judge = Judge(door, engine)

    async def operate(request: Request) -> Response:
        name = request.path_params["operation"]
        operation = OPERATIONS.get(name) or QUERY_OPERATIONS.get(name)
        if operation is None:
            return _problem(404, "unknown_operation", "There is no such operation.", retryable="false")
        try:
            if isinstance(operation, QueryOperation):
                return await _answer(engine, judge, operation, request)
            return await _operate(engine, judge, operation, request)
        except LedgerForbidden as error:
            return _forbidden(error)
        except InvalidFilter as error:
            return _problem(400, "invalid_filter", str(error), retryable="false", field=error.field_name)
        except InvalidRequest as error:
            return _problem(400, "invalid_request", str(error), retryable="false")
        except LedgerBusy as error:
            answer = _problem(503, error.code, error.detail, retryable="true", outcome_unknown=False)
            answer.headers["retry-after"] = str(error.retry_seconds)
            return answer
        except SegmentArchived as error:
            # Trying again does not help until an operator has attached it, or named the archive.
            unknown = error.outcome_unknown
            return _problem(
                503, error.code, error.detail, retryable="unknown" if unknown else "false",
                outcome_unknown=unknown, segment=error.number,
            )  # fmt: skip
        except Unavailable as error:
            retryable = "unknown" if error.outcome_unknown else "true"
            return _problem(
                503, error.code, error.detail, retryable=retryable, outcome_unknown=error.outcome_unknown
            )
        except ClientDisconnect:
            # Nobody is left to read this, and nothing was asked of the engine yet.
            return _problem(400, "invalid_request", "The body is incomplete.", retryable="true")
        # A caller gets an answer that says whether anything may be stored; what broke stays
        # in our log. An engine that is not sure has stopped by itself, and ends the process.
        except Exception:
            log.exception("request_failed", operation=operation.name)
            return _fault(operation)

    async def health(request: Request) -> Response:
        try:
            rights = judge.greet(request.scope.get("state", {}).get(CALLER)).rights
        except LedgerForbidden as error:
            return _forbidden(error)
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


async def _operate(engine: LedgerEngine, judge: Judge, operation: Operation, request: Request) -> Response:
    # Before the body is read: a stranger's is not worth the memory.
    caller = judge.greet(request.scope.get("state", {}).get(CALLER))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (PACKED, JSON):
        return _problem(415, "unsupported_media_type", f"Send {PACKED} or {JSON}.", retryable="false")
    body = await _read_body(request, BATCH_MAX * RECORD_SIZE if kind == PACKED else BODY_MAX)
    if kind == PACKED and operation.name == "create_transfers":
        records = transfer_records(body)
        await judge.check(caller, operation.name, records)
        results = await _create_records(engine, records, request.headers.get(BATCHES_HEADER))
        return Response(results, media_type=PACKED)
    question = operation.unpack(body) if kind == PACKED else operation.from_json(_read_json(body))
    await judge.check(caller, operation.name, question)
    answer = await _ask(engine, operation, question, request.headers.get(BATCHES_HEADER))
    if kind == PACKED:
        return Response(operation.pack_answer(answer), media_type=PACKED)
    return Response(msgspec.json.encode(to_json(answer)), media_type=JSON)


async def _answer(
    engine: LedgerEngine, judge: Judge, operation: QueryOperation, request: Request
) -> Response:
    """A question in JSON; the answer in packed form for whoever accepts that."""
    caller = judge.greet(request.scope.get("state", {}).get(CALLER))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        return _problem(415, "unsupported_media_type", f"Send {JSON}.", retryable="false")
    body = await _read_body(request, BODY_MAX)
    question = operation.read_question(_read_json(body, _QUESTION))
    await judge.check(caller, operation.name, question)
    answer = await getattr(engine, operation.name)(question)
    if operation.rows is not None and request.headers.get("accept") == PACKED:
        return Response(operation.pack_answer(answer), media_type=PACKED)
    return Response(msgspec.json.encode(to_plain("answer", answer)), media_type=JSON)


def _read_json(body: bytes, decoder: msgspec.json.Decoder[Any] = _BODY) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from None
    except UnicodeDecodeError:
        raise InvalidRequest("the body is no JSON: it is not UTF-8") from None


async def _ask(engine: LedgerEngine, operation: Operation, question: Any, batches: str | None) -> Any:
    if operation.name == "get_statement":
        question_filter: AccountFilter = question
        before = question_filter.timestamp_max + 1 if question_filter.timestamp_max else None
        return await engine.get_statement(
            question_filter.account_id, before=before, limit=question_filter.limit
        )
    method: Callable[[Any], Awaitable[Any]] = getattr(engine, operation.name)
    if not operation.name.startswith("create_"):
        return await method(question)
    answers = await _each_batch(method, split_batches(batches, question))
    return [result for part in answers for result in part]


async def _create_records(engine: LedgerEngine, records: Any, batches: str | None) -> bytes:
    """Packed transfers stay records from the socket to the state machine and back."""
    parts: list[Any] = split_batches(batches, records)
    if len(parts) == 1:
        return (await engine.create_transfer_records(records)).tobytes()
    answers = _all_of(await engine.create_transfer_batches(parts))
    return b"".join([part.tobytes() for part in answers])


async def _each_batch(method: Callable[[Any], Awaitable[Any]], parts: Sequence[Any]) -> Sequence[Any]:
    """Ask for each caller's batch by itself: a chain never runs from one into another."""
    if len(parts) == 1:
        return [await method(parts[0])]
    return _all_of(await asyncio.gather(*(method(part) for part in parts), return_exceptions=True))


def _all_of(answers: Sequence[Any]) -> Sequence[Any]:
    """The answers, if every batch has one; raises what their callers must hear otherwise."""
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if len(failures) == len(answers):
        raise failures[0]
    archived = [failure for failure in failures if isinstance(failure, SegmentArchived)]
    if archived:
        # The other batches are stored: their callers ask again by themselves.
        archived[0].outcome_unknown = True
        raise archived[0]
    if failures:
        # Some batches are stored, some are not: only a repetition can tell which.
        raise LedgerUnavailable(f"Only a part was answered: {failures[0]}", outcome_unknown=True)
    return answers


async def _read_body(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise InvalidRequest(f"the body is larger than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _forbidden(error: LedgerForbidden) -> Response:
    answer = _problem(
        403, "ledger_forbidden", error.detail, retryable="false", rule=error.rule, index=error.index
    )
    if error.rule in (Rule.IDENTITY, Rule.CERTIFICATE_EXPIRED):
        # Another connection may say more of its owner; this one never will.
        answer.headers["connection"] = "close"
    return answer


def _fault(operation: Operation | QueryOperation) -> Response:
    """The answer to a fault of ours; what writes may have written before it."""
    writes = operation.name.startswith("create_")
    return _problem(
        500,
        "internal_error",
        "Something of ours broke.",
        retryable="unknown" if writes else "true",
        outcome_unknown=writes,
    )


def _problem(status: int, code: str, detail: str, *, retryable: str, **more: Any) -> Response:
    body = {
        "type": f"urn:nugpay:problem:{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
    } | more
    return Response(msgspec.json.encode(body), status, media_type="application/problem+json")
