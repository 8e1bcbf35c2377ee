"""The connection: signs, sends, and tells a refusal from a doubt.

Every attempt is signed anew with a new nonce, since a server accepts a nonce
once. A wrong device clock is corrected from the server's answer, one time a
request.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from typing import Any

import httpx

from nugpay_client.cbor import CBORMalformed, decode, encode
from nugpay_client.clock import DeviceClock
from nugpay_client.errors import (
    AnswerMalformed,
    NUGPayClientError,
    Problem,
    ServiceUnavailable,
    Unreachable,
    refused,
)
from nugpay_client.keys import RequestSigner
from nugpay_client.signing import signature_headers

CBOR = "application/cbor"
"""The compact form of requests and answers."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often the same is sent again."""

    attempts: int = 8
    """Most attempts, the first included."""
    pause_seconds: float = 0.25
    """First pause; each next one is twice as long."""
    pause_seconds_max: float = 8.0
    """Longest pause."""

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the ``attempt``-th attempt (from 1), spread so that crowds disperse."""
        full = min(self.pause_seconds * float(2 ** (attempt - 1)), self.pause_seconds_max)
        return full * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret


class NoAnswer(NUGPayClientError):
    """The server may or may not have carried the request out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A success."""

    content: Any
    """What JSON said; of a file its bytes."""
    replayed: bool
    """Whether an earlier request had this effect."""


class Connection:
    """One device's way to one server."""

    def __init__(
        self,
        base_url: str,
        signer: RequestSigner,
        *,
        http: httpx.AsyncClient,
        clock: DeviceClock,
        retry: RetryPolicy,
        language: str | None = None,
        compact: bool = False,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._signer = signer
        self._http = http
        self.clock = clock
        self.retry = retry
        self.language = language
        self.compact = compact
        self.token: str | None = None
        """The session that requests carry, once there is one."""

    @property
    def base_url(self) -> str:
        """Where /v1 is, without a slash at the end."""
        return self._base_url

    @property
    def signer(self) -> RequestSigner:
        """The key that signs."""
        return self._signer

    async def send_once(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        accept: str | None = None,
    ) -> Answer:
        """One attempt, and a second one if only the clock was wrong.

        ``RequestRefused`` or ``ServiceUnavailable`` when nothing has happened,
        ``NoAnswer`` when that is not known.
        """
        answer = await self._attempt(method, path, body, query, accept)
        problem = answer if isinstance(answer, Problem) else None
        if problem is not None and problem.code == "signature_clock_out_of_window":
            self.clock.learn(str(problem.data["server_time"]))
            answer = await self._attempt(method, path, body, query, accept)
        if isinstance(answer, Answer):
            return answer
        if answer.money_moved == "unknown":
            raise NoAnswer(f"{answer.code}: {answer.detail}")
        # Who has asked too often is not helped by asking again at once.
        if (answer.retryable == "true" and answer.status != 429) or answer.status >= 500:
            raise ServiceUnavailable(answer)
        raise refused(answer)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        accept: str | None = None,
    ) -> Answer:
        """Send what is safe to repeat until it is answered; ``Unreachable`` when it never is.

        A body of bytes is a CSV file, any other is sent as JSON. ``accept`` asks for a file
        of that kind; the answer is then its bytes.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self.send_once(method, path, body, query=query, accept=accept)
            except ServiceUnavailable as error:
                if attempt >= self.retry.attempts or not error.may_pass:
                    raise
            except NoAnswer as error:
                if attempt >= self.retry.attempts:
                    raise Unreachable(f"{method} {path}: {error}") from error
            await asyncio.sleep(self.retry.pause(attempt))

    def headers(self, method: str, url: str, content: bytes) -> dict[str, str]:
        """What proves who sends a request, new for each attempt."""
        return signature_headers(
            self._signer,
            method=method,
            url=url,
            body=content,
            created=int(self.clock.now()),
            token=self.token,
        )

    async def _attempt(
        self, method: str, path: str, body: Any, query: dict[str, str] | None, accept: str | None
    ) -> Answer | Problem:
        is_file = isinstance(body, bytes)
        if is_file:
            content: bytes = body
        else:
            content = self._written(body) if body is not None else b""
        # The very URL that is sent is the one that is signed.
        url = httpx.URL(self._base_url + path, params=query) if query else httpx.URL(self._base_url + path)
        headers = self.headers(method, str(url), content)
        if content:
            headers["Content-Type"] = "text/csv" if is_file else CBOR if self.compact else "application/json"
        if accept is not None or self.compact:
            headers["Accept"] = accept or CBOR
        if self.language:
            headers["Accept-Language"] = self.language
        try:
            response = await self._http.request(method, url, content=content, headers=headers)
        except httpx.TransportError as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        return _read(response, accept)

    def _written(self, body: Any) -> bytes:
        return encode(body) if self.compact else json.dumps(body, separators=(",", ":")).encode()


def _read(response: httpx.Response, accept: str | None) -> Answer | Problem:
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    if response.is_success and accept is not None and kind == accept:
        return Answer(response.content, replayed=False)
    try:
        content = decode(response.content) if kind == CBOR else response.json()
    except (ValueError, CBORMalformed):
        content = None
    if response.is_success:
        if content is None:
            raise AnswerMalformed(f"{response.status_code} without JSON or CBOR")
        return Answer(content, replayed=response.headers.get("idempotency-replayed") == "true")
    problem = Problem.read(response.status_code, content)
    if problem is None:
        # A proxy spoke instead of the API: it may have cut off a request that went through.
        raise NoAnswer(f"{response.status_code} from something that is not the API")
    return problem
