"""The ledger process' client: the same interface, over its socket.

Calls that come while a request is under way travel together in the next one, so
that many small callers get the speed of full batches. A connection that breaks
is tried again until a deadline, with the same ids: the ledger knows what it has
done, and a creation that went through before answers ``exists``. After the
deadline the caller is told whether the outcome is unknown.

With several addresses the next one is asked when one refuses, is dead, or
answers that it stands by; the one that answered last is asked first. Only the
process that holds the database's lock can answer a creation, so that it does
not matter which is asked, or how many.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import httpx
import numpy as np
import numpy.typing as npt

from ledger.addresses import split_addresses
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
from ledger.door.rights import LedgerForbidden
from ledger.interface import LedgerBusy, LedgerUnavailable, SegmentArchived
from ledger.operations import BATCHES_HEADER, JSON, PACKED
from ledger.queries import questions as q
from ledger.queries.operations import QUERY_OPERATIONS, QueryOperation
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
"""Pause after every address was asked in vain."""
CONNECT_SECONDS = 1.0
"""How long a machine may take to answer a connection before it counts as dead."""
SILENCE_SECONDS = 3
"""How long a machine that was connected may be silent on the wire (not: take to answer)."""


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


class _Server:
    """One address, and the connections to whoever has it."""

    def __init__(self, connect: Callable[[], httpx.AsyncClient]) -> None:
        self._connect = connect
        self._http = connect()
        self._under_way: Counter[httpx.AsyncClient] = Counter()
        """Requests by the connections that they use."""

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send a request and wait for its response; ``httpx.TransportError`` when there is none."""
        http = self._http
        self._under_way[http] += 1
        try:
            return await http.post(path, content=body, headers=headers)
        finally:
            self._under_way[http] -= 1
            if http is not self._http:
                await self._close_if_idle(http)

    async def connect_anew(self) -> None:
        """Let go of connections that were kept, once their requests have ended; the next one asks by name."""
        http, self._http = self._http, self._connect()
        await self._close_if_idle(http)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _close_if_idle(self, http: httpx.AsyncClient) -> None:
        if not self._under_way[http]:
            del self._under_way[http]
            await http.aclose()


class LedgerClient:
    """A ledger behind ``unix:/path`` or ``http://host:port``, or several with commas between.

    ``tls`` is what ``https:`` addresses are verified and answered with.
    """

    def __init__(
        self, url: str, *, deadline_seconds: float = DEADLINE_SECONDS, tls: ssl.SSLContext | None = None
    ) -> None:
        self.url = url
        self._deadline_seconds = deadline_seconds
        self._servers = [
            _Server(partial(_connect, address, deadline_seconds, tls)) for address in split_addresses(url)
        ]
        self._first = 0
        """The server that is asked first: the one that answered last."""
        self._lanes: dict[str, _Lane] = {"create_accounts": _Lane(), "create_transfers": _Lane()}

    async def close(self) -> None:
        """Close the connections, after the requests under way."""
        for lane in self._lanes.values():
            if lane.sender is not None:
                await lane.sender
        for server in self._servers:
            await server.close()

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

    async def search_transfers(self, search: q.TransferSearch) -> q.TransferPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._query(QUERY_OPERATIONS["search_transfers"], search, q.TransferPage)

    async def search_accounts(self, search: q.AccountSearch) -> q.AccountPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._query(QUERY_OPERATIONS["search_accounts"], search, q.AccountPage)

    async def get_balances_as_of(self, question: q.BalancesAsOf) -> q.BalancesPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._query(QUERY_OPERATIONS["get_balances_as_of"], question, q.BalancesPage)

    async def get_snapshot(self, ids: Sequence[int]) -> q.Snapshot:
        """See :class:`ledger.interface.Ledger`."""
        return await self._query(QUERY_OPERATIONS["get_snapshot"], ids, q.Snapshot)

    async def get_pending_states(self, ids: Sequence[int]) -> list[q.PendingState]:
        """See :class:`ledger.interface.Ledger`."""
        states: list[q.PendingState] = await self._query(QUERY_OPERATIONS["get_pending_states"], ids, list)
        return states

    async def get_period_statement(self, question: q.PeriodStatement) -> q.StatementPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._query(QUERY_OPERATIONS["get_period_statement"], question, q.StatementPage)

    async def get_changes(self, question: q.ChangesAfter) -> q.ChangesPage:
        """See :class:`ledger.interface.Ledger`; waits half of the client's deadline at most."""
        longest_seconds = int(self._deadline_seconds / 2)
        question = replace(question, wait_seconds=min(question.wait_seconds, longest_seconds))
        return await self._query(QUERY_OPERATIONS["get_changes"], question, q.ChangesPage)

    async def _query(self, operation: QueryOperation, question: Any, kind: type[Answer]) -> Answer:
        headers = {"content-type": JSON} | ({"accept": PACKED} if operation.rows else {})
        body = await self._request(operation.name, operation.write_question(question), headers, writes=False)
        answer = operation.read_answer(body)
        assert isinstance(answer, kind)
        return answer

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
            await self._send_together(operation, calls)
        lane.sender = None

    async def _send_together(self, operation: str, calls: list[_Call]) -> None:
        """Send calls in one request; every one of them gets its answer, or hears of the failure."""
        headers = {BATCHES_HEADER: ",".join(str(c.count) for c in calls)} if len(calls) > 1 else {}
        try:
            body = await self._request(operation, b"".join([c.body for c in calls]), headers, writes=True)
        # Every caller of this request must hear of its failure, whatever it is.
        except Exception as error:  # noqa: BLE001
            if isinstance(error, LedgerForbidden | SegmentArchived) and len(calls) > 1:
                # One call that is refused must not refuse its neighbours; where some of
                # them are stored already, their ids make the repetition safe.
                for call in calls:
                    await self._send_together(operation, [call])
                return
            for call in calls:
                if not call.answer.done():
                    call.answer.set_exception(error)
            return
        at = 0
        for call in calls:
            end = at + call.count * RESULT_SIZE
            if not call.answer.done():
                call.answer.set_result(body[at:end])
            at = end

    async def _request(self, operation: str, body: bytes, headers: dict[str, str], *, writes: bool) -> bytes:
        """Ask until there is an answer or the deadline is over."""
        deadline = time.monotonic() + self._deadline_seconds
        may_have_happened = False
        headers = {"content-type": PACKED} | headers
        tries = 0
        while True:
            asked = self._first
            tries += 1
            try:
                response = await self._servers[asked].post(f"/v1/{operation}", body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                reason = f"cannot connect: {str(error) or type(error).__name__}"
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
                if not busy:
                    # It may be a standby now, and its name another process' by now.
                    await self._servers[asked].connect_anew()
            if self._first == asked:
                # Another request may have moved on meanwhile.
                self._first = (asked + 1) % len(self._servers)
            is_round_over = tries % len(self._servers) == 0
            pause = RETRY_SECONDS if is_round_over else 0.0
            if is_round_over and time.monotonic() + pause > deadline:
                raise LedgerUnavailable(
                    f"The ledger does not answer: {reason}", outcome_unknown=may_have_happened
                )
            await asyncio.sleep(pause)


def _connect(address: str, deadline_seconds: float, tls: ssl.SSLContext | None) -> httpx.AsyncClient:
    """The connections to one server; none is made yet."""
    if address.startswith("https:") and tls is None:
        raise ValueError(f"{address} needs certificates; without them any public CA would be trusted")
    timeout = httpx.Timeout(deadline_seconds, connect=CONNECT_SECONDS)
    if address.startswith("unix:"):
        # Nothing is encrypted there; loading the machine's certificates would take longer than a request.
        transport = httpx.AsyncHTTPTransport(uds=address.removeprefix("unix:"), verify=False)
        address = "http://ledger"
    else:
        transport = httpx.AsyncHTTPTransport(
            verify=False if tls is None else tls, trust_env=False, socket_options=_liveness_options()
        )
    return httpx.AsyncClient(transport=transport, base_url=address, timeout=timeout, trust_env=False)


def _liveness_options() -> list[tuple[int, int, int]]:
    """Let the kernel end connections to a machine that has vanished.

    A machine that lost its power closes nothing: without this a request would wait for
    its answer until the deadline, though a standby serves already.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (
        ("TCP_KEEPIDLE", 1),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", SILENCE_SECONDS - 1),
        ("TCP_USER_TIMEOUT", SILENCE_SECONDS * 1000),
    ):
        # Not every system has all of them.
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


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
        case "ledger_segment_archived":
            raise SegmentArchived.told(str(problem.get("detail")), int(problem.get("segment") or 0))
        case "ledger_forbidden":
            raise LedgerForbidden(
                str(problem.get("rule")), str(problem.get("detail")), index=problem.get("index")
            )
        case _ if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            raise InvalidRequest(str(problem.get("detail")))
        case _:
            return problem | {"outcome_unknown": True}
