"""The treasury's tasks: thin shims around its use cases, for the worker.

A task holds no state and may be repeated, dropped or killed: what is to be done is
read from the tables each time. What the world outside may cause (a node or ledger
that does not answer, a rival follower) ends the task quietly, for the schedule
brings it back; a follower that must not go on trips the breaker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from celery import Celery

from chain.errors import FollowerStopCode, FollowerStopped, RPCError, RPCMalformed
from chain.finality import leave_broken_finality, send_lost_again
from chain.follower import WINDOW_BLOCKS, FollowerConfig, FollowReport, follow_to_head
from chain.mirror import MirrorMoved
from chain.rpc import RPC
from chain.sender import Sender
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Unavailable
from ledger.interface import Ledger
from treasury.breaker import trip_breaker
from treasury.cold_moves import advance_cold_moves
from treasury.custody import Custody
from treasury.deposits import book_deposits
from treasury.hot_balances import HotPolicy, watch_hot_balances
from treasury.lost_payments import tend_lost_payments
from treasury.payouts import advance_withdrawals
from treasury.reconciliation import reconcile
from treasury.sweeps import sweep_deposits
from treasury.withdrawal_quotes import forget_expired_quotes

logger = structlog.get_logger()

FOLLOW_STEPS_MAX = 20
"""Most windows of blocks in one run, so that a long backfill gives others the lock's turn."""


@dataclass(frozen=True, slots=True)
class TreasuryTools:
    """What the use cases take, made once a process."""

    database: Database
    ledger: Ledger
    rpc: RPC
    clock: Clock
    custody: Custody
    sender: Sender
    follower: FollowerConfig
    check: RPC | None = None
    """A second endpoint, which must agree to what is final."""
    hot: HotPolicy = field(default_factory=HotPolicy)
    """How much should lie in the vault."""


Work = Callable[[TreasuryTools], Awaitable[None]]
"""What a task does."""

Run = Callable[[str, Work], None]
"""Does a named piece of work to its end, or not at all while it is being done elsewhere."""


def add_treasury_tasks(app: Celery, run: Run) -> None:
    """Give the app a task for each member of ``TREASURY_TASKS``, under its name."""

    def task_of(name: str, work: Work) -> Callable[[], None]:
        def task() -> None:
            run(name, work)

        return task

    for name, work in TREASURY_TASKS.items():
        app.task(name=name)(task_of(name, _guarded(name, work)))


async def _follow_chain(tools: TreasuryTools) -> None:
    try:
        await _follow(tools)
    except FollowerStopped as stop:
        if stop.code is not FollowerStopCode.FINALITY_BROKEN:
            raise
        # First nothing more may leave; only when that is committed does the mirror go
        # back. Dying between the two leaves a stopped bank that finds the same again.
        logger.critical("finality broken", detail=stop.detail)
        await _trip(tools, f"the follower stopped: {stop}")
        # Before the mirror moves, for it is done once only after that: what we have signed
        # and the chain has lost goes out again, or every later nonce waits behind it.
        await send_lost_again(tools.database, tools.rpc)
        gone = await leave_broken_finality(
            tools.database, tools.rpc, tools.custody.chain_id, tools.clock, check=tools.check
        )
        if gone is not None:
            logger.critical("final blocks taken back", ancestor=gone.ancestor_number, found=gone.found_hash)


async def _follow(tools: TreasuryTools) -> None:
    report = await follow_to_head(
        tools.database,
        tools.rpc,
        tools.follower,
        tools.clock,
        check=tools.check,
        steps_max=FOLLOW_STEPS_MAX,
        progress=_tell_backfill,
    )
    if report.hold is not None:
        logger.warning("finality stands still", reason=report.hold, finalized=report.finalized)
    if report.rewound_to is not None:
        logger.warning("reorg", rewound_to=report.rewound_to, head=report.head)


def _tell_backfill(report: FollowReport) -> None:
    # At the head each step adds a block or two, of which nobody wants to read.
    if report.blocks_added >= WINDOW_BLOCKS:
        logger.info(
            "backfill",
            head=report.head,
            node_head=report.node_head,
            left=report.node_head - report.head,
            logs=report.logs_added,
        )


async def _book_deposits(tools: TreasuryTools) -> None:
    report = await book_deposits(tools.database, tools.ledger, tools.clock, tools.custody)
    if report.booked:
        logger.info("deposits booked", count=report.booked)
    if report.corrected:
        logger.critical("deposits of broken finality corrected", count=report.corrected)


async def _advance_withdrawals(tools: TreasuryTools) -> None:
    report = await advance_withdrawals(
        tools.database, tools.ledger, tools.rpc, tools.clock, tools.custody, tools.sender
    )
    if report.approved or report.sent or report.paid or report.returned or report.troubles:
        logger.info(
            "withdrawals",
            approved=report.approved,
            sent=report.sent,
            batches=report.batches,
            paid=report.paid,
            returned=report.returned,
            waiting=report.waiting,
            troubles=sorted(set(report.troubles)),
        )
    lost = await tend_lost_payments(
        tools.database, tools.ledger, tools.rpc, tools.clock, tools.custody, tools.sender
    )
    if lost.waiting:
        logger.critical("payments that the chain took back", waiting=lost.waiting)


async def _sweep_deposits(tools: TreasuryTools) -> None:
    report = await sweep_deposits(tools.database, tools.rpc, tools.clock, tools.custody, tools.sender)
    if report.ordered or report.closed or report.troubles:
        logger.info(
            "sweeps",
            ordered=report.ordered,
            closed=report.closed,
            open=report.open,
            waiting=report.waiting,
            troubles=sorted(set(report.troubles)),
        )


async def _reconcile(tools: TreasuryTools) -> None:
    for result in await reconcile(tools.database, tools.ledger, tools.rpc, tools.clock, tools.custody):
        if not result.agrees:
            logger.critical(
                "books disagree",
                asset=result.asset.code,
                block_number=result.block_number,
                unexplained_units=result.unexplained_units,
            )


async def _watch_hot_balances(tools: TreasuryTools) -> None:
    troubles = await watch_hot_balances(tools.database, tools.rpc, tools.clock, tools.custody, tools.hot)
    if troubles:
        logger.warning("hot balances", troubles=sorted(set(troubles)))


async def _move_to_cold(tools: TreasuryTools) -> None:
    report = await advance_cold_moves(tools.database, tools.rpc, tools.clock, tools.custody, tools.sender)
    if report.closed or report.troubles:
        logger.info(
            "cold moves",
            closed=report.closed,
            open=report.open,
            troubles=sorted(set(report.troubles)),
        )


async def _forget_quotes(tools: TreasuryTools) -> None:
    async with tools.database.session() as session:
        await forget_expired_quotes(session, tools.clock)


TREASURY_TASKS: dict[str, Work] = {
    "treasury.follow_chain": _follow_chain,
    "treasury.book_deposits": _book_deposits,
    "treasury.advance_withdrawals": _advance_withdrawals,
    "treasury.sweep_deposits": _sweep_deposits,
    "treasury.reconcile": _reconcile,
    "treasury.watch_hot_balances": _watch_hot_balances,
    "treasury.move_to_cold": _move_to_cold,
    "treasury.forget_quotes": _forget_quotes,
}
"""The tasks by name."""


def _guarded(name: str, work: Work) -> Work:
    async def guarded(tools: TreasuryTools) -> None:
        try:
            await work(tools)
        except (Unavailable, RPCError, RPCMalformed, MirrorMoved) as error:
            logger.warning("task ended early", task=name, error=str(error))
        except FollowerStopped as stop:
            logger.critical("follower stopped", code=str(stop.code), detail=stop.detail)
            await _trip(tools, f"the follower stopped: {stop}")
        except InvariantViolation as violation:
            # Withdrawals stop before the violation stops the task: nothing more may
            # leave while nobody knows which book is wrong.
            await _trip(tools, f"{name}: {violation}")
            raise

    return guarded


async def _trip(tools: TreasuryTools, reason: str) -> None:
    async with tools.database.session() as session:
        await trip_breaker(session, tools.clock, tools.custody.chain_id, reason=reason[:500])


def schedule_of(seconds: float, name: str) -> dict[str, Any]:
    """An entry of the schedule: late messages expire, since the next one does the same."""
    return {"task": name, "schedule": seconds, "options": {"expires": max(seconds, 1.0)}}
