"""Status: what runs here, how far it is, and what both books say, at one moment.

Nothing here waits long or changes anything: a part that does not answer is shown
as such, and the rest is shown all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import TypeVar

import msgspec
import psutil
from rich.table import Table
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from chain.deployments import load_deployment
from chain.errors import RPCError, RPCMalformed, RPCUnavailable
from chain.models import ChainCursor
from chain.rpc import RPC, Header
from foundation.clock import SECOND_NS, Clock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.money import Money
from foundation.outbox import OutboxMessage
from foundation.sandbox_clock import clock_of
from foundation.settings import Settings
from ops import postgres
from ops.migrations import revisions
from ops.probes import ledger_health
from ops.processes import ChildEntry, ProcessMark, running_roster
from treasury.breaker import breaker_trip
from treasury.cold_models import HotLevel, TreasuryHotLevel
from treasury.custody import Custody, custody_of, decimal_units
from treasury.hot_balances import hot_levels
from treasury.reconciliation import Reconciliation, last_reconciliations

LAG_BLOCKS_MAX = 5
"""A mirror further behind the node than this is told as behind."""


class ProcessStatus(msgspec.Struct, frozen=True):
    """One process of ``nugpay up``, or the embedded PostgreSQL."""

    name: str
    state: str
    """``ready``, ``starting`` or ``down``."""
    pid: int | None
    uptime_seconds: int | None
    memory_bytes: int | None
    restarts: int


class ChainStatus(msgspec.Struct, frozen=True):
    """How far the chain is, and how far our mirror of it."""

    head: int
    finalized: int
    mirror_head: int | None
    mirror_finalized: int | None
    finality_hold: str | None = None
    """Why nothing becomes final, where the second endpoint is the reason."""

    @property
    def lag_blocks(self) -> int | None:
        """How far the mirror is behind."""
        return None if self.mirror_head is None else max(0, self.head - self.mirror_head)


class BooksStatus(msgspec.Struct, frozen=True):
    """Custody of one asset in both books, at the newest block that was reconciled."""

    asset: str
    chain: str
    ledger: str
    block_number: int
    unexplained_units: int
    agrees: bool


class HotStatus(msgspec.Struct, frozen=True):
    """How much of one asset is free in the vault, at the newest final block that was looked at."""

    asset: str
    level: str
    """A member of ``HotLevel``."""
    free: str
    block_number: int
    since: str


class DatabaseStatus(msgspec.Struct, frozen=True):
    """What the database says."""

    revision: str | None
    newest_revision: str
    outbox_due: int
    books: tuple[BooksStatus, ...]
    breaker: str | None
    """Why withdrawals stand still."""
    hot: tuple[HotStatus, ...] = ()
    """Only of assets that have bounds."""


class Status(msgspec.Struct, frozen=True):
    """All of it; a part that does not answer is None."""

    processes: tuple[ProcessStatus, ...]
    ledger_sequence: int | None
    chain: ChainStatus | None
    database: DatabaseStatus | None

    @property
    def is_well(self) -> bool:
        """Whether everything runs and answers, and the books agree."""
        return (
            bool(self.processes)
            and all(process.state == "ready" for process in self.processes)
            and self.ledger_sequence is not None
            and self.chain is not None
            and self.chain.finality_hold is None
            and self.database is not None
            and self.database.breaker is None
            and all(books.agrees for books in self.database.books)
            and all(hot.level != HotLevel.BELOW for hot in self.database.hot)
        )


async def read_status(settings: Settings) -> Status:
    """Ask all parts at once."""
    database = Database(settings.database_url, pool_size=1) if settings.database_url is not None else None
    rpc = RPC(settings.rpc_url, timeout_seconds=3)
    clock = clock_of(settings)
    try:
        sequence, chain, data = await asyncio.gather(
            _ledger_sequence(settings),
            _quiet(_read_chain(settings, rpc, database)),
            _quiet(_read_database(settings, database, clock)),
        )
    finally:
        await rpc.close()
        if database is not None:
            await database.close()
    return Status(tuple(_processes(settings, clock)), sequence, chain, data)


T = TypeVar("T")


async def _quiet(reading: Awaitable[T | None]) -> T | None:
    try:
        return await reading
    except (SQLAlchemyError, OSError, RPCUnavailable, RPCError, RPCMalformed, Refusal):
        return None


def _processes(settings: Settings, clock: Clock) -> Iterator[ProcessStatus]:
    roster = running_roster(settings.home)
    if roster is not None:
        up = ChildEntry("up", roster.supervisor, roster.ready, 0)
        for entry in (up, *reversed(roster.children)):
            yield _process(entry, clock)
    pid = postgres.running_pid(settings.home)
    if pid is not None or roster is not None:
        mark = ProcessMark.of(pid) if pid is not None else None
        yield _process(ChildEntry("postgres", mark, mark is not None, 0), clock)


def _process(entry: ChildEntry, clock: Clock) -> ProcessStatus:
    process = entry.mark.process() if entry.mark is not None else None
    if process is None or entry.mark is None:
        return ProcessStatus(entry.name, "down", None, None, None, entry.restarts)
    try:
        # What a supervisor has started is listed by itself.
        family = [process] if entry.name == "up" else [process, *process.children(recursive=True)]
        memory = sum(each.memory_info().rss for each in family)
    except psutil.Error:
        memory = None
    uptime = clock.now_ns() // SECOND_NS - int(entry.mark.started)
    state = "ready" if entry.ready else "starting"
    return ProcessStatus(entry.name, state, process.pid, uptime, memory, entry.restarts)


async def _ledger_sequence(settings: Settings) -> int | None:
    body = await ledger_health(settings)
    # A caller that may not read is told only that it serves.
    return None if body is None else msgspec.json.decode(body).get("sequence")


async def _read_chain(settings: Settings, rpc: RPC, database: Database | None) -> ChainStatus:
    calls = [("eth_getBlockByNumber", (tag, False)) for tag in ("latest", "finalized")]
    latest, finalized = await rpc.read(calls, Header)
    cursor = None
    if database is not None:
        async with database.session() as session:
            cursor = await session.get(ChainCursor, settings.chain_id)
    if cursor is None:
        return ChainStatus(latest.height, finalized.height, None, None)
    return ChainStatus(
        latest.height,
        finalized.height,
        cursor.head_number,
        cursor.finalized_number,
        cursor.finality_hold,
    )


async def _read_database(
    settings: Settings, database: Database | None, clock: Clock
) -> DatabaseStatus | None:
    if database is None:
        return None
    revision, newest = await asyncio.to_thread(revisions, database.url)
    if revision != newest:
        return DatabaseStatus(revision, newest, 0, (), None)
    async with database.session() as session:
        due = select(func.count()).where(OutboxMessage.done_at.is_(None), OutboxMessage.due_at <= clock.now())
        outbox_due = await session.scalar(due) or 0
        trip = await breaker_trip(session, settings.chain_id)
        custody = _custody(settings)
        found = await last_reconciliations(session, custody) if custody is not None else []
        levels = await hot_levels(session, settings.chain_id) if custody is not None else []
    books = tuple(_books(custody, one) for one in found) if custody is not None else ()
    hot = tuple(_hot(custody, one) for one in levels) if custody is not None else ()
    return DatabaseStatus(revision, newest, outbox_due, books, trip.reason if trip is not None else None, hot)


def _custody(settings: Settings) -> Custody | None:
    """What is ours on the chain; None until contracts are deployed."""
    try:
        return custody_of(load_deployment(settings.home, settings.chain_id))
    except Refusal:
        return None


def _books(custody: Custody, reconciliation: Reconciliation) -> BooksStatus:
    token = next(token for token in custody.tokens if token.asset == reconciliation.asset)
    return BooksStatus(
        asset=token.asset.code,
        chain=decimal_units(reconciliation.chain_units, token.decimals),
        ledger=Money(reconciliation.ledger_amount, token.asset).format(),
        block_number=reconciliation.block_number,
        unexplained_units=reconciliation.unexplained_units,
        agrees=reconciliation.agrees,
    )


def _hot(custody: Custody, level: TreasuryHotLevel) -> HotStatus:
    token = next(token for token in custody.tokens if token.asset.code == level.asset)
    return HotStatus(
        asset=level.asset,
        level=level.level,
        free=decimal_units(int(level.free_units), token.decimals),
        block_number=level.block_number,
        since=level.since.isoformat(timespec="seconds"),
    )


def status_table(status: Status) -> Table:
    """All of it as one table: the part, how it is, and the figures."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("part", "state", "figures"):
        table.add_column(title)
    for process in status.processes:
        table.add_row(process.name, _coloured(process.state), _process_figures(process))
    serving = status.ledger_sequence is not None
    table.add_row("journal", _coloured("serving" if serving else "no answer"), _ledger_figures(status))
    table.add_row("chain", *_chain_cells(status.chain))
    data = status.database
    if data is None:
        table.add_row("database", _coloured("no answer"), "")
        return table
    state = "current" if data.revision == data.newest_revision else "to migrate"
    figures = f"revision {data.revision or 'none'}, outbox {data.outbox_due} due"
    table.add_row("database", _coloured(state), figures)
    if status.chain is not None and status.chain.finality_hold is not None:
        table.add_row("crediting", _coloured("WAITS"), status.chain.finality_hold)
    for books in data.books:
        relation = "=" if books.agrees and books.chain.rstrip("0") == books.ledger.rstrip("0") else "vs"
        table.add_row(
            f"books {books.asset}",
            _coloured("agree" if books.agrees else "DISAGREE"),
            f"chain {books.chain} {relation} ledger {books.ledger} at block {books.block_number:,}"
            + (f", {books.unexplained_units} units unexplained" if not books.agrees else ""),
        )
    for hot in data.hot:
        state = hot.level.upper() if hot.level == HotLevel.BELOW else hot.level
        figures = f"free {hot.free} at block {hot.block_number:,}, {hot.level} since {hot.since}"
        table.add_row(f"hot {hot.asset}", _coloured(state), figures)
    if data.breaker is not None:
        table.add_row("withdrawals", _coloured("STOPPED"), data.breaker)
    return table


GOOD = frozenset({"ready", "serving", "current", "agree", "level", "within", "above"})
"""States shown in green; all others stand out."""


def _coloured(state: str) -> str:
    return f"[green]{state}[/]" if state in GOOD else f"[bold red]{state}[/]"


def _process_figures(process: ProcessStatus) -> str:
    if process.pid is None or process.uptime_seconds is None:
        return ""
    minutes, seconds = divmod(process.uptime_seconds, 60)
    hours, minutes = divmod(minutes, 60)
    figures = f"pid {process.pid}, up {hours}:{minutes:02}:{seconds:02}"
    if process.memory_bytes is not None:
        figures += f", {process.memory_bytes // 2**20} MiB"
    return figures + (f", restarted {process.restarts}×" if process.restarts else "")


def _ledger_figures(status: Status) -> str:
    return f"{status.ledger_sequence:,} batches" if status.ledger_sequence is not None else ""


def _chain_cells(chain: ChainStatus | None) -> tuple[str, str]:
    if chain is None:
        return _coloured("no answer"), ""
    figures = f"head {chain.head:,}, final {chain.finalized:,}"
    if chain.mirror_head is None:
        return _coloured("not followed"), figures
    lag = chain.lag_blocks or 0
    state = "level" if lag <= LAG_BLOCKS_MAX else "behind"
    final = chain.mirror_finalized if chain.mirror_finalized is not None else "-"
    return _coloured(state), f"{figures}; mirror {chain.mirror_head:,}, final {final}, lag {lag} blocks"
