"""JSON-RPC to an EVM node: raw, batched, typed.

Answers are decoded straight into msgspec structs, and each batch is matched by
id. Three outcomes are told apart: the node decided against us (``RPCError``), it
did not answer or not yet (``RPCUnavailable``), it answered nonsense
(``RPCMalformed``). Reads are tried again, also when the answer is null, since a
node behind a load balancer may lag; whatever could have an effect is sent once,
and its caller looks the outcome up.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar, cast

import aiohttp
import certifi
import msgspec

from chain.errors import RPCError, RPCMalformed, RPCUnavailable

T = TypeVar("T")

Call = tuple[str, Sequence[Any]]
"""A method and its parameters."""

BATCH_MAX = 100
"""Most calls in one request; longer batches are cut. Several providers refuse more."""
REQUESTS_MAX = 4
"""Most requests at a time for one long batch of reads."""
ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""Largest answer that is read; a larger one is malformed."""
READ_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4)
"""Pauses before a read is tried again; after them it is unavailable."""

_IDLE_SECONDS = 5.0
"""How long an idle connection is kept: shorter than nodes do, which would cut one that is just used."""
_READ_BYTES = 1024 * 1024
"""What is read ahead of an answer; with less, large ones stop and go on again and again."""
_BEGINNING_BYTES = 1_024
"""Where an answer's first character is looked for; white space before it may be as long."""
_READ_PREFIXES = ("eth_get", "eth_call", "eth_chainId", "eth_blockNumber", "eth_estimateGas",
                  "eth_feeHistory", "eth_gasPrice", "eth_maxPriorityFeePerGas", "web3_", "net_")  # fmt: skip


Quantity = Annotated[str, msgspec.Meta(pattern=r"^0x[0-9a-f]{1,64}\Z")]
"""A number of at most 256 bits as the node writes it."""
Word = Annotated[str, msgspec.Meta(pattern=r"^0x[0-9a-f]{64}\Z")]
"""32 bytes: a hash, a topic, or what a contract answers."""
Bloom = Annotated[str, msgspec.Meta(min_length=514, max_length=514)]
"""256 bytes; only read as a number, so no pattern, which would take longer than all else in a header."""

# The patterns matter beyond tidiness: these texts go into tables and statements, and
# a node is a stranger.


class Header(msgspec.Struct, frozen=True, rename="camel"):
    """A block's header, as far as the mirror needs it; numbers are hex text."""

    number: Quantity
    hash: Word
    parent_hash: Word
    timestamp: Quantity
    logs_bloom: Bloom

    @property
    def height(self) -> int:
        """The block's number."""
        return int(self.number, 16)


class Topics(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A log's topics, empty where it has fewer; a fourth is all that is needed to know that there is one."""

    event: str = ""
    first: str = ""
    second: str = ""
    third: str = ""


class Log(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An event log of a mined block, as the node gives it; its texts are not checked here.

    There are too many of them for a pattern each: who takes them further checks
    them all together. Nor does the garbage collector look at them, which would do so
    again and again during a backfill: texts make no cycles.
    """

    address: str
    topics: Topics
    data: str
    block_hash: str
    block_number: str
    transaction_hash: str
    log_index: str


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a tx; ``status`` is 0x1 for success, 0x0 for a revert."""

    transaction_hash: Word
    block_hash: Word
    block_number: Quantity
    status: Quantity
    gas_used: Quantity

    @property
    def height(self) -> int:
        """Number of the block that holds the tx."""
        return int(self.block_number, 16)

    @property
    def succeeded(self) -> bool:
        """Whether the tx did what it was sent for."""
        return int(self.status, 16) == 1


class _Fault(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: Any = None


class _Answer(msgspec.Struct, Generic[T], frozen=True):
    id: int | None = None
    result: T | None = None
    error: _Fault | None = None


class RPC:
    """A node's JSON-RPC endpoint over HTTP; one per event loop, closed at its end."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 10.0,
        batch_max: int = BATCH_MAX,
        requests_max: int = REQUESTS_MAX,
    ) -> None:
        self.url = url
        self._batch_max = batch_max
        self._requests_max = requests_max
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, *params: Any) -> Any:
        """One call; its result as plain JSON values, null as None.

        Raises ``RPCError``, ``RPCUnavailable`` or ``RPCMalformed``. A read is tried
        again when the node does not answer; anything else is sent once.
        """
        return (await self.batch([(method, params)]))[0]

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Several calls, one result each, in order; the first error of any is raised."""
        return await self._results(calls, Any, null_is_an_answer=True)

    async def read(self, calls: Sequence[Call], answer: type[T]) -> list[T]:
        """Reads whose results exist: decoded as ``answer``, retried while any is null.

        A null is the answer of a node that lags or has just lost the block; after
        the last try it is ``RPCUnavailable``.
        """
        return cast("list[T]", await self._results(calls, answer, null_is_an_answer=False))

    async def find(self, calls: Sequence[Call], answer: type[T]) -> list[T | None]:
        """Reads whose results may not exist: decoded as ``answer``, or None."""
        return await self._results(calls, answer, null_is_an_answer=True)

    async def outcomes(self, calls: Sequence[Call]) -> list[Any | RPCError]:
        """As ``batch``, but each call's own error stands in its place."""
        answers = await self._answers(calls, Any)
        return [_outcome(method, one) for (method, _), one in zip(calls, answers, strict=True)]

    async def _results(
        self, calls: Sequence[Call], answer: type[T], *, null_is_an_answer: bool
    ) -> list[T | None]:
        pauses = iter(READ_PAUSES_SECONDS)
        while True:
            results: list[T | None] = []
            for (method, _), one in zip(calls, await self._answers(calls, answer), strict=True):
                if one.error is not None:
                    raise _error(method, one.error)
                results.append(one.result)
            missing = None if null_is_an_answer else _first_null(results)
            if missing is None:
                return results
            pause = next(pauses, None)
            if pause is None:
                raise RPCUnavailable(calls[missing][0], "the answer stays null", outcome_unknown=False)
            await asyncio.sleep(pause)

    async def _answers(self, calls: Sequence[Call], answer: type[T]) -> list[_Answer[T]]:
        parts = [calls[first : first + self._batch_max] for first in range(0, len(calls), self._batch_max)]
        if len(parts) < 2 or not _may_repeat(calls):
            return [one for part in parts for one in await self._request(part, answer)]
        # Several reads at once: the node works on the next while we read the last.
        slots = asyncio.Semaphore(self._requests_max)

        async def request(part: Sequence[Call]) -> list[_Answer[T]]:
            async with slots:
                return await self._request(part, answer)

        tasks = [asyncio.create_task(request(part)) for part in parts]
        try:
            return [one for found in await asyncio.gather(*tasks) for one in found]
        finally:
            for task in tasks:
                task.cancel()

    async def _request(self, calls: Sequence[Call], answer: type[T]) -> list[_Answer[T]]:
        method = calls[0][0]
        may_repeat = _may_repeat(calls)
        body = msgspec.json.encode(
            [
                {"jsonrpc": "2.0", "id": index, "method": name, "params": list(params)}
                for index, (name, params) in enumerate(calls)
            ]
        )
        pauses = iter(READ_PAUSES_SECONDS if may_repeat else ())
        while True:
            try:
                received = await self._post(method, body, may_repeat=may_repeat)
            except RPCUnavailable:
                pause = next(pauses, None)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return _matched(method, received, len(calls), answer)

    async def _post(self, method: str, body: bytes, *, may_repeat: bool) -> bytearray:
        received = bytearray()
        try:
            # A node may neither read nor answer; once it answers, the session's own limit
            # holds for each piece, so that a long answer may take longer than this.
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._opened().post(self.url, data=body, allow_redirects=False)
            async with response:
                async for part in response.content.iter_any():
                    received += part
                    if len(received) > ANSWER_BYTES_MAX:
                        raise RPCMalformed(method, f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        # A connection that was not made has sent nothing; after any other failure the
        # node may have taken the call.
        except aiohttp.ClientConnectorError as error:
            raise RPCUnavailable(method, "the node refuses connections", outcome_unknown=False) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            detail = f"{type(error).__name__} {error}".strip()
            raise RPCUnavailable(method, detail, outcome_unknown=not may_repeat) from error
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RPCUnavailable(method, "too many requests", outcome_unknown=False)
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise RPCUnavailable(method, f"HTTP {response.status}", outcome_unknown=not may_repeat)
        return received

    def _opened(self) -> aiohttp.ClientSession:
        """The session, which belongs to the event loop of the first request."""
        if self._session is None:
            secure = self.url.lower().startswith("https:")
            # The same authorities everywhere, whatever the machine trusts.
            trusted = ssl.create_default_context(cafile=certifi.where()) if secure else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted, keepalive_timeout=_IDLE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._timeout_seconds),
                headers={"content-type": "application/json"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                read_bufsize=_READ_BYTES,
            )
        return self._session


def _may_repeat(calls: Sequence[Call]) -> bool:
    """Whether the calls only read, so that asking again changes nothing."""
    return all(name.startswith(_READ_PREFIXES) for name, _ in calls)


def _matched(method: str, body: bytearray, count: int, answer: type[T]) -> list[_Answer[T]]:
    """The answers in the order of the calls; each id exactly once."""
    kind: Any = answer  # For mypy a type is not hashable.
    try:
        # A node that refuses the batch as a whole answers one object. Only its beginning is
        # looked at: an answer may be long, and must not be copied for that.
        if body[:_BEGINNING_BYTES].lstrip()[:1] == b"{":
            single = msgspec.json.decode(body, type=_Answer[Any])
            if single.error is not None:
                raise _error(method, single.error)
            raise RPCMalformed(method, "one answer to a batch")
        answers: list[_Answer[T]] = _decoder(kind).decode(body)
    except msgspec.DecodeError as error:
        raise RPCMalformed(method, str(error)) from error
    by_id = {one.id: one for one in answers}
    if len(answers) != count or set(by_id) != set(range(count)):
        raise RPCMalformed(method, f"{len(answers)} answers to {count} calls, or unknown ids")
    return [by_id[index] for index in range(count)]


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[_Answer[kind]])


def _outcome(method: str, answer: _Answer[Any]) -> Any | RPCError:
    return _error(method, answer.error) if answer.error is not None else answer.result


def _error(method: str, fault: _Fault) -> RPCError:
    return RPCError(method, fault.code, fault.message, fault.data if isinstance(fault.data, str) else None)


def _first_null(results: Sequence[object]) -> int | None:
    return next((index for index, result in enumerate(results) if result is None), None)
