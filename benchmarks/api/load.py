"""Load: prepared requests over kept connections, and how long their answers took.

In a closed loop a connection sends its next request when it has an answer. In an open
one requests arrive at a rate whatever happens, wait for a connection that is free, and
their latency counts from when they were meant to be sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import cast

import msgspec

TICK_SECONDS = 0.0005
"""How often the open loop looks which requests are due."""


class Answers(msgspec.Struct):
    """What became of the requests."""

    milliseconds: list[float]
    """Of each answer, in the order in which they came."""
    statuses: dict[int, int]
    """How many answers had each status."""
    seconds: float
    """From the first request to the last answer."""
    sample: bytes
    """The last answer, whole."""


class _Run:
    """Requests that wait, and the times of those that were answered."""

    def __init__(self, requests: list[bytes]) -> None:
        self.waiting: deque[tuple[float | None, bytes]] = deque()
        self.requests = requests
        self.idle: deque[_Connection] = deque()
        self.milliseconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.sample = b""
        self.done = asyncio.get_running_loop().create_future()

    def answered(self, connection: _Connection, since: float, answer: bytes) -> None:
        self.milliseconds.append((time.perf_counter() - since) * 1_000)
        self.statuses[int(answer[9:12])] += 1
        if len(self.milliseconds) == len(self.requests):
            self.sample = answer
            self.done.set_result(None)
        elif self.waiting:
            connection.ask(*self.waiting.popleft())
        else:
            self.idle.append(connection)

    def ask(self, since: float | None, request: bytes) -> None:
        if self.idle:
            self.idle.popleft().ask(since, request)
        else:
            self.waiting.append((since, request))

    def lost(self) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed a connection"))


class _Connection(asyncio.Protocol):
    """One connection, with one request under way at a time."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._since = 0.0
        self._answer = b""
        self._length = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._run.lost()

    def ask(self, since: float | None, request: bytes) -> None:
        assert self._transport is not None
        self._since = time.perf_counter() if since is None else since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._length < 0:
            end = self._answer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._answer[:end].lower()
            at = head.index(b"content-length:") + 15
            self._length = end + 4 + int(head[at:].partition(b"\r\n")[0])
        if len(self._answer) >= self._length:
            answer, self._answer, self._length = self._answer, b"", -1
            self._run.answered(self, self._since, answer)


async def send(host: str, port: int, connections: int, rate: float, requests: list[bytes]) -> Answers:
    """Send them all, and wait for every answer; at ``rate`` a second, or in a closed loop for 0."""
    loop = asyncio.get_running_loop()
    run = _Run(requests)
    made = [await loop.create_connection(lambda: _Connection(run), host, port) for _ in range(connections)]
    run.idle.extend(protocol for _, protocol in made)
    began = time.perf_counter()
    if rate:
        sent = 0
        while sent < len(requests):
            due = min(len(requests), int((time.perf_counter() - began) * rate) + 1)
            for number in range(sent, due):
                run.ask(began + number / rate, requests[number])
            sent = due
            await asyncio.sleep(TICK_SECONDS)
    else:
        for request in requests:
            run.ask(None, request)
    await run.done
    seconds = time.perf_counter() - began
    for transport, _ in made:
        transport.close()
    return Answers(run.milliseconds, dict(run.statuses), seconds, run.sample)
