"""Liquidity: whether the vault can pay a withdrawal now, asked before anything is signed.

A payment that reverts costs gas and gives the customer nothing, so one that the
vault would refuse waits instead: tokens not swept yet, the rate limit used up and no
agreement of the vault's approver, the vault or the token paused, the receiver frozen.

The vault pays from the bucket what fits it, and leaves the bucket alone where an
approver has agreed to exactly this withdrawal. So an agreement is counted here as the
vault counts it: for the one id, token, receiver and amount that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from chain.calldata import calldata, hexadecimal
from chain.contract_reads import ContractRead, read_contracts
from chain.errors import RPCError
from chain.models import ChainBatchMember, ChainLane, ChainOrder
from chain.orders import read_order, withdrawal_word
from chain.rpc import RPC
from foundation.database import Database
from treasury.cold_models import TreasuryColdMove
from treasury.custody import Custody
from treasury.models import TreasuryWithdrawal

APPROVED_UNTIL = "approvedUntil(address,address,uint256,bytes32)"
"""The vault's view of an approver's agreement: seconds since 1970, 0 without one."""


@dataclass(frozen=True, slots=True)
class _Payment:
    """A payment as the vault will see it."""

    amount: int
    agreed: bool
    """Whether an approver's agreement to exactly this one can be used now."""


async def why_unpayable(
    database: Database,
    rpc: RPC,
    custody: Custody,
    withdrawal: TreasuryWithdrawal,
    *,
    sender: str,
    beside: Sequence[UUID] = (),
) -> str | None:
    """What would make the vault refuse the payment from ``sender`` now; None if nothing would.

    Payments and moves that have a nonce and are not made yet count as made, and so do the
    withdrawals of ``beside``, which are about to be sent with it. So several that each
    could be paid are not sent together when their sum could not. Raises the RPC's errors.
    """
    async with database.session() as session:
        order = await read_order(session, withdrawal.id)
        assert order is not None, "a withdrawal is written with its order"
        promised = await _promised(session, order.token, withdrawal, beside)
        moving = await _moving(session, order.token)
    held, allowed, own, *answers = await read_contracts(
        rpc,
        [
            ContractRead(order.token, "balanceOf(address)", "uint256", (custody.vault,)),
            ContractRead(custody.vault, "withdrawable(address)", "uint256", (order.token,)),
            _agreement(custody, order.token, order.to_address, order.amount, withdrawal_word(order.id)),
            *[_is_paid(custody, one) for one in promised],
            *[
                _agreement(custody, one.token, one.to_address, int(one.amount), withdrawal_word(one.id))
                for one in promised
            ],
            *[
                ContractRead(custody.vault, "moved(bytes32)", "bool", (withdrawal_word(one.id),))
                for one in moving
            ],
        ],
    )
    # A node that lags may not have the contracts at its head yet: it answers nothing.
    if held is None or allowed is None or own is None or None in answers:
        return "the vault or the token does not answer"
    count = len(promised)
    paid, agreed, moved = answers[:count], answers[count : 2 * count], answers[2 * count :]
    before = [
        _Payment(int(one.amount), until != 0)
        for one, done, until in zip(promised, paid, agreed, strict=True)
        # What is mined already has left both the balance and the bucket.
        if not done
    ]
    leaving = sum(int(one.amount) for one, done in zip(moving, moved, strict=True) if not done)
    if order.amount + leaving + sum(one.amount for one in before) > held:
        return "the vault holds too little"
    if order.amount > _bucket_after(allowed, before) and own == 0:
        return "the vault's rate limit is used up"
    data = calldata(
        "withdraw(address,address,uint256,bytes32)",
        order.token,
        order.to_address,
        order.amount,
        withdrawal_word(order.id),
    )
    call = {"from": sender, "to": custody.vault, "data": hexadecimal(data)}
    try:
        await rpc.call("eth_call", call, "latest")
    except RPCError as error:
        return f"the vault refuses: {error.message}"
    return None


def _bucket_after(allowed: int, payments: Sequence[_Payment]) -> int:
    """What is left of the bucket after payments in the order in which they are mined.

    One that was agreed to and does not fit leaves it alone. One that neither fits nor was
    agreed to takes what will have trickled in by then: less than nothing may be left.
    """
    for payment in payments:
        if payment.amount <= allowed or not payment.agreed:
            allowed -= payment.amount
    return allowed


async def _promised(
    session: AsyncSession, token: str, withdrawal: TreasuryWithdrawal, beside: Sequence[UUID]
) -> Sequence[ChainOrder]:
    """Open withdrawals of a token that have a nonce, in the order of these; then those ``beside``."""
    batch = aliased(ChainOrder)
    batch_id = (
        select(ChainBatchMember.batch_id)
        .join(batch, batch.id == ChainBatchMember.batch_id)
        .where(ChainBatchMember.member_id == ChainOrder.id, batch.revoked_at.is_(None))
        .correlate(ChainOrder)
        .scalar_subquery()
    )
    rows = await session.scalars(
        select(ChainOrder)
        .join(TreasuryWithdrawal, TreasuryWithdrawal.id == ChainOrder.id)
        # What goes in a batch has its nonce.
        .outerjoin(ChainLane, ChainLane.order_id == func.coalesce(batch_id, ChainOrder.id))
        .where(
            ChainOrder.token == token,
            TreasuryWithdrawal.closed_at.is_(None),
            ChainOrder.id != withdrawal.id,
            ChainLane.nonce.is_not(None) | ChainOrder.id.in_(beside),
        )
        .order_by(ChainLane.nonce.nulls_last(), ChainOrder.id)
    )
    return rows.all()


async def _moving(session: AsyncSession, token: str) -> Sequence[ChainOrder]:
    """Open moves of a token to the cold that have a nonce: they take from the balance, not the bucket."""
    rows = await session.scalars(
        select(ChainOrder)
        .join(TreasuryColdMove, TreasuryColdMove.id == ChainOrder.id)
        .join(ChainLane, ChainLane.order_id == ChainOrder.id)
        .where(ChainOrder.token == token, TreasuryColdMove.closed_at.is_(None))
    )
    return rows.all()


def _is_paid(custody: Custody, order: ChainOrder) -> ContractRead:
    return ContractRead(custody.vault, "paid(bytes32)", "bool", (withdrawal_word(order.id),))


def _agreement(custody: Custody, token: str, to: str, units: int, word: bytes) -> ContractRead:
    return ContractRead(custody.vault, APPROVED_UNTIL, "uint48", (token, to, units, word))
