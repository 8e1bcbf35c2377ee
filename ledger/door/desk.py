"""Desk: answers what a caller asks, whichever way the question came.

The door judges the whole question before the engine sees any of it, and whatever
goes wrong becomes a problem (RFC 9457) that says whether anything may be stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from foundation.errors import Unavailable
from ledger.contract import BATCH_MAX, AccountFilter, InvalidFilter, InvalidRequest
from ledger.door.judge import Caller, Door, Judge
from ledger.door.rights import LedgerForbidden, Rule
from ledger.engine import LedgerEngine
from ledger.frames import Question
from ledger.interface import LedgerBusy, LedgerUnavailable, SegmentArchived
from ledger.operations import JSON, OPERATIONS, PACKED, Operation, split_batches, to_json
from ledger.queries.json_forms import to_plain
from ledger.queries.operations import QUERY_OPERATIONS, QueryOperation
from ledger.records import RECORD_SIZE, transfer_records

log = structlog.get_logger()

PACKED_BODY_MAX = BATCH_MAX * RECORD_SIZE
"""Largest body of packed records."""
JSON_BODY_MAX = 16 * 1024 * 1024
"""Largest body of JSON."""

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


@dataclass(frozen=True, slots=True)
class Reply:
    """What a caller is told."""

    body: bytes
    kind: str
    """Its media type."""
    status: int = 200
    retry_seconds: int | None = None
    """When to come back."""
    ends_connection: bool = False
    """Whether this connection will never be told more."""


class Desk:
    """Where all questions to one engine come in, behind one door."""

    def __init__(self, engine: LedgerEngine, door: Door) -> None:
        self.judge = Judge(door, engine)
        self._engine = engine

    async def answer(self, caller: Caller, question: Question) -> Reply:
        """The answer to a caller who was greeted; never raises."""
        name = question.operation
        operation = OPERATIONS.get(name) or QUERY_OPERATIONS.get(name)
        if operation is None:
            return unknown_operation()
        try:
            if isinstance(operation, QueryOperation):
                return await self._query(caller, operation, question)
            return await self._operate(caller, operation, question)
        # A caller gets an answer that says whether anything may be stored; what broke stays
        # in our log. An engine that is not sure has stopped by itself, and ends the process.
        except Exception as error:
            told = refusal_of(error)
            if told is None:
                log.exception("request_failed", operation=name)
                told = _fault(operation)
            return told

    async def _operate(self, caller: Caller, operation: Operation, question: Question) -> Reply:
        is_packed = question.kind == PACKED
        body = _bounded(question)
        if is_packed and operation.name == "create_transfers":
            records = transfer_records(body)
            await self.judge.check(caller, operation.name, records)
            return Reply(await self._create_records(records, question.batches), PACKED)
        asked = operation.unpack(body) if is_packed else operation.from_json(_read_json(body))
        await self.judge.check(caller, operation.name, asked)
        answer = await self._ask(operation, asked, question.batches)
        if is_packed:
            return Reply(operation.pack_answer(answer), PACKED)
        return Reply(msgspec.json.encode(to_json(answer)), JSON)

    async def _query(self, caller: Caller, operation: QueryOperation, question: Question) -> Reply:
        """A question in JSON; the answer in packed form for whoever wants that."""
        if question.kind != JSON:
            return media_type_refused(JSON)
        asked = operation.read_question(_read_json(_bounded(question), _QUESTION))
        await self.judge.check(caller, operation.name, asked)
        answer = await getattr(self._engine, operation.name)(asked)
        if operation.rows is not None and question.wants_packed:
            return Reply(operation.pack_answer(answer), PACKED)
        return Reply(msgspec.json.encode(to_plain("answer", answer)), JSON)

    async def _ask(self, operation: Operation, asked: Any, batches: Sequence[int] | None) -> Any:
        if operation.name == "get_statement":
            asked_filter: AccountFilter = asked
            before = asked_filter.timestamp_max + 1 if asked_filter.timestamp_max else None
            return await self._engine.get_statement(
                asked_filter.account_id, before=before, limit=asked_filter.limit
            )
        method: Callable[[Any], Awaitable[Any]] = getattr(self._engine, operation.name)
        if not operation.name.startswith("create_"):
            return await method(asked)
        answers = await _each_batch(method, split_batches(batches, asked))
        return [result for part in answers for result in part]

    async def _create_records(self, records: Any, batches: Sequence[int] | None) -> bytes:
        """Packed transfers stay records from the socket to the state machine and back."""
        parts: list[Any] = split_batches(batches, records)
        if len(parts) == 1:
            return (await self._engine.create_transfer_records(records)).tobytes()
        answers = _all_of(await self._engine.create_transfer_batches(parts))
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


def _bounded(question: Question) -> bytes:
    limit = PACKED_BODY_MAX if question.kind == PACKED else JSON_BODY_MAX
    if len(question.body) > limit:
        raise InvalidRequest(f"the body is larger than {limit} bytes")
    return question.body


def _read_json(body: bytes, decoder: msgspec.json.Decoder[Any] = _BODY) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from None
    except UnicodeDecodeError:
        raise InvalidRequest("the body is no JSON: it is not UTF-8") from None


def refusal_of(error: Exception) -> Reply | None:
    """What the caller is told of an error that the ledger knows; None for a fault."""
    match error:
        case LedgerForbidden():
            # Another connection may say more of its owner; this one never will.
            ends = error.rule in (Rule.IDENTITY, Rule.CERTIFICATE_EXPIRED)
            return problem(
                403, "ledger_forbidden", error.detail, retryable="false", ends_connection=ends,
                rule=error.rule, index=error.index,
            )  # fmt: skip
        case InvalidFilter():
            return problem(400, "invalid_filter", str(error), retryable="false", field=error.field_name)
        case InvalidRequest():
            return problem(400, "invalid_request", str(error), retryable="false")
        case LedgerBusy():
            return problem(
                503, error.code, error.detail, retryable="true", retry_seconds=error.retry_seconds,
                outcome_unknown=False,
            )  # fmt: skip
        case SegmentArchived():
            # Trying again does not help until an operator has attached it, or named the archive.
            unknown = error.outcome_unknown
            return problem(
                503, error.code, error.detail, retryable="unknown" if unknown else "false",
                outcome_unknown=unknown, segment=error.number,
            )  # fmt: skip
        case Unavailable():
            retryable = "unknown" if error.outcome_unknown else "true"
            return problem(
                503, error.code, error.detail, retryable=retryable, outcome_unknown=error.outcome_unknown
            )
        case _:
            return None


def unknown_operation() -> Reply:
    """What is told of a name that no operation has."""
    return problem(404, "unknown_operation", "There is no such operation.", retryable="false")


def media_type_refused(*accepted: str) -> Reply:
    """What is told of a body of another kind than the ledger reads."""
    return problem(415, "unsupported_media_type", f"Send {' or '.join(accepted)}.", retryable="false")


def _fault(operation: Operation | QueryOperation) -> Reply:
    """The answer to a fault of ours; what writes may have written before it."""
    writes = operation.name.startswith("create_")
    return problem(
        500, "internal_error", "Something of ours broke.", retryable="unknown" if writes else "true",
        outcome_unknown=writes,
    )  # fmt: skip


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    retryable: str,
    retry_seconds: int | None = None,
    ends_connection: bool = False,
    **more: Any,
) -> Reply:
    """A problem as RFC 9457 has it."""
    body = {
        "type": f"urn:nugpay:problem:{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
    } | more
    if retry_seconds is not None:
        body["retry_seconds"] = retry_seconds
    return Reply(
        msgspec.json.encode(body), "application/problem+json", status, retry_seconds, ends_connection
    )
