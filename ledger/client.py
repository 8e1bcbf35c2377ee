"""The ledger process' client: the same interface, over its socket.

Calls that come while a request is under way travel together in the next one, so
that many small callers get the speed of full batches. A connection that breaks
is tried again until a deadline, with the same ids: the ledger knows what it has
done, and a creation that went through before answers ``exists``. After the
deadline the caller is told whether the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import numpy as np
import numpy.typing as npt

from ledger.contract import (
    BATCH_MAX,
    Account,
    AccountBalance,
    AccountFilter,
    AccountFilterFlags,
    ChangeEvent,
    ChangeEventsFilter,
    CreateAccountResult,
    CreateTransferResult,
    InvalidFilter,
    InvalidRequest,
    QueryFilter,
    StatementLine,
    Transfer,
)
from ledger.interface import LedgerBusy, LedgerUnavailable
from ledger.operations import BATCHES_HEADER, PACKED
from ledger.query_records import (
    pack_filter,
    unpack_balances,
    unpack_change_events,
    unpack_statement,
)
from ledger.records import (
    RESULT_DTYPE,
    RESULT_SIZE,
    pack_accounts,
    pack_ids,
    pack_transfers,
    unpack_account_results,
    unpack_accounts,
    unpack_transfer_results,
    unpack_transfers,
)

Answer = TypeVar("Answer")

DEADLINE_SECONDS = 10.0
"""How long a call tries to reach the ledger before it gives up."""
RETRY_SECONDS = 0.05
"""Pause between two tries."""


@dataclass(slots=True, eq=False)
class _Call:
    """One caller's creation: its records, and where the answer goes."""

    body: bytes
    count: int
    answer: asyncio.Future[bytes]


@dataclass(slots=True)
class _Lane:
    """Creations of one kind: those that wait, and the task that sends them."""

    waiting: deque[_Call] = field(default_factory=deque)
    sender: asyncio.Task[None] | None = None


class LedgerClient:
    """A ledger behind ``unix:/path`` or ``http://host:port``."""

    def __init__(self, url: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self.url = url
        self._deadline_seconds = deadline_seconds
        timeout = httpx.Timeout(deadline_seconds, connect=2.0)
        if url.startswith("unix:"):
            transport = httpx.AsyncHTTPTransport(uds=url.removeprefix("unix:"))
            self._http = httpx.AsyncClient(transport=transport, base_url="http://ledger", timeout=timeout)
        else:
            self._http = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False)
        self._lanes: dict[str, _Lane] = {"create_accounts": _Lane(), "create_transfers": _Lane()}

    async def close(self) -> None:
        """Close the connections, after the requests under way."""
        for lane in self._lanes.values():
            if lane.sender is not None:
                await lane.sender
        await self._http.aclose()

    async def create_accounts(self, accounts: Sequence[Account]) -> list[CreateAccountResult]:
        """See :class:`ledger.interface.Ledger`."""
        body = await self._create("create_accounts", pack_accounts(accounts), len(accounts))
        return unpack_account_results(body)

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]:
        """See :class:`ledger.interface.Ledger`."""
        body = await self._create("create_transfers", pack_transfers(transfers), len(transfers))
        return unpack_transfer_results(body)

    async def create_transfer_records(self, records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """The same for bulk callers: ``TRANSFER_DTYPE`` in, ``RESULT_DTYPE`` out."""
        body = await self._create("create_transfers", records.tobytes(), len(records))
        return np.frombuffer(body, RESULT_DTYPE)

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._read("lookup_accounts", pack_ids(ids), unpack_accounts)

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._read("lookup_transfers", pack_ids(ids), unpack_transfers)

    async def get_account_transfers(self, filter: AccountFilter) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._read("get_account_transfers", pack_filter(filter), unpack_transfers)

    async def get_account_balances(self, filter: AccountFilter) -> list[AccountBalance]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._read("get_account_balances", pack_filter(filter), unpack_balances)

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._read("query_accounts", pack_filter(filter), unpack_accounts)

    async def query_transfers(self, filter: QueryFilter) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._read("query_transfers", pack_filter(filter), unpack_transfers)

    async def get_change_events(self, filter: ChangeEventsFilter) -> list[ChangeEvent]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._read("get_change_events", pack_filter(filter), unpack_change_events)

    async def get_statement(
        self, account_id: int, *, before: int | None = None, limit: int = 50
    ) -> list[StatementLine]:
        """See :class:`ledger.interface.Ledger`."""
        if before is not None and before < 1:
            raise InvalidFilter("before", "must be 1 to 2^63-1")
        if before == 1:
            return []
        both = int(AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS)
        page = AccountFilter(account_id=account_id, timestamp_max=(before or 1) - 1, limit=limit, flags=both)
        return await self._read("get_statement", pack_filter(page), unpack_statement)

    async def _read(self, operation: str, body: bytes, unpack: Callable[[bytes], Answer]) -> Answer:
        return unpack(await self._request(operation, body, {}, writes=False))

    async def _create(self, operation: str, body: bytes, count: int) -> bytes:
        if count > BATCH_MAX:
            raise InvalidRequest(f"a request holds at most {BATCH_MAX} events, not {count}")
        lane = self._lanes[operation]
        call = _Call(body, count, asyncio.get_running_loop().create_future())
        lane.waiting.append(call)
        if lane.sender is None:
            lane.sender = asyncio.create_task(self._send(operation, lane))
        return await call.answer

    async def _send(self, operation: str, lane: _Lane) -> None:
        """Send what waits, one request at a time, until nothing waits."""
        while lane.waiting:
            calls = [lane.waiting.popleft()]
            events = calls[0].count
            while lane.waiting and events + lane.waiting[0].count <= BATCH_MAX:
                calls.append(lane.waiting.popleft())
                events += calls[-1].count
            headers = {BATCHES_HEADER: ",".join(str(c.count) for c in calls)} if len(calls) > 1 else {}
            try:
                body = await self._request(operation, b"".join([c.body for c in calls]), headers, writes=True)
            # Every caller of this request must hear of its failure, whatever it is.
            except Exception as error:  # noqa: BLE001
                for call in calls:
                    if not call.answer.done():
                        call.answer.set_exception(error)
                continue
            at = 0
            for call in calls:
                end = at + call.count * RESULT_SIZE
                if not call.answer.done():
                    call.answer.set_result(body[at:end])
                at = end
        lane.sender = None

    async def _request(self, operation: str, body: bytes, headers: dict[str, str], *, writes: bool) -> bytes:
        """Ask until there is an answer or the deadline is over."""
        deadline = time.monotonic() + self._deadline_seconds
        may_have_happened = False
        headers = {"content-type": PACKED} | headers
        while True:
            try:
                response = await self._http.post(f"/v1/{operation}", content=body, headers=headers)
            except httpx.ConnectError as error:
                reason = f"cannot connect: {error}"
            except httpx.TransportError as error:
                # The request may have arrived: the same ids make another try safe.
                may_have_happened = writes
                reason = f"connection lost: {type(error).__name__}"
            else:
                if response.status_code == httpx.codes.OK:
                    return response.content
                problem = _read_problem(response)
                if problem.get("outcome_unknown"):
                    may_have_happened = writes
                reason = str(problem.get("detail"))
                busy = problem.get("code") == "ledger_busy"
                if busy and not may_have_happened:
                    raise LedgerBusy(int(response.headers.get("retry-after", "1")))
            if time.monotonic() + RETRY_SECONDS > deadline:
                raise LedgerUnavailable(
                    f"The ledger does not answer: {reason}", outcome_unknown=may_have_happened
                )
            await asyncio.sleep(RETRY_SECONDS)


def _read_problem(response: httpx.Response) -> dict[str, Any]:
    """A problem that another try may cure; the others are raised."""
    try:
        problem: dict[str, Any] = response.json()
    except ValueError:
        problem = {"code": "unknown", "detail": f"status {response.status_code}"}
    match problem.get("code"):
        case "invalid_filter":
            raise InvalidFilter(str(problem.get("field")), str(problem.get("detail")))
        case "ledger_busy" | "ledger_unavailable":
            return problem
        case _ if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            raise InvalidRequest(str(problem.get("detail")))
        case _:
            return problem | {"outcome_unknown": True}
