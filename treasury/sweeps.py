"""Sweeps: what lies at deposit addresses is brought into the vault.

A deposit counts for its customer wherever in custody it lies; sweeping only makes it
payable. A deposit address' tokens can go nowhere but the vault, so a sweep can be
repeated at will. Each is an order; several of one token go in one transaction, which
is refused whole if one address is frozen: so each is tried by a call first, and if the
transaction fails all the same its addresses go alone. What is worth its gas now is
decided in treasury.sweep_choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from chain.batches import write_batch
from chain.calldata import calldata, hexadecimal
from chain.errors import RPCError, RPCMalformed
from chain.models import ChainBatchMember, ChainBlock, ChainOrder, OrderKind
from chain.order_status import OrderState
from chain.orders import revoke_order
from chain.rpc import RPC, Call
from chain.sender import Sender
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Retryable, Unavailable
from foundation.ids import derive_id
from treasury.custody import Custody, CustodyToken
from treasury.custody_balances import units_at
from treasury.models import TreasuryBookingCursor, TreasuryDepositAddress, TreasurySweep, TreasuryUnswept
from treasury.sweep_choice import SWEEP_AMOUNTS_MIN, SWEEP_BASE_FEE_MAX, Candidate, worth_it_now

logger = structlog.get_logger()

RETRY_SECONDS: Final = 3_600
"""Pause before an address whose sweep failed is tried again: the issuer may have frozen it."""

SWEEPS_PER_STEP: Final = 50
"""Most sweeps ordered in one step, so that withdrawals do not wait behind them for long."""

SWEEPS_PER_BATCH: Final = 20
"""Most addresses in one transaction: of 20 each costs a third of the gas of one alone."""

FAILED_IN_BATCH: Final = "failed_in_batch"
"""Outcome of a sweep whose batch had no effect: its address is tried alone, at once."""


@dataclass(slots=True)
class SweepReport:
    """What one step did."""

    ordered: int = 0
    closed: int = 0
    open: int = 0
    waiting: int = 0
    """Addresses that hold enough and wait for cheaper gas."""
    troubles: list[str] = field(default_factory=list)


async def sweep_deposits(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    sender: Sender,
    *,
    amounts_min: Mapping[str, int] = SWEEP_AMOUNTS_MIN,
    base_fee_max: int = SWEEP_BASE_FEE_MAX,
) -> SweepReport:
    """Close sweeps that are final, order those that are worth it, send what is not sent.

    ``amounts_min`` are minor units by asset code; an asset without one is swept
    always. Above ``base_fee_max`` wei per unit of gas small sweeps wait. Raises the
    RPC's errors; safe to repeat and to kill anywhere.
    """
    report = SweepReport()
    for token in custody.tokens:
        await _order_sweeps(database, rpc, clock, custody, token, amounts_min, base_fee_max, report)
    for sent_as, sweeps in (await _open_sweeps(database)).items():
        try:
            await _carry_on(database, clock, sender, sent_as, sweeps, report)
        except (Unavailable, RPCError, RPCMalformed) as error:
            report.open += len(sweeps)
            report.troubles.append(str(error))
    return report


async def _order_sweeps(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    token: CustodyToken,
    amounts_min: Mapping[str, int],
    base_fee_max: int,
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
    empty = [one.address for one, units in zip(candidates, held, strict=True) if not units]
    units_min = token.units_of(amounts_min.get(token.asset.code, 0))
    worth_it = [one for one, units in zip(candidates, held, strict=True) if units and units >= units_min]
    chosen: list[Candidate] = []
    if worth_it:
        units_of = dict(zip(candidates, held, strict=True))
        now = await worth_it_now(
            database, rpc, clock, custody, token, {one: units_of[one] for one in worth_it}, base_fee_max
        )
        report.waiting += len(worth_it) - len(now)
        chosen = await _not_frozen(rpc, custody, token, now, report)
    async with database.session() as session:
        await _forget_empty(session, custody, token, number, empty)
        for group in _grouped(chosen):
            members = [await _write_order(session, clock, token, one, number) for one in group]
            if len(members) > 1:
                # In the database transaction that wrote them: they cannot be taken otherwise.
                batch_id = await write_batch(
                    session, clock, kind=OrderKind.SWEEP_BATCH, vault=custody.vault, members=members
                )
                assert batch_id is not None, "orders that are new can go together"
            report.ordered += len(members)


async def _not_frozen(
    rpc: RPC,
    custody: Custody,
    token: CustodyToken,
    candidates: Sequence[Candidate],
    report: SweepReport,
) -> list[Candidate]:
    """The first ``SWEEPS_PER_STEP`` that the token lets go now, each tried by itself without sending it.

    Those that it does not let go cost a question at each step and no gas; they do not
    keep those behind them from their turn.
    """
    found: list[Candidate] = []
    for first in range(0, len(candidates), SWEEPS_PER_STEP):
        part = candidates[first : first + SWEEPS_PER_STEP]
        calls: list[Call] = [
            (
                "eth_call",
                (
                    {
                        "to": custody.vault,
                        "data": hexadecimal(
                            calldata(
                                "sweep(address,bytes32[])",
                                token.address,
                                [bytes.fromhex(one.salt.removeprefix("0x"))],
                            )
                        ),
                    },
                    "latest",
                ),
            )
            for one in part
        ]
        for one, outcome in zip(part, await rpc.outcomes(calls), strict=True):
            if isinstance(outcome, RPCError):
                report.troubles.append(f"{one.address} cannot be swept: {outcome.message}")
            else:
                found.append(one)
        if len(found) >= SWEEPS_PER_STEP:
            break
    return found[:SWEEPS_PER_STEP]


def _grouped(chosen: Sequence[Candidate]) -> list[Sequence[Candidate]]:
    """Addresses as they go: those whose batch failed alone, the others together."""
    together = [one for one in chosen if not one.goes_alone]
    groups: list[Sequence[Candidate]] = [
        together[first : first + SWEEPS_PER_BATCH] for first in range(0, len(together), SWEEPS_PER_BATCH)
    ]
    return groups + [[one] for one in chosen if one.goes_alone]


async def _candidates(session: AsyncSession, clock: Clock, token: CustodyToken) -> list[Candidate]:
    """Addresses that the token came to, without a sweep under way or failed of late."""
    busy = select(TreasurySweep.address).where(
        TreasurySweep.token == token.address,
        TreasurySweep.closed_at.is_(None)
        | (
            TreasurySweep.outcome.not_in([OrderState.SUCCEEDED, FAILED_IN_BATCH])
            & (TreasurySweep.closed_at > clock.now() - timedelta(seconds=RETRY_SECONDS))
        ),
    )
    last_outcome = (
        select(TreasurySweep.outcome)
        .where(TreasurySweep.token == token.address, TreasurySweep.address == TreasuryUnswept.address)
        .order_by(TreasurySweep.created_at.desc(), TreasurySweep.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = await session.execute(
        select(
            TreasuryUnswept.address,
            TreasuryUnswept.since,
            TreasuryDepositAddress.salt,
            last_outcome.label("last_outcome"),
        )
        .join(TreasuryDepositAddress, TreasuryDepositAddress.address == TreasuryUnswept.address)
        .where(TreasuryUnswept.token == token.address, TreasuryUnswept.address.not_in(busy))
        .order_by(TreasuryUnswept.address)
    )
    return [
        Candidate(row.address, row.salt, row.since, goes_alone=row.last_outcome == FAILED_IN_BATCH)
        for row in rows
    ]


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
    session: AsyncSession, clock: Clock, token: CustodyToken, candidate: Candidate, number: int
) -> UUID:
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
    return sweep_id


async def _open_sweeps(database: Database) -> dict[UUID, list[TreasurySweep]]:
    """Open sweeps by the order that is sent for them: their batch's, where they go in one, or their own."""
    batch = aliased(ChainOrder)
    async with database.session() as session:
        rows = await session.execute(
            select(TreasurySweep, func.coalesce(batch.id, TreasurySweep.id))
            .outerjoin(ChainBatchMember, ChainBatchMember.member_id == TreasurySweep.id)
            .outerjoin(batch, (batch.id == ChainBatchMember.batch_id) & batch.revoked_at.is_(None))
            .where(TreasurySweep.closed_at.is_(None))
            .order_by(TreasurySweep.created_at, TreasurySweep.id)
        )
        found: dict[UUID, list[TreasurySweep]] = {}
        for sweep, sent_as in rows.all():
            found.setdefault(sent_as, []).append(sweep)
    return found


async def _carry_on(
    database: Database,
    clock: Clock,
    sender: Sender,
    sent_as: UUID,
    sweeps: Sequence[TreasurySweep],
    report: SweepReport,
) -> None:
    in_batch = sent_as != sweeps[0].id
    try:
        status = await sender.send(sent_as)
    except Refusal as refusal:
        report.troubles.append(str(refusal))
        never = refusal.retryable is Retryable.NO and refusal.data.get("signed_before") is False
        if never and not in_batch:
            await _close(database, clock, sweeps, str(refusal.code))
            report.closed += 1
            return
        if never:
            # Nothing was signed for it: alone each is decided by itself, from the next step on.
            async with database.session() as session:
                await revoke_order(session, clock, sent_as)
        report.open += len(sweeps)
        return
    if not status.state.is_final:
        report.open += len(sweeps)
        return
    failed = in_batch and status.state is not OrderState.SUCCEEDED
    await _close(database, clock, sweeps, FAILED_IN_BATCH if failed else status.state)
    report.closed += len(sweeps)


async def _close(database: Database, clock: Clock, sweeps: Sequence[TreasurySweep], outcome: str) -> None:
    # A sweep that is closed as refused may still be signed by whoever repeats it:
    # that would bring the tokens where they belong, and costs gas only.
    ids = [sweep.id for sweep in sweeps]
    logger.info("sweeps closed", sweep_ids=[str(one) for one in ids], outcome=str(outcome))
    async with database.session() as session:
        await session.execute(
            update(TreasurySweep)
            .where(TreasurySweep.id.in_(ids), TreasurySweep.closed_at.is_(None))
            .values(closed_at=clock.now(), outcome=str(outcome))
        )
