"""Engine: the ledger in this process, behind the same interface as its client.

The writer thread decides and commits; histories and queries are read from the
journal through a small pool of connections, after the commits they depend on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from foundation.clock import Clock
from foundation.postgres import sync_url
from ledger.account_head import AccountHead
from ledger.archive import Head
from ledger.archived import SegmentFinder
from ledger.commands import (
    CreateAccounts,
    CreateTransfers,
    FindHead,
    Inspect,
    Instant,
    LookupAccounts,
    Newest,
    Outcome,
    TakeView,
    check_accounts,
    check_transfers,
)
from ledger.contract import (
    BATCH_MAX,
    Account,
    AccountBalance,
    AccountFilter,
    ChangeEvent,
    ChangeEventsFilter,
    CreateAccountResult,
    CreateTransferResult,
    CreateTransferStatus,
    InvalidRequest,
    QueryFilter,
    StatementLine,
    Transfer,
)
from ledger.decisions import TransferRequest
from ledger.filters import check_filter
from ledger.interface import LedgerUnavailable, SegmentArchived
from ledger.journal import Journal
from ledger.queries.archived import ArchivedLookups
from ledger.queries.asking import Queries
from ledger.queries.herald import Herald
from ledger.queries.questions import (
    AccountPage,
    AccountSearch,
    BalancesAsOf,
    BalancesPage,
    ChangesAfter,
    ChangesPage,
    PendingState,
    PeriodStatement,
    Snapshot,
    StatementPage,
    TransferPage,
    TransferSearch,
)
from ledger.queries.reader import Reader
from ledger.queries.sql_session import READER_OPTIONS, SQLSession
from ledger.queries.storage import ReadSession
from ledger.queries.wakeups import Wakeups
from ledger.segments import SEGMENT_ROWS
from ledger.state import State
from ledger.writer import Phase, Writer

log = structlog.get_logger()

Answer = TypeVar("Answer")
Records = npt.NDArray[np.void]

READ_CONNECTIONS = 4
"""Connections for histories and queries."""
READ_WAIT_SECONDS = 10.0
"""How long a read waits for a connection before it is told that there is none."""
START_POLL_SECONDS = 0.005
"""How often a start looks whether the writer serves."""


class LedgerEngine:
    """The double-entry engine; ``start`` returns when it serves (or stands by)."""

    def __init__(
        self,
        writer: Writer,
        pool: AsyncConnectionPool[Any],
        herald: Herald | None = None,
        files: SegmentFinder | None = None,
    ) -> None:
        self._writer = writer
        self._pool = pool
        self._herald = herald
        self._wakeups = Wakeups()
        writer.on_stored(self._tell)
        archived = ArchivedLookups(files)
        self._reader = Reader(self, archived)
        self._queries = Queries(self, self._wakeups, archived)

    @classmethod
    async def start(
        cls,
        database_url: str,
        clock: Clock,
        *,
        wait_until_serving: bool = True,
        segment_rows: int = SEGMENT_ROWS,
        files: SegmentFinder | None = None,
    ) -> LedgerEngine:
        """Take the lock, load the state and serve.

        With ``wait_until_serving`` off it returns at once and the engine may be
        a standby. Raises what stopped the writer (a weak durability setting, a
        broken invariant). ``files`` has the rows of detached segments.
        """
        open_journal = partial(Journal.open, files=files) if files is not None else Journal.open
        writer = Writer(database_url, clock, open_journal=open_journal, segment_rows=segment_rows)
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            sync_url(database_url),
            min_size=1,
            max_size=READ_CONNECTIONS,
            kwargs={
                "autocommit": True,
                "application_name": "nugpay-ledger-reader",
                "options": READER_OPTIONS,
            },
            open=False,
            timeout=READ_WAIT_SECONDS,
        )
        herald = Herald(database_url)
        engine = cls(writer, pool, herald, files)
        herald.start()
        writer.start()
        try:
            await pool.open(wait=False)
            while wait_until_serving and writer.phase is not Phase.SERVING:
                engine.check()
                await asyncio.sleep(START_POLL_SECONDS)
        except BaseException:
            await engine.close()
            raise
        return engine

    @property
    def phase(self) -> Phase:
        """Whether the engine serves, stands by or has stopped."""
        return self._writer.phase

    @property
    def sequence(self) -> int:
        """Number of the newest batch in the journal."""
        return self._writer.stored_head.sequence

    async def wait_until_sealed(self) -> None:
        """Return when every segment but the open one is sealed, and the next one may be opened."""
        while not self._writer.is_sealed:
            self.check()
            await asyncio.sleep(START_POLL_SECONDS)

    def check(self) -> None:
        """Raise what stopped the engine (a broken invariant, weak durability), if it has stopped."""
        self._writer.check()

    async def close(self) -> None:
        """Answer what is queued, give the lock back and end."""
        self._wakeups.release()
        await asyncio.to_thread(self._writer.stop)
        if self._herald is not None:
            await asyncio.to_thread(self._herald.stop)
        await self._pool.close()

    async def create_accounts(self, accounts: Sequence[Account]) -> list[CreateAccountResult]:
        """See :class:`ledger.interface.Ledger`."""
        _check_size(accounts)
        check_accounts(accounts)
        command = CreateAccounts(accounts)
        self._writer.submit(command)
        return await command.answer

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]:
        """See :class:`ledger.interface.Ledger`."""
        _check_size(transfers)
        check_transfers(transfers)
        (results,) = await self._create([TransferRequest(objects=transfers)])
        if isinstance(results, SegmentArchived):
            raise results
        return [
            CreateTransferResult(timestamp, CreateTransferStatus(status))
            for timestamp, status, _ in results.tolist()
        ]

    async def create_transfer_records(self, records: Records) -> Records:
        """The same for bulk callers: ``TRANSFER_DTYPE`` in, ``RESULT_DTYPE`` out."""
        _check_size(records)
        (results,) = await self._create([TransferRequest(records=records)])
        if isinstance(results, SegmentArchived):
            raise results
        return results

    async def create_transfer_batches(self, batches: Sequence[Records]) -> list[Outcome]:
        """Batches that travelled together, each with a caller's own chains: the outcome of each, in order.

        Raises ``LedgerBusy`` or ``LedgerUnavailable`` where nothing of any of them was looked at.
        """
        if sum(map(len, batches)) > BATCH_MAX:
            raise InvalidRequest(f"a request holds at most {BATCH_MAX} items")
        return await self._create([TransferRequest(records=records) for records in batches])

    async def _create(self, requests: Sequence[TransferRequest]) -> list[Outcome]:
        command = CreateTransfers(requests)
        self._writer.submit(command)
        return await command.answer

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        """See :class:`ledger.interface.Ledger`."""
        _check_size(ids)
        command = LookupAccounts(ids)
        self._writer.submit(command)
        return await command.answer

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        _check_size(ids)
        return await self._reader.lookup_transfers(ids)

    async def get_account_transfers(self, filter: AccountFilter) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._reader.get_account_transfers(filter)

    async def get_account_balances(self, filter: AccountFilter) -> list[AccountBalance]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._reader.get_account_balances(filter)

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        """See :class:`ledger.interface.Ledger`."""
        check_filter(filter)
        return await self._queries.query_accounts(filter)

    async def query_transfers(self, filter: QueryFilter) -> list[Transfer]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._reader.query_transfers(filter)

    async def get_change_events(self, filter: ChangeEventsFilter) -> list[ChangeEvent]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._reader.get_change_events(filter)

    async def get_statement(
        self, account_id: int, *, before: int | None = None, limit: int = 50
    ) -> list[StatementLine]:
        """See :class:`ledger.interface.Ledger`."""
        return await self._reader.get_statement(account_id, before, limit)

    async def search_transfers(self, search: TransferSearch) -> TransferPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._queries.search_transfers(search)

    async def search_accounts(self, search: AccountSearch) -> AccountPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._queries.search_accounts(search)

    async def get_balances_as_of(self, question: BalancesAsOf) -> BalancesPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._queries.get_balances_as_of(question)

    async def get_snapshot(self, ids: Sequence[int]) -> Snapshot:
        """See :class:`ledger.interface.Ledger`."""
        _check_size(ids)
        return await self._queries.get_snapshot(ids)

    async def get_pending_states(self, ids: Sequence[int]) -> list[PendingState]:
        """See :class:`ledger.interface.Ledger`."""
        _check_size(ids)
        return await self._queries.get_pending_states(ids)

    async def get_period_statement(self, question: PeriodStatement) -> StatementPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._queries.get_period_statement(question)

    async def get_changes(self, question: ChangesAfter) -> ChangesPage:
        """See :class:`ledger.interface.Ledger`."""
        return await self._queries.get_changes(question)

    def _tell(self, head: Head) -> None:
        self._wakeups.ring(head)
        if self._herald is not None:
            self._herald.tell(head)

    def release_followers(self) -> None:
        """Answer everybody who waits for changes, and let nobody wait any more."""
        self._wakeups.release()

    async def newest(self) -> Newest:
        """What is committed, as of a moment at which this engine was certainly the writer."""
        command = TakeView()
        self._writer.submit(command)
        return await command.answer

    async def find_history(self, account_id: int) -> tuple[AccountHead | None, Newest]:
        """Where an account's history begins, and what is committed."""
        # Both at once: they are answered together, the head first.
        find, take = FindHead(account_id), TakeView()
        self._writer.submit(find)
        self._writer.submit(take)
        return await find.answer, await take.answer

    async def read(self, ask: Callable[[ReadSession], Awaitable[Answer]]) -> Answer:
        """Ask the journal; a session that broke since its last use is replaced, and asked again."""
        tenures = self._writer.tenures
        for _ in range(READ_CONNECTIONS + 1):
            try:
                async with self._pool.connection() as connection:
                    session = SQLSession(connection)
                    answer = await ask(session)
            except PoolTimeout:
                break
            except psycopg.OperationalError as error:
                # After a restart of the database every session of the pool is such a one.
                log.warning("ledger_read_lost", error=str(error).strip())
            else:
                if session.takes_absence_for_an_answer:
                    await self._refuse_after_take_over(tenures)
                return answer
        raise LedgerUnavailable("The ledger's database does not answer.", outcome_unknown=False)

    async def _refuse_after_take_over(self, tenures: int) -> None:
        """Raise unless the lock was ours all the time since it had been taken so often.

        Segments are detached and attached while nobody has the lock. An engine that has
        lost it and does not know it yet could read the list of detached ones before that
        and their rows after it, and answer as if they had never been.
        """
        await self.newest()
        if self._writer.tenures != tenures:
            raise LedgerUnavailable(
                "The ledger was taken over while this was read; ask again.", outcome_unknown=False
            )

    async def inspect(self, ask: Callable[[State, Instant], Answer]) -> Answer:
        """Ask the state at one point of the order."""
        command = Inspect(ask)
        self._writer.submit(command)
        answer: Answer = await command.answer
        return answer


def _check_size(items: Sequence[object] | Records) -> None:
    if len(items) > BATCH_MAX:
        raise InvalidRequest(f"a request holds at most {BATCH_MAX} items, not {len(items)}")
