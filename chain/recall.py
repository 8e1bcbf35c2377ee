"""Recall: what the signer has signed and our tables do not know, taken into the tables.

Only a database that is older than the signer's log needs it: one that was restored from
a backup. The log is the truth about signatures, so what it has becomes the order's place
and attempts, with the nonce that it was signed with, and the chain decides what became of
it, as of everything that is signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.errors import ChainCode
from chain.fees import Fees
from chain.lanes import Place, store_attempt, take_place
from chain.models import ChainBatchMember, ChainOrder
from chain.signer_messages import RecalledAnswer, RecalledOrder
from chain.transactions import SignedTransaction, transaction_hash
from foundation.clock import Clock
from foundation.errors import InvariantViolation, Refusal


async def take_in(
    session: AsyncSession, clock: Clock, recalled: Sequence[RecalledAnswer], *, held: UUID
) -> None:
    """Store all signatures of one order, or of the batch that it was signed in, and its nonce.

    Under ``lock_lane`` of another session, which may hold the order ``held``; all of it is
    one database transaction, so that a death before its commit leaves everything to be
    recalled again. Refused as ``nonce_mismatch``, with ``signed_before`` true, where our
    tables hold something else in its place: then people must look, and nothing is given
    back meanwhile.
    """
    order = recalled[0].order
    assert order is not None, "nothing was signed"
    if order.member_ids:
        await _take_batch(session, clock, order, held)
    place = Place(order.nonce, order.id, order.from_address)
    if not await take_place(session, place):
        raise _contradiction(f"nonce {order.nonce} is another order's here")
    for answer in recalled:
        if not answer.raw:
            raise _contradiction("its bytes are not in the log")
        if transaction_hash(answer.raw) != answer.tx_hash:
            raise InvariantViolation("the signer names another hash than that of its bytes")
        fees = Fees(answer.max_fee_per_gas, answer.max_priority_fee_per_gas)
        await store_attempt(session, clock, place, SignedTransaction(answer.raw, answer.tx_hash), fees)


async def _take_batch(session: AsyncSession, clock: Clock, batch: RecalledOrder, held: UUID) -> None:
    """Make the batch's own order and its members' places in it, if they are not there."""
    if await session.scalar(select(exists().where(ChainBatchMember.batch_id == batch.id))):
        return
    # Nobody may revoke them meanwhile; the one that is held by the other session waits for that.
    query = select(ChainOrder.id).order_by(ChainOrder.id)
    others = set(batch.member_ids) - {held}
    found = set(await session.scalars(query.where(ChainOrder.id.in_(others)).with_for_update(key_share=True)))
    found |= set(await session.scalars(query.where(ChainOrder.id == held)))
    if missing := set(batch.member_ids) - found:
        raise _contradiction(f"{len(missing)} members of its batch {batch.id} are not here")
    if await session.scalar(select(exists().where(ChainBatchMember.member_id.in_(batch.member_ids)))):
        raise _contradiction(f"members of its batch {batch.id} are in another one here")
    now = clock.now()
    await session.execute(
        insert(ChainOrder)
        .values(
            id=batch.id, kind=batch.kind, token=batch.token, to_address=batch.to_address,
            amount=int(batch.amount), created_at=now, approved_at=now,
        )
        .on_conflict_do_nothing()
    )  # fmt: skip
    rows = [
        {"batch_id": batch.id, "position": position, "member_id": member}
        for position, member in enumerate(batch.member_ids)
    ]
    await session.execute(insert(ChainBatchMember), rows)


def _contradiction(detail: str) -> Refusal:
    return Refusal(
        ChainCode.NONCE_MISMATCH,
        f"The signer's log has signatures for the order, and {detail}.",
        why="log_contradicts_tables",
        signed_before=True,
    )
