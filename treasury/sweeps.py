"""Sweeps: what lies at deposit addresses is brought into the vault.

A deposit counts for its customer wherever in custody it lies; sweeping only makes it
payable. A deposit address' tokens can go nowhere but the vault, so a sweep can be
repeated at will. Each is an order, sent like a withdrawal; what lies at an address
is asked of the chain, at the block to which movements are written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.errors import RPCError, RPCMalformed
from chain.models import ChainBlock, ChainOrder, OrderKind
from chain.order_status import OrderState
from chain.rpc import RPC
from chain.sender import Sender
from foundation.assets import DMMK, THB, USDC, USDT, XAU
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Retryable, Unavailable
from foundation.ids import derive_id
from treasury.custody import Custody, CustodyToken
from treasury.custody_balances import units_at
from treasury.models import TreasuryBookingCursor, TreasuryDepositAddress, TreasurySweep, TreasuryUnswept

logger = structlog.get_logger()

SWEEP_AMOUNTS_MIN: Final[Mapping[str, int]] = {
    USDT.code: 1_000_000,
    USDC.code: 1_000_000,
    DMMK.code: 200_000,
    THB.code: 3_500,
    XAU.code: 100,
}
"""Least minor units that are worth the gas of a sweep; less waits for more to come."""

RETRY_SECONDS: Final = 3_600
"""Pause before an address whose sweep failed is tried again: the issuer may have frozen it."""

SWEEPS_PER_STEP: Final = 50
"""Most sweeps ordered in one step, so that withdrawals do not wait behind them for long."""


@dataclass(slots=True)
class SweepReport:
    """What one step did."""

    ordered: int = 0
    closed: int = 0
    open: int = 0
    troubles: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Candidate:
    address: str
    salt: str


async def sweep_deposits(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    sender: Sender,
    *,
    amounts_min: Mapping[str, int] = SWEEP_AMOUNTS_MIN,
) -> SweepReport:
    """Close sweeps that are final, order those that are worth it, send what is not sent.

    ``amounts_min`` are minor units by asset code; an asset without one is swept
    always. Raises the RPC's errors; safe to repeat and to kill anywhere.
    """
    report = SweepReport()
    for token in custody.tokens:
        await _order_sweeps(database, rpc, clock, custody, token, amounts_min, report)
    async with database.session() as session:
        sweeps = (await session.scalars(select(TreasurySweep).where(TreasurySweep.closed_at.is_(None)))).all()
    for sweep in sweeps:
        try:
            await _carry_on(database, clock, sender, sweep, report)
        except (Unavailable, RPCError, RPCMalformed) as error:
            report.open += 1
            report.troubles.append(str(error))
    return report


async def _order_sweeps(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    token: CustodyToken,
    amounts_min: Mapping[str, int],
    report: SweepReport,
) -> None:
    async with database.session() as session:
        cursor = await session.get(TreasuryBookingCursor, (custody.chain_id, token.address))
        if cursor is None:
            return
        number = cursor.booked_number
        block = await session.get(ChainBlock, (custody.chain_id, number))
        candidates = await _candidates(session, clock, token)
    if block is None or not candidates:
        return
    held = await units_at(
        rpc,
        token=token.address,
        addresses=[candidate.address for candidate in candidates],
        block_hash=block.hash,
    )
    units_min = token.units_of(amounts_min.get(token.asset.code, 0))
    worth_it = [one for one, units in zip(candidates, held, strict=True) if units and units >= units_min]
    empty = [one.address for one, units in zip(candidates, held, strict=True) if not units]
    async with database.session() as session:
        await _forget_empty(session, custody, token, number, empty)
        for candidate in worth_it[:SWEEPS_PER_STEP]:
            await _write_order(session, clock, token, candidate, number)
            report.ordered += 1


async def _candidates(session: AsyncSession, clock: Clock, token: CustodyToken) -> list[_Candidate]:
    """Addresses that the token came to, without a sweep under way or failed of late."""
    busy = select(TreasurySweep.address).where(
        TreasurySweep.token == token.address,
        TreasurySweep.closed_at.is_(None)
        | (
            (TreasurySweep.outcome != OrderState.SUCCEEDED)
            & (TreasurySweep.closed_at > clock.now() - timedelta(seconds=RETRY_SECONDS))
        ),
    )
    rows = await session.execute(
        select(TreasuryUnswept.address, TreasuryDepositAddress.salt)
        .join(TreasuryDepositAddress, TreasuryDepositAddress.address == TreasuryUnswept.address)
        .where(TreasuryUnswept.token == token.address, TreasuryUnswept.address.not_in(busy))
        .order_by(TreasuryUnswept.address)
    )
    return [_Candidate(row.address, row.salt) for row in rows]


async def _forget_empty(
    session: AsyncSession, custody: Custody, token: CustodyToken, number: int, addresses: Sequence[str]
) -> None:
    """Addresses that held nothing need no look, until something comes to them again."""
    if not addresses:
        return
    cursor = await session.get_one(
        TreasuryBookingCursor, (custody.chain_id, token.address), with_for_update=True
    )
    # A deposit written down since the balances were read would be forgotten with
    # its address: then nothing is forgotten now.
    if cursor.booked_number == number:
        await session.execute(
            delete(TreasuryUnswept).where(
                TreasuryUnswept.token == token.address, TreasuryUnswept.address.in_(addresses)
            )
        )


async def _write_order(
    session: AsyncSession, clock: Clock, token: CustodyToken, candidate: _Candidate, number: int
) -> None:
    """The order and the sweep, together, approved: a deposit address can only pay the vault."""
    sweep_id = derive_id("sweep", candidate.address, token.address, number, clock.now_ns())
    now = clock.now()
    await session.execute(
        insert(ChainOrder).values(
            id=sweep_id,
            kind=OrderKind.SWEEP,
            token=token.address,
            to_address=candidate.address,
            amount=0,
            salt=candidate.salt,
            created_at=now,
            approved_at=now,
        )
    )
    await session.execute(
        insert(TreasurySweep).values(
            id=sweep_id, address=candidate.address, token=token.address, created_at=now
        )
    )


async def _carry_on(
    database: Database, clock: Clock, sender: Sender, sweep: TreasurySweep, report: SweepReport
) -> None:
    try:
        status = await sender.send(sweep.id)
    except Refusal as refusal:
        report.troubles.append(str(refusal))
        if refusal.retryable is Retryable.NO and refusal.data.get("signed_before") is False:
            await _close(database, clock, sweep, str(refusal.code))
            report.closed += 1
        else:
            report.open += 1
        return
    if status.state.is_final:
        await _close(database, clock, sweep, status.state)
        report.closed += 1
    else:
        report.open += 1


async def _close(database: Database, clock: Clock, sweep: TreasurySweep, outcome: str) -> None:
    # A sweep that is closed as refused may still be signed by whoever repeats it:
    # that would bring the tokens where they belong, and costs gas only.
    logger.info("sweep closed", sweep_id=str(sweep.id), outcome=str(outcome))
    async with database.session() as session:
        await session.execute(
            update(TreasurySweep)
            .where(TreasurySweep.id == sweep.id, TreasurySweep.closed_at.is_(None))
            .values(closed_at=clock.now(), outcome=str(outcome))
        )
