"""Hot balances: how much of each token should lie in the vault, and what is done about it.

Each asset may have a lower bound, a target and an upper bound. At every final block the
worker looks at what is free: what lies in the vault, less what customers were promised
and has not left yet. More than the upper bound is proposed for a move to the cold, down
to the target (or moved, where that is configured). Less than the lower bound is an alarm
and nothing else: only people can bring tokens back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainBlock, ChainOrder
from chain.rpc import RPC
from foundation.assets import DMMK, THB, USDC, USDT, XAU, Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import NUGPayError, Refusal
from foundation.ids import derive_id
from foundation.money import AMOUNT_LIMIT, Money
from treasury.breaker import breaker_trip
from treasury.cold_models import HotLevel, TreasuryColdMove, TreasuryHotLevel
from treasury.cold_moves import ask_cold_move, give_up_cold_move
from treasury.custody import Custody, CustodyToken
from treasury.custody_balances import units_at
from treasury.models import TreasuryBookingCursor, TreasuryDeparture, TreasuryWithdrawal

logger = structlog.get_logger()

BELOW_EVENT: Final = "hot balance below its lower bound"
"""The log event of the alarm; alarms are set on it, so it stays as it is."""

WORKER: Final = "worker"
"""Who asks for the moves that the bounds call for."""


@dataclass(frozen=True, slots=True)
class HotBounds:
    """Minor units of one asset that should lie in the vault."""

    lower: int
    target: int
    upper: int


class HotBoundsError(NUGPayError):
    """The bounds that were set cannot be meant; the worker does not start."""


DEVELOPMENT_BOUNDS: Final[Mapping[Asset, HotBounds]] = {
    asset: HotBounds(0, whole * 10**asset.scale, 2 * whole * 10**asset.scale)
    for asset, whole in (
        (USDT, 1_000_000),
        (USDC, 1_000_000),
        (DMMK, 4_000_000_000),
        (THB, 35_000_000),
        (XAU, 10_000),
    )
}
"""As much as the development vault lets out in an hour, and at most twice that. A development bank
begins with nothing, so its alarm is only for promises that the vault cannot keep."""


@dataclass(frozen=True, slots=True)
class HotPolicy:
    """What the worker holds the vault to."""

    bounds: Mapping[Asset, HotBounds] = field(default_factory=dict)
    makes_moves: bool = False
    """Whether it makes the moves that the bounds call for, or proposes them to people."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of one token at one final block."""

    token: CustodyToken
    block_number: int
    free: int
    """Token units; negative where more is promised than the vault holds."""
    moving: bool
    """Whether a move of it was not over then: what it takes may still be in ``free``."""


def bounds_of(given: Mapping[str, Mapping[str, str]], *, is_development: bool) -> Mapping[Asset, HotBounds]:
    """The bounds as set, or a development machine's own where none are. Raises ``HotBoundsError``."""
    if not given:
        return DEVELOPMENT_BOUNDS if is_development else {}
    found = {}
    for code, texts in given.items():
        try:
            asset = asset_by_code(code)
            if set(texts) != {"lower", "target", "upper"}:
                raise HotBoundsError(
                    f"the hot balance of {code} has a lower bound, a target and an upper bound"
                )
            bounds = HotBounds(**{name: Money.parse(text, asset).minor for name, text in texts.items()})
        except Refusal as refusal:
            raise HotBoundsError(f"the hot balance of {code}: {refusal.detail}") from refusal
        # A target at the upper bound would ask for a move of next to nothing at every block.
        if not 0 <= bounds.lower <= bounds.target < bounds.upper:
            raise HotBoundsError(f"the hot balance of {code}: 0 ≤ lower ≤ target < upper must hold")
        found[asset] = bounds
    return found


async def watch_hot_balances(
    database: Database, rpc: RPC, clock: Clock, custody: Custody, policy: HotPolicy
) -> list[str]:
    """Look at each token that has bounds, once a final block; what could not be done, one line each.

    Safe to repeat and to kill anywhere: a move's id is derived from the block that called
    for it. Raises the RPC's errors.
    """
    troubles = []
    for token in custody.tokens:
        bounds = policy.bounds.get(token.asset)
        look = await _look(database, rpc, custody, token) if bounds is not None else None
        if bounds is None or look is None:
            continue
        level = _level(look, bounds)
        # First the move, then the note that this block was looked at: dying between the
        # two, the next look asks for the same move by the same id.
        if level is HotLevel.ABOVE:
            trouble = await _ask_for_move(database, rpc, clock, custody, look, bounds, policy)
            if trouble is not None:
                troubles.append(trouble)
        else:
            await _give_up_moves(database, clock, custody, token)
        await _note(database, clock, custody, look, level, bounds)
    return troubles


async def hot_levels(session: AsyncSession, chain_id: int) -> list[TreasuryHotLevel]:
    """What was last seen of each token that has bounds."""
    rows = await session.scalars(
        select(TreasuryHotLevel).where(TreasuryHotLevel.chain_id == chain_id).order_by(TreasuryHotLevel.asset)
    )
    return list(rows)


async def _look(database: Database, rpc: RPC, custody: Custody, token: CustodyToken) -> _Look | None:
    """What is free at the block up to which movements are written down; None if that was looked at."""
    async with database.session() as session:
        # At one instant: a payment has left the balance just when its departure is written.
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        cursor = await session.get(TreasuryBookingCursor, (custody.chain_id, token.address))
        if cursor is None:
            return None
        number = cursor.booked_number
        block = await session.get(ChainBlock, (custody.chain_id, number))
        before = await session.get(TreasuryHotLevel, (custody.chain_id, token.asset.code))
        if block is None or (before is not None and before.block_number == number):
            return None
        left = select(TreasuryDeparture.order_id).where(TreasuryDeparture.order_id.is_not(None))
        promised = await session.scalar(
            select(func.coalesce(func.sum(ChainOrder.amount), 0))
            .join(TreasuryWithdrawal, TreasuryWithdrawal.id == ChainOrder.id)
            .where(
                ChainOrder.token == token.address,
                ChainOrder.revoked_at.is_(None),
                TreasuryWithdrawal.closed_at.is_(None),
                ChainOrder.id.not_in(left),
            )
        )
        # At the same instant: a move that is over by then is one that the books have.
        moving = bool(await _open_moves(session, custody, token, automatic=False))
    [held] = await units_at(rpc, token=token.address, addresses=[custody.vault], block_hash=block.hash)
    return _Look(token, number, held - int(promised or 0), moving)


def _level(look: _Look, bounds: HotBounds) -> HotLevel:
    if look.free < look.token.units_of(bounds.lower):
        return HotLevel.BELOW
    return HotLevel.ABOVE if look.free > look.token.units_of(bounds.upper) else HotLevel.WITHIN


async def _ask_for_move(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    look: _Look,
    bounds: HotBounds,
    policy: HotPolicy,
) -> str | None:
    """Propose or make a move down to the target, unless one is open; why not, if it cannot be."""
    token = look.token
    async with database.session() as session:
        if await breaker_trip(session, custody.chain_id) is not None:
            return f"{token.asset.code} is above its upper bound, and withdrawals are stopped"
        if look.moving or await _open_moves(session, custody, token, automatic=False):
            return None
    minor, _dust = token.split_units(look.free - token.units_of(bounds.target))
    # No move has more than an amount may be: the rest is called for when this one is over.
    amount = Money(min(minor, AMOUNT_LIMIT), token.asset)
    try:
        await ask_cold_move(
            database,
            rpc,
            clock,
            custody,
            move_id=derive_id("cold-move-hot", custody.chain_id, token.address, look.block_number),
            amount=amount,
            asked_by=WORKER,
            is_automatic=True,
            is_proposal=not policy.makes_moves,
        )
    except Refusal as refusal:
        return f"{token.asset.code} is above its upper bound: {refusal.detail}"
    logger.info("cold move called for", amount=str(amount), block_number=look.block_number)
    return None


async def _open_moves(
    session: AsyncSession, custody: Custody, token: CustodyToken, *, automatic: bool
) -> list[TreasuryColdMove]:
    """Moves of the token that are not over; with ``automatic`` only the worker's own."""
    query = select(TreasuryColdMove).where(
        TreasuryColdMove.chain_id == custody.chain_id,
        TreasuryColdMove.asset == token.asset.code,
        TreasuryColdMove.closed_at.is_(None),
    )
    if automatic:
        query = query.where(TreasuryColdMove.is_automatic)
    return list(await session.scalars(query))


async def _give_up_moves(database: Database, clock: Clock, custody: Custody, token: CustodyToken) -> None:
    """What was called for and is not needed any more is not made; what has a nonce is the chain's."""
    async with database.session() as session:
        moves = [move.id for move in await _open_moves(session, custody, token, automatic=True)]
    for move_id in moves:
        try:
            async with database.session() as session:
                await give_up_cold_move(session, clock, move_id=move_id)
        except Refusal:
            continue


async def _note(
    database: Database, clock: Clock, custody: Custody, look: _Look, level: HotLevel, bounds: HotBounds
) -> None:
    key = {"chain_id": custody.chain_id, "asset": look.token.asset.code}
    now = clock.now()
    async with database.session() as session:
        before = await session.get(TreasuryHotLevel, tuple(key.values()))
        is_new = before is None or before.level != level
        seen = {
            "block_number": look.block_number,
            "free_units": Decimal(look.free),
            "level": str(level),
            "since": now if before is None or is_new else before.since,
            "looked_at": now,
        }
        await session.execute(
            insert(TreasuryHotLevel)
            .values(**key, **seen)
            .on_conflict_do_update(index_elements=list(key), set_=seen)
        )
        # Said before the commit: who dies here says it again, and an alarm is never lost.
        if is_new and level is HotLevel.BELOW:
            logger.critical(
                BELOW_EVENT,
                asset=look.token.asset.code,
                free_units=look.free,
                lower_units=look.token.units_of(bounds.lower),
                block_number=look.block_number,
            )
        elif before is not None and before.level == HotLevel.BELOW and is_new:
            logger.info("hot balance back above its lower bound", asset=look.token.asset.code)
