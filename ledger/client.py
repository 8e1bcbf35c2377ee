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
import json
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ledger.addresses import split_addresses
from ledger.connections import Answered, CannotConnect, ConnectionLost, LedgerServer
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
from ledger.frames import Question
from ledger.interface import LedgerBusy, LedgerUnavailable, SegmentArchived
from ledger.operations import JSON
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
    pack_accounts,
    pack_ids,
    pack_transfers,
    unpack_account_results,
    unpack_accounts,
    unpack_transfer_results,
    unpack_transfers,
)
from ledger.shared_requests import Divide, SharedRequests, records_of, results_of

Answer = TypeVar("Answer")

DEADLINE_SECONDS = 10.0
"""How long a call tries to reach the ledger before it gives up."""
LARGE_EVENTS = 1024
"""So many events gain nothing by travelling with others."""
LARGE_AT_ONCE = 3
"""Large requests under way: one is decided while one is committed and one is on its way."""
RETRY_SECONDS = 0.05
"""Pause after every address was asked in vain."""


class LedgerClient:
    """A ledger behind ``unix:/path`` or ``http://host:port``, or several with commas between.

    ``tls`` is what ``https:`` addresses are verified and answered with.
    """

    def __init__(
        self, url: str, *, deadline_seconds: float = DEADLINE_SECONDS, tls: ssl.SSLContext | None = None
    ) -> None:
        self.url = url
        self._deadline_seconds = deadline_seconds
        self._servers = [LedgerServer(address, deadline_seconds, tls) for address in split_addresses(url)]
        self._first = 0
        """The server that is asked first: the one that answered last."""
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._shared = {
            operation: self._shared_requests(operation, divide, writes=writes)
            for operation, divide, writes in (
                ("create_accounts", results_of, True),
                ("create_transfers", results_of, True),
                ("lookup_accounts", records_of, False),
                ("lookup_transfers", records_of, False),
            )
        }

    async def close(self) -> None:
        """Close the connections, after the requests under way."""
        for requests in self._shared.values():
            await requests.finish()
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
        return unpack_accounts(await self._look_up("lookup_accounts", ids))

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        return unpack_transfers(await self._look_up("lookup_transfers", ids))

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
        asked = Question(
            operation.name, operation.write_question(question), JSON, wants_packed=operation.rows is not None
        )
        answer = operation.read_answer(await self._request(asked, writes=False))
        assert isinstance(answer, kind)
        return answer

    async def _read(self, operation: str, body: bytes, unpack: Callable[[bytes], Answer]) -> Answer:
        return unpack(await self._request(Question(operation, body), writes=False))

    async def _create(self, operation: str, body: bytes, count: int) -> bytes:
        if count > BATCH_MAX:
            raise InvalidRequest(f"a request holds at most {BATCH_MAX} events, not {count}")
        if count < LARGE_EVENTS:
            return await self._shared[operation].ask(body, count)
        async with self._large:
            return await self._request(Question(operation, body), writes=True)

    async def _look_up(self, operation: str, ids: Sequence[int]) -> bytes:
        body = pack_ids(ids)
        if len(ids) > BATCH_MAX:
            # The server says what it thinks of that.
            return await self._request(Question(operation, body), writes=False)
        return await self._shared[operation].ask(body, len(ids))

    def _shared_requests(self, operation: str, divide: Divide, *, writes: bool) -> SharedRequests:
        async def send(body: bytes, batches: Sequence[int] | None) -> bytes:
            return await self._request(Question(operation, body, batches=batches), writes=writes)

        return SharedRequests(send, divide, tells_batches=writes)

    async def _request(self, question: Question, *, writes: bool) -> bytes:
        """Ask until there is an answer or the deadline is over."""
        deadline = time.monotonic() + self._deadline_seconds
        may_have_happened = False
        tries = 0
        while True:
            asked = self._first
            tries += 1
            try:
                response = await self._servers[asked].ask(question)
            except CannotConnect as error:
                reason = f"cannot connect: {error}"
            except ConnectionLost as error:
                # The question may have arrived: the same ids make another try safe.
                may_have_happened = writes
                reason = f"connection lost: {error}"
            else:
                if response.status == HTTPStatus.OK:
                    return response.body
                try:
                    problem = _read_problem(response)
                except (LedgerForbidden, InvalidRequest) as error:
                    if not may_have_happened:
                        raise
                    # An earlier try was lost, and may have been let in: this refusal is of the last one.
                    raise LedgerUnavailable(
                        f"The ledger refused to be asked again: {error}", outcome_unknown=True
                    ) from error
                if problem.get("outcome_unknown"):
                    may_have_happened = writes
                reason = str(problem.get("detail"))
                busy = problem.get("code") == "ledger_busy"
                if busy and not may_have_happened:
                    raise LedgerBusy(int(problem.get("retry_seconds") or 1))
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


def _read_problem(response: Answered) -> dict[str, Any]:
    """A problem that another try may cure; the others are raised."""
    try:
        problem: dict[str, Any] = json.loads(response.body)
    except ValueError:
        problem = {"code": "unknown", "detail": f"status {response.status}"}
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
        case _ if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise InvalidRequest(str(problem.get("detail")))
        case _:
            return problem | {"outcome_unknown": True}
