"""Executing standing orders: the worker pays what is due, once, and says what it could not.

A payment's id follows from the order, the payment's number and the attempt's. An order's row
names one attempt, and only its id may be on its way: before the row goes on, to the next
attempt or the next payment, that id has paid or the ledger refuses it for ever. So a worker
that dies anywhere, or two at once, send the same id, which pays once; and what was told to
be missed cannot be paid later.

What is refused is tried again each hour of its day, as money may come in; when the day is
over it is missed, with the reason of the last refusal. Nothing is ever paid on another day.
It is a payment like any other, with its fee and its limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import select, update

from foundation.assets import asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal
from foundation.money import Money
from ledger.interface import Ledger
from wallets.limits import Limits
from wallets.payments import PaymentOrder, carry_out
from wallets.standing_errors import StandingCode
from wallets.standing_models import StandingOrderRow
from wallets.standing_orders import (
    attempt_id,
    close_cancelled,
    day_after,
    days_of,
    give_up_attempt,
    midnight,
    paused_among,
    record,
)
from wallets.wallets import WalletDirectory

logger = structlog.get_logger()

ORDERS_AT_ONCE: Final = 200
"""Most orders that one run takes up."""

STEPS_MAX: Final = 100
"""Most payments of one order that one run settles: after a long outage there are many that were missed."""

RETRY: Final = timedelta(hours=1)
"""From one attempt at a payment to the next."""


@dataclass(frozen=True, slots=True)
class StandingTools:
    """What paying standing orders takes."""

    database: Database
    ledger: Ledger
    clock: Clock
    directory: WalletDirectory
    limits: Limits


@dataclass(slots=True)
class StandingReport:
    """What a run did."""

    paid: int = 0
    missed: int = 0
    refused: int = 0
    """Attempts that will be made again."""


async def advance_standing_orders(tools: StandingTools) -> StandingReport:
    """Pay what is due, those that have waited longest first.

    ``LedgerUnavailable`` leaves the rest to the next run, whatever the outcome was.
    """
    report = StandingReport()
    async with tools.database.session() as session:
        due = StandingOrderRow.cancelled_at.is_not(None) | (StandingOrderRow.try_at <= tools.clock.now())
        rows = (
            await session.scalars(
                select(StandingOrderRow)
                .where(StandingOrderRow.closed_at.is_(None), due)
                .order_by(StandingOrderRow.try_at, StandingOrderRow.id)
                .limit(ORDERS_AT_ONCE)
            )
        ).all()
    for row in rows:
        await _advance(tools, row, report)
    return report


async def _advance(tools: StandingTools, row: StandingOrderRow, report: StandingReport) -> None:
    for _ in range(STEPS_MAX):
        if row.closed_at is not None:
            return
        if row.cancelled_at is not None:
            await close_cancelled(tools.database, tools.ledger, tools.clock, row)
            return
        if row.try_at > tools.clock.now() or not await _step(tools, row, report):
            return
        async with tools.database.session() as session:
            found = await session.get(StandingOrderRow, row.id)
        if found is None:
            raise InvariantViolation(f"standing order {row.id} is gone")
        row = found


async def _step(tools: StandingTools, row: StandingOrderRow, report: StandingReport) -> bool:
    """Settle a row's payment if that can be done now; False when it is to be tried later."""
    day = days_of(row).day(row.number)
    if day is None:
        raise InvariantViolation(f"standing order {row.id} has no payment {row.number}")
    if tools.clock.now() < midnight(day):
        return False
    async with tools.database.session() as session:
        is_paused = bool(await paused_among(session, [row.id]))
    is_over = tools.clock.now() >= day_after(day)
    code: str | None = None
    if is_over or is_paused:
        code = row.last_code or (
            StandingCode.STANDING_ORDER_PAUSED if is_paused else StandingCode.STANDING_ORDER_NOT_TRIED
        )
    else:
        code = await _attempt(tools, row)
    # Dies here: the attempt has paid or was refused, and the next run asks with the same id.
    if code is not None and not await give_up_attempt(tools.ledger, row):
        # An attempt whose answer was lost has paid after all.
        code = None
    if code is None or is_over:
        # Dies here: the id has paid or never will; the next run finds the same.
        await record(tools.database, tools.clock, row, code=code)
        report.paid += code is None
        report.missed += code is not None
        return True
    await _postpone(tools, row, code, min(tools.clock.now() + RETRY, day_after(day)))
    report.refused += 1
    return False


async def _attempt(tools: StandingTools, row: StandingOrderRow) -> str | None:
    """Pay under the attempt's id; the code of the refusal, None when it is paid."""
    wallets = await tools.directory.by_ids([row.payer_id, row.payee_id])
    asset = asset_by_code(row.asset)
    order = PaymentOrder(
        id=attempt_id(row),
        payer=wallets[row.payer_id],
        payee_handle=wallets[row.payee_id].handle,
        # By its id: an order goes on whatever handle the payee has by now, listed or not.
        payee=wallets[row.payee_id],
        amount=Money(row.amount, asset),
        fee_max=Money(row.fee_max, asset) if row.fee_max is not None else None,
        reference=row.reference,
    )
    try:
        await carry_out(tools.ledger, tools.directory, tools.limits, order)
    except Refusal as refusal:
        logger.info("standing order refused", order=str(row.id), number=row.number, code=str(refusal.code))
        return str(refusal.code)
    return None


async def _postpone(tools: StandingTools, row: StandingOrderRow, code: str, try_at: datetime) -> None:
    """Go on to the next attempt, whose time is later: only from a row that still names this one."""
    async with tools.database.session() as session:
        await session.execute(
            update(StandingOrderRow)
            .where(
                StandingOrderRow.id == row.id,
                StandingOrderRow.number == row.number,
                StandingOrderRow.attempt == row.attempt,
                # What is cancelled begins no further attempt.
                StandingOrderRow.cancelled_at.is_(None),
            )
            .values(attempt=row.attempt + 1, last_code=code, try_at=try_at)
        )
