"""Cold moves: tokens brought from the vault to its cold address, once an id.

    1  ask       one database transaction: the move and its order, approved or a proposal
    2  sign      a nonce for ever, signed by the signer under a cap of its own
    3  send      the stored bytes, until a final block has them
    4  close     nothing is left to do

Custody as a whole does not change, so the ledger has nothing to book. Each step reads
what was done and repeats safely; the vault itself makes a move once an id. Moves that
people ask for go on while the breaker is tripped: what is in doubt is safest in the
cold. The worker's own do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Update, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.calldata import hexadecimal
from chain.cold_moves import cold_move_data
from chain.contract_reads import ContractRead, read_contracts
from chain.errors import RPCError, RPCMalformed
from chain.lanes import is_signed
from chain.models import ChainLane, ChainOrder, OrderKind
from chain.order_status import OrderStatus
from chain.orders import read_order, revoke_order
from chain.rpc import RPC
from chain.sender import Sender
from foundation.assets import asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Retryable, Unavailable
from foundation.money import Money
from treasury.breaker import breaker_trip
from treasury.cold_addresses import vaults_cold_address
from treasury.cold_models import TreasuryColdAddress, TreasuryColdMove
from treasury.custody import Custody
from treasury.errors import TreasuryCode
from treasury.models import TreasuryBookingCursor, TreasuryWithdrawal

logger = structlog.get_logger()

UNSENDABLE_SECONDS_MAX: Final = 86_400
"""How long an approved move waits for a vault or signer that would refuse it; then it is given up."""

GIVEN_UP: Final = "given_up"
"""Outcome of a move that could not be sent for so long, or that people took back."""

ANOTHER_ADDRESS: Final = "another_cold_address"
"""Outcome of a move whose address is not the vault's cold one any more."""


@dataclass(slots=True)
class ColdMoveReport:
    """What one step did."""

    sent: int = 0
    closed: int = 0
    open: int = 0
    troubles: list[str] = field(default_factory=list)


async def usable_cold_address(database: Database, rpc: RPC, custody: Custody) -> str:
    """The vault's cold address; refused as ``cold_address_not_recorded`` unless it counts as custody."""
    address = await vaults_cold_address(rpc, custody)
    async with database.session() as session:
        if (
            address is not None
            and await session.get(TreasuryColdAddress, (custody.chain_id, address)) is None
        ):
            address = None
    if address is None:
        raise Refusal(
            TreasuryCode.COLD_ADDRESS_NOT_RECORDED,
            "The vault has no cold address, or one that is not recorded as custody.",
        )
    return address


async def ask_cold_move(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    *,
    move_id: UUID,
    amount: Money,
    asked_by: str,
    is_automatic: bool = False,
    is_proposal: bool = False,
) -> TreasuryColdMove:
    """Have ``amount`` moved to the vault's cold address; the worker carries it out.

    The same id again returns what it was first; a proposal waits for ``approve_cold_move``.
    Refused as ``asset_not_on_chain``, ``cold_move_amount_not_positive``,
    ``cold_move_exists_differently`` or ``cold_address_not_recorded``. Raises the RPC's errors.
    """
    token = custody.token_of(amount.asset)
    if amount.minor <= 0:
        raise Refusal(TreasuryCode.COLD_MOVE_AMOUNT_NOT_POSITIVE, "There is nothing to move.")
    async with database.session() as session:
        before = await session.get(TreasuryColdMove, move_id)
    if before is not None:
        return _same_move(before, amount)
    address = await usable_cold_address(database, rpc, custody)
    now = clock.now()
    async with database.session() as session:
        made = await session.scalar(
            insert(ChainOrder)
            .values(
                id=move_id,
                kind=OrderKind.COLD_MOVE,
                token=token.address,
                to_address=address,
                amount=token.units_of(amount.minor),
                created_at=now,
                approved_at=None if is_proposal else now,
            )
            .on_conflict_do_nothing()
            .returning(ChainOrder.id)
        )
        if made is None:
            return _same_move(await session.get(TreasuryColdMove, move_id), amount)
        move = TreasuryColdMove(
            id=move_id,
            chain_id=custody.chain_id,
            asset=amount.asset.code,
            amount=amount.minor,
            cold_address=address,
            is_automatic=is_automatic,
            asked_by=asked_by,
            approved_by=None if is_proposal else asked_by,
            created_at=now,
        )
        session.add(move)
        await session.flush()
    return move


async def approve_cold_move(session: AsyncSession, clock: Clock, *, move_id: UUID, approved_by: str) -> None:
    """Have a proposal carried out; approving again changes nothing.

    Refused as ``cold_move_not_found`` or ``cold_move_not_awaited``.
    """
    move = await _open_move(session, move_id)
    if move.approved_by is None:
        move.approved_by = approved_by
        await session.execute(
            update(ChainOrder)
            .where(ChainOrder.id == move_id, ChainOrder.approved_at.is_(None))
            .values(approved_at=clock.now())
        )


async def give_up_cold_move(session: AsyncSession, clock: Clock, *, move_id: UUID) -> None:
    """Take back a move for which nothing is signed; nothing ever will be.

    Refused as ``cold_move_not_found`` or ``cold_move_not_awaited``.
    """
    move = await _open_move(session, move_id)
    if not await revoke_order(session, clock, move_id):
        raise Refusal(TreasuryCode.COLD_MOVE_NOT_AWAITED, "It has a nonce: the chain decides.")
    move.closed_at, move.outcome = clock.now(), GIVEN_UP


async def list_cold_moves(
    session: AsyncSession, custody: Custody, *, limit: int = 50
) -> Sequence[TreasuryColdMove]:
    """The moves of a chain, newest first."""
    rows = await session.scalars(
        select(TreasuryColdMove)
        .where(TreasuryColdMove.chain_id == custody.chain_id)
        .order_by(TreasuryColdMove.created_at.desc(), TreasuryColdMove.id)
        .limit(limit)
    )
    return rows.all()


async def advance_cold_moves(
    database: Database, rpc: RPC, clock: Clock, custody: Custody, sender: Sender
) -> ColdMoveReport:
    """Send approved moves, close those that are final. Safe to repeat and to kill anywhere."""
    report = ColdMoveReport()
    async with database.session() as session:
        rows = await session.execute(
            select(
                TreasuryColdMove, exists().where(ChainLane.order_id == TreasuryColdMove.id).label("placed")
            )
            .where(
                TreasuryColdMove.chain_id == custody.chain_id,
                TreasuryColdMove.closed_at.is_(None),
                TreasuryColdMove.approved_by.is_not(None),
            )
            .order_by(TreasuryColdMove.created_at, TreasuryColdMove.id)
        )
        moves = [(row.TreasuryColdMove, bool(row.placed)) for row in rows]
        tripped = await breaker_trip(session, custody.chain_id) is not None
    for move, placed in moves:
        try:
            if placed or await _may_be_sent(
                database, rpc, clock, custody, sender, move, report, tripped=tripped
            ):
                await _carry_on(database, clock, custody, sender, move, report)
        except (Unavailable, RPCError, RPCMalformed) as error:
            report.open += 1
            report.troubles.append(str(error))
    return report


async def _may_be_sent(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    sender: Sender,
    move: TreasuryColdMove,
    report: ColdMoveReport,
    *,
    tripped: bool,
) -> bool:
    """Whether nothing speaks against it now; where something does for too long, it is given up."""
    outcome = GIVEN_UP
    if tripped and move.is_automatic:
        trouble: str | None = "withdrawals are stopped"
    elif await vaults_cold_address(rpc, custody) != move.cold_address:
        # Nobody has decided that tokens go to the other one: whoever did decide asks again.
        trouble, outcome = "the vault's cold address is another one", ANOTHER_ADDRESS
    else:
        trouble = await _why_not_now(database, rpc, custody, move, await sender.address())
    if trouble is None:
        return True
    async with database.session() as session:
        order = await session.get_one(ChainOrder, move.id)
    # The time that people took to approve it is not the vault's.
    since = order.approved_at or move.created_at
    waited = clock.now() - since >= timedelta(seconds=UNSENDABLE_SECONDS_MAX)
    if outcome == ANOTHER_ADDRESS or waited:
        await _close_unsigned(database, clock, move, outcome)
        report.closed += 1
    else:
        report.open += 1
    report.troubles.append(trouble)
    return False


async def _why_not_now(
    database: Database, rpc: RPC, custody: Custody, move: TreasuryColdMove, sender: str
) -> str | None:
    """What would make the vault refuse the move, or a payment behind which it comes, now."""
    async with database.session() as session:
        order = await read_order(session, move.id)
        assert order is not None, "a move is written with its order"
        promised = await session.scalar(
            select(func.coalesce(func.sum(ChainOrder.amount), 0))
            .join(TreasuryWithdrawal, TreasuryWithdrawal.id == ChainOrder.id)
            .where(
                ChainOrder.token == order.token,
                TreasuryWithdrawal.closed_at.is_(None),
                is_signed(TreasuryWithdrawal.id),
            )
        )
    reads = [ContractRead(order.token, "balanceOf(address)", "uint256", (custody.vault,))]
    [held] = await read_contracts(rpc, reads)
    if held is None:
        return "the vault or the token does not answer"
    if order.amount + int(promised or 0) > held:
        return "the vault holds too little"
    call = {"from": sender, "to": custody.vault, "data": hexadecimal(cold_move_data(order))}
    try:
        await rpc.call("eth_call", call, "latest")
    except RPCError as error:
        return f"the vault refuses: {error.message}"
    return None


async def _carry_on(
    database: Database,
    clock: Clock,
    custody: Custody,
    sender: Sender,
    move: TreasuryColdMove,
    report: ColdMoveReport,
) -> None:
    try:
        status = await sender.send(move.id)
    except Refusal as refusal:
        report.troubles.append(str(refusal))
        unsigned = refusal.data.get("signed_before") is False
        if refusal.retryable is Retryable.NO and unsigned:
            await _close_unsigned(database, clock, move, str(refusal.code))
            report.closed += 1
        else:
            report.open += 1
        return
    if status.state.is_final and await _is_written_down(database, custody, move, status):
        await _close(database, clock, move, status.state)
        report.closed += 1
    else:
        report.open += 1
        report.sent += 1


async def _is_written_down(
    database: Database, custody: Custody, move: TreasuryColdMove, status: OrderStatus
) -> bool:
    """Whether the books have got to the block of its transaction.

    Until then they show the vault with what has left it: were the move over for them, the
    bounds would call for it a second time (treasury.hot_balances).
    """
    token = custody.token_of(asset_by_code(move.asset)).address
    async with database.session() as session:
        cursor = await session.get(TreasuryBookingCursor, (custody.chain_id, token))
    return cursor is None or status.block_number is None or cursor.booked_number >= status.block_number


async def _close_unsigned(database: Database, clock: Clock, move: TreasuryColdMove, outcome: str) -> None:
    """Close it in the database transaction that keeps it from ever being signed."""
    async with database.session() as session:
        if await revoke_order(session, clock, move.id):
            await session.execute(_closing(clock, move, outcome))


async def _close(database: Database, clock: Clock, move: TreasuryColdMove, outcome: str) -> None:
    logger.info("cold move closed", move_id=str(move.id), outcome=str(outcome))
    async with database.session() as session:
        await session.execute(_closing(clock, move, str(outcome)))


def _closing(clock: Clock, move: TreasuryColdMove, outcome: str) -> Update:
    return (
        update(TreasuryColdMove)
        .where(TreasuryColdMove.id == move.id, TreasuryColdMove.closed_at.is_(None))
        .values(closed_at=clock.now(), outcome=outcome)
    )


async def _open_move(session: AsyncSession, move_id: UUID) -> TreasuryColdMove:
    move = await session.get(TreasuryColdMove, move_id, with_for_update=True)
    if move is None:
        raise Refusal(TreasuryCode.COLD_MOVE_NOT_FOUND, "There is no such move.")
    if move.closed_at is not None:
        raise Refusal(TreasuryCode.COLD_MOVE_NOT_AWAITED, f"It is over: {move.outcome}.")
    return move


def _same_move(move: TreasuryColdMove | None, amount: Money) -> TreasuryColdMove:
    """The move, if the request repeats it."""
    if move is None or (move.asset, move.amount) != (amount.asset.code, amount.minor):
        was = "another order" if move is None else f"a move of {move.amount} minor units of {move.asset}"
        raise Refusal(TreasuryCode.COLD_MOVE_EXISTS_DIFFERENTLY, f"This id was used for {was}.")
    return move
