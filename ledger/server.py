"""The ledger process: the engine behind HTTP on a Unix or TCP socket.

``POST /v1/<operation>`` takes packed records (``application/octet-stream``) or
JSON and answers in kind. The socket belongs to its owner alone. A process that
waits for the lock listens on a name of its own and takes the public name only
when it serves, so that a standby never stands in the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from foundation.clock import SystemClock
from foundation.errors import Unavailable
from foundation.logs import configure_logging
from foundation.settings import Settings, get_settings
from ledger.chart import open_system_accounts
from ledger.contract import BATCH_MAX, AccountFilter, InvalidFilter, InvalidRequest
from ledger.engine import LedgerEngine
from ledger.interface import LedgerBusy, LedgerUnavailable
from ledger.operations import BATCHES_HEADER, JSON, OPERATIONS, PACKED, Operation, split_batches, to_json
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

PHASE_POLL_SECONDS = 0.02
"""How often a starting process looks whether its engine serves."""
SOCKET_MODE = 0o600
"""The socket is for its owner only."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process stops in its own order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def create_app(engine: LedgerEngine) -> Starlette:
    """The HTTP application around an engine."""

    async def operate(request: Request) -> Response:
        operation = OPERATIONS.get(request.path_params["operation"])
        if operation is None:
            return _problem(404, "unknown_operation", "There is no such operation.", retryable="false")
        try:
            return await _operate(engine, operation, request)
        except InvalidFilter as error:
            return _problem(400, "invalid_filter", str(error), retryable="false", field=error.field_name)
        except InvalidRequest as error:
            return _problem(400, "invalid_request", str(error), retryable="false")
        except LedgerBusy as error:
            answer = _problem(503, error.code, error.detail, retryable="true", outcome_unknown=False)
            answer.headers["retry-after"] = str(error.retry_seconds)
            return answer
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

    async def health(_request: Request) -> Response:
        serving = engine.phase is Phase.SERVING
        body = {"phase": engine.phase.value, "sequence": engine.sequence}
        return Response(msgspec.json.encode(body), 200 if serving else 503, media_type=JSON)

    return Starlette(
        routes=[
            Route("/v1/{operation}", operate, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ]
    )


async def _operate(engine: LedgerEngine, operation: Operation, request: Request) -> Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (PACKED, JSON):
        return _problem(415, "unsupported_media_type", f"Send {PACKED} or {JSON}.", retryable="false")
    body = await _read_body(request, BATCH_MAX * RECORD_SIZE if kind == PACKED else BODY_MAX)
    if kind == PACKED and operation.name == "create_transfers":
        records = await _create_records(engine, transfer_records(body), request.headers.get(BATCHES_HEADER))
        return Response(records, media_type=PACKED)
    question = operation.unpack(body) if kind == PACKED else operation.from_json(_read_json(body))
    answer = await _ask(engine, operation, question, request.headers.get(BATCHES_HEADER))
    if kind == PACKED:
        return Response(operation.pack_answer(answer), media_type=PACKED)
    return Response(msgspec.json.encode(to_json(answer)), media_type=JSON)


def _read_json(body: bytes) -> Any:
    try:
        return _BODY.decode(body)
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
    answers = await _each_batch(engine.create_transfer_records, split_batches(batches, records))
    return b"".join([part.tobytes() for part in answers])


async def _each_batch(method: Callable[[Any], Awaitable[Any]], parts: Sequence[Any]) -> list[Any]:
    """Ask for each caller's batch by itself: a chain never runs from one into another."""
    if len(parts) == 1:
        return [await method(parts[0])]
    answers = await asyncio.gather(*(method(part) for part in parts), return_exceptions=True)
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if len(failures) == len(parts):
        raise failures[0]
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


def _fault(operation: Operation) -> Response:
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


def bind(address: str) -> tuple[socket.socket, Path | None]:
    """A listening socket for ``unix:/path`` or ``http://host:port``.

    A Unix socket gets a name of this process; :func:`publish` gives it the
    public one.
    """
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{os.getpid()}")
        own.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listener.bind(str(own))
        finally:
            os.umask(mask)
        return listener, own
    parts = urlsplit(address)
    listener = socket.create_server((parts.hostname or "127.0.0.1", parts.port or 0))
    return listener, None


def publish(address: str, own: Path | None) -> None:
    """Give the socket its public name; what stood there belongs to a process that does not serve."""
    if own is not None:
        own.replace(address.removeprefix("unix:"))


def _inode(own: Path | None) -> int | None:
    return None if own is None else own.lstat().st_ino


def _withdraw(public: Path, inode: int | None) -> None:
    """Take our socket's public name away; one that another process has published meanwhile stays."""
    with contextlib.suppress(FileNotFoundError):
        if public.lstat().st_ino == inode:
            public.unlink()


@contextlib.asynccontextmanager
async def listening(engine: LedgerEngine, address: str) -> AsyncIterator[Path | None]:
    """Serve an engine's HTTP at an address; gives the socket's own name, for :func:`publish`."""
    listener, own = bind(address)
    inode = _inode(own)
    config = uvicorn.Config(
        create_app(engine), log_config=None, lifespan="off", access_log=False, timeout_keep_alive=75
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield own
    finally:
        server.should_exit = True
        await task
        if own is not None:
            own.unlink(missing_ok=True)
            _withdraw(Path(address.removeprefix("unix:")), inode)


async def serve(settings: Settings, database_url: str) -> None:
    """Run the ledger process until it is told to stop or its engine stops."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine = await LedgerEngine.start(database_url, SystemClock(), wait_until_serving=False)
    try:
        async with listening(engine, settings.ledger_address) as own:
            await _watch(engine, stop, settings.ledger_address, own)
    finally:
        await engine.close()


async def _watch(engine: LedgerEngine, stop: asyncio.Event, address: str, own: Path | None) -> None:
    """Publish the socket once the engine serves; end on a signal, or raise what stopped the engine."""
    published = False
    while not stop.is_set():
        engine.check()
        if not published and engine.phase is Phase.SERVING:
            await open_system_accounts(engine)
            publish(address, own)
            published = True
            log.info("ledger_serving", address=address, sequence=engine.sequence)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PHASE_POLL_SECONDS)


def main(settings: Settings | None = None, database_url: str | None = None) -> None:
    """Entry point of the process; ``database_url`` defaults to the setting."""
    settings = settings or get_settings()
    url = database_url or settings.database_url
    if url is None:
        raise SystemExit("NUGPAY_DATABASE_URL is not set; `nugpay ledger` finds the embedded database.")
    configure_logging("ledger", settings.log_level)
    uvloop.run(serve(settings, url))


if __name__ == "__main__":
    main()
