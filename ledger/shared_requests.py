"""Shared requests: small calls that travel together.

What is asked while a request is under way waits, and is the next request: so many small
callers get the speed of full batches, and one caller alone never waits for others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.contract import BATCH_MAX
from ledger.door.rights import LedgerForbidden
from ledger.interface import SegmentArchived
from ledger.records import ID_SIZE, RECORD_SIZE, RESULT_SIZE

Send = Callable[[bytes, Sequence[int] | None], Awaitable[bytes]]
"""Sends a request's body and the sizes of its batches; gives the body of the answer, or raises."""


@dataclass(slots=True, eq=False)
class Call:
    """One caller's part of a request, and where its part of the answer goes."""

    body: bytes
    count: int
    """How many events or ids it has."""
    answer: asyncio.Future[bytes]


Divide = Callable[[Sequence[Call], bytes], list[bytes]]
"""Each call's part of an answer, given the calls as they were sent."""


class SharedRequests:
    """Calls of one kind: those that wait, and the task that sends them, one request at a time."""

    def __init__(self, send: Send, divide: Divide, *, tells_batches: bool) -> None:
        """``tells_batches``: the server is to know where one caller's events end."""
        self._send: Final = send
        self._divide: Final = divide
        self._tells_batches: Final = tells_batches
        self._waiting: Final[deque[Call]] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def ask(self, body: bytes, count: int) -> bytes:
        """The answer to a call; raises what the request that it went in raised."""
        call = Call(body, count, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return await call.answer

    async def finish(self) -> None:
        """Wait until nothing is under way."""
        if self._sender is not None:
            await self._sender

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                calls = [self._waiting.popleft()]
                count = calls[0].count
                while self._waiting and count + self._waiting[0].count <= BATCH_MAX:
                    calls.append(self._waiting.popleft())
                    count += calls[-1].count
                await self._send_together(calls)
        finally:
            # Also where the loop ends it: whoever calls next begins anew.
            self._sender = None

    async def _gather(self) -> None:
        """Let everybody who is about to call do so; a caller who is alone waits one turn of the loop.

        A request costs the ledger as much as dozens of the events in it. Where the loop has
        more to do anyway, those who are ready in this turn of it would be the next request.
        """
        seen = 0
        while len(self._waiting) > seen:
            seen = len(self._waiting)
            await asyncio.sleep(0)

    async def _send_together(self, calls: list[Call]) -> None:
        """Send calls in one request; every one of them gets its answer, or hears of the failure."""
        several = self._tells_batches and len(calls) > 1
        batches = [call.count for call in calls] if several else None
        try:
            body = await self._send(b"".join([call.body for call in calls]), batches)
            parts = self._divide(calls, body)
        # Every caller of this request must hear of its failure, whatever it is.
        except Exception as error:  # noqa: BLE001
            if isinstance(error, LedgerForbidden | SegmentArchived) and len(calls) > 1:
                # One call that is refused must not refuse its neighbours; where some of
                # them are stored already, their ids make the repetition safe.
                for call in calls:
                    await self._send_together([call])
                return
            for call in calls:
                if not call.answer.done():
                    call.answer.set_exception(error)
            return
        for call, part in zip(calls, parts, strict=True):
            if not call.answer.done():
                call.answer.set_result(part)


def results_of(calls: Sequence[Call], body: bytes) -> list[bytes]:
    """A creation's results: one for each event, in their order."""
    parts: list[bytes] = []
    at = 0
    for call in calls:
        end = at + call.count * RESULT_SIZE
        parts.append(body[at:end])
        at = end
    return parts


def records_of(calls: Sequence[Call], body: bytes) -> list[bytes]:
    """A lookup's records: of each call those that were found of its ids, in the order of these."""
    if len(calls) == 1:
        return [body]
    found = {body[at : at + ID_SIZE]: body[at : at + RECORD_SIZE] for at in range(0, len(body), RECORD_SIZE)}
    parts: list[bytes] = []
    for call in calls:
        ids = (call.body[at : at + ID_SIZE] for at in range(0, len(call.body), ID_SIZE))
        parts.append(b"".join([found[one] for one in ids if one in found]))
    return parts
