"""Batches: orders that go together in one transaction, and what that costs.

A batch is an order whose members are orders. It has the nonce, the attempts and their
fees; its members have none. It is written with its members in one database transaction
and never changes, and a member is in one batch at most, for ever. A batch that nothing
was signed for may be revoked like any order; then its members go alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import exists, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainBatchMember, ChainLane, ChainOrder, OrderKind
from chain.orders import Order
from foundation.clock import Clock
from foundation.ids import uuid7

MEMBERS_MAX: Final = 50
"""Most members of a batch, whatever a policy says."""

PAYMENT_GAS: Final = 290_000
"""Gas that the vault wants to have left before each payment of a batch (``PAYMENT_GAS_LEFT_MIN``).
No payment uses more, whatever its token does: 250,000 are the most that it is given."""

PAYOUT_BATCH_GAS: Final = 100_000
"""Gas of a batch beside its payments: 45,454 measured, most of it what every transaction costs."""

TRANSACTION_GAS_MAX: Final = 2**24
"""No transaction may have a higher gas limit (EIP-7825); 50 payments have 14,600,000."""

MEASURED_GAS: Final = {
    "withdrawal": 103_015,
    "batch": 45_454,
    "payment": 59_562,
}
"""Gas as measured with new holders (contracts/snapshots/Gas.json): one alone, and a batch beside and
for each of its payments. With known holders all but the second are 17,100 less."""


def batch_is_cheaper(payments: int) -> bool:
    """Whether so many payments cost less gas in one batch than each alone, as measured."""
    together = MEASURED_GAS["batch"] + payments * MEASURED_GAS["payment"]
    return together < payments * MEASURED_GAS["withdrawal"]


async def write_batch(
    session: AsyncSession, clock: Clock, *, kind: OrderKind, vault: str, members: Sequence[UUID]
) -> UUID | None:
    """Put orders of one token together, approved, in this order; the batch's id.

    None, with nothing written, if one of them cannot go with others (any more): it was
    revoked or is not approved, has a nonce, or has been in a batch before.
    """
    # In the order of their ids, so that two who take some of the same do not wait for
    # each other. From here until the transaction ends none of them is revoked or given
    # a nonce (chain.orders, chain.sender): whoever wants that sees the batch afterwards.
    held = await session.execute(
        select(ChainOrder.id, ChainOrder.token)
        .where(
            ChainOrder.id.in_(members),
            ChainOrder.approved_at.is_not(None),
            ChainOrder.revoked_at.is_(None),
        )
        .order_by(ChainOrder.id)
        .with_for_update(key_share=True)
    )
    tokens = {row.id: row.token for row in held}
    # Asked after they are held: a batch or nonce that was committed while we waited is seen.
    taken = await session.scalar(
        select(
            exists().where(ChainLane.order_id.in_(members))
            | exists().where(ChainBatchMember.member_id.in_(members))
        )
    )
    if taken or tokens.keys() != set(members) or len(set(tokens.values())) != 1:
        return None
    amount = await session.scalar(select(func.sum(ChainOrder.amount)).where(ChainOrder.id.in_(members)))
    batch_id, now = uuid7(clock), clock.now()
    await session.execute(
        insert(ChainOrder).values(
            id=batch_id,
            kind=kind,
            token=tokens[members[0]],
            to_address=vault,
            amount=amount,
            created_at=now,
            approved_at=now,
        )
    )
    await session.execute(
        insert(ChainBatchMember),
        [
            {"batch_id": batch_id, "position": position, "member_id": member}
            for position, member in enumerate(members)
        ],
    )
    return batch_id


def batch_fault(batch: Order, *, vault: str, members_max: int) -> tuple[str, str] | None:
    """In one word and in a sentence what makes a batch none; None for one that is sound."""
    member_kind = OrderKind.WITHDRAWAL if batch.kind == OrderKind.PAYOUT_BATCH else OrderKind.SWEEP
    members = batch.members
    # Two payments of one amount to one receiver could not be told apart by their Transfer
    # logs: a departure must name its member without doubt. Of two sweeps of one address
    # the second would be of nothing.
    ends = {(member.to_address, member.amount) for member in members}
    faults = (
        ("empty", not members, "The batch has no members."),
        ("too_many", len(members) > min(members_max, MEMBERS_MAX), "The batch has too many members."),
        ("contract", batch.to_address != vault, "The batch is not for the vault."),
        ("member_kind", {one.kind for one in members} != {member_kind}, "A member is of another kind."),
        ("member_token", {one.token for one in members} != {batch.token}, "A member is of another token."),
        ("sum", batch.amount != sum(one.amount for one in members), "The amount is not the members' sum."),
        ("equal_members", len(ends) != len(members), "Two members have one receiver and one amount."),
        ("member_twice", len({one.id for one in members}) != len(members), "A member stands in it twice."),
    )
    return next(((why, detail) for why, is_so, detail in faults if is_so), None)
