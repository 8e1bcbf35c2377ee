"""Orders: what may be signed, written by those who may decide it.

An order is a row of ``chain_order``: pay so much of a token to an address, move so
much to the cold address, or empty a deposit address into the vault. It never changes; it is approved, and it
may be revoked while nothing was signed for it. The signer reads it here by its
id, so that nobody has to be believed about what to sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.models import ChainLane, ChainOrder, OrderKind
from foundation.clock import Clock


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the tables hold it. Addresses and salt are lower case hex, amounts token units."""

    id: UUID
    kind: str
    token: str
    to_address: str
    amount: int
    salt: str | None
    approved: bool
    revoked: bool
    fee: int | None = None
    """What the customer pays on top; None in a sweep, and where it was never written."""
    requester: UUID | None = None
    """Who asked for it."""

    @property
    def is_withdrawal(self) -> bool:
        """Whether it pays somebody."""
        return self.kind == OrderKind.WITHDRAWAL

    @property
    def is_cold_move(self) -> bool:
        """Whether it moves tokens to the cold address; what is neither is a sweep."""
        return self.kind == OrderKind.COLD_MOVE


def withdrawal_word(order_id: UUID) -> bytes:
    """The withdrawal or move id that the vault remembers: the order's id, followed by 16 zero bytes."""
    return order_id.bytes + bytes(16)


async def read_order(session: AsyncSession, order_id: UUID) -> Order | None:
    """The order with that id, or None."""
    row = await session.get(ChainOrder, order_id)
    if row is None:
        return None
    return Order(
        id=row.id,
        kind=row.kind,
        token=row.token,
        to_address=row.to_address,
        amount=int(row.amount),
        salt=row.salt,
        approved=row.approved_at is not None,
        revoked=row.revoked_at is not None,
        fee=None if row.fee is None else int(row.fee),
        requester=row.requester,
    )


async def hold_order(session: AsyncSession, order_id: UUID) -> None:
    """Until this database transaction ends, nobody revokes the order.

    The lock lets rows that refer to the order be written, unlike FOR UPDATE.
    """
    await session.execute(
        select(ChainOrder.id).where(ChainOrder.id == order_id).with_for_update(key_share=True)
    )


async def revoke_order(session: AsyncSession, clock: Clock, order_id: UUID) -> bool:
    """Have an order never signed; true if it is revoked (again), false if that comes too late.

    False means that it has a nonce: something may have been signed for it, and only
    its fate on chain says what becomes of the money. True is a promise: what the
    caller writes in the same database transaction (giving money back) can rely on
    nothing having been signed and on nothing ever being signed.
    """
    # Whoever gives an order its nonce holds the row until its first signature is
    # stored (chain.lanes), so here either the nonce is seen or it is never given.
    await hold_order(session, order_id)
    if await session.scalar(select(exists().where(ChainLane.order_id == order_id))):
        return False
    done = await session.execute(
        update(ChainOrder)
        .where(ChainOrder.id == order_id, ChainOrder.revoked_at.is_(None))
        .values(revoked_at=clock.now())
        .returning(ChainOrder.id)
    )
    return done.first() is not None or await _is_revoked(session, order_id)


async def _is_revoked(session: AsyncSession, order_id: UUID) -> bool:
    return bool(
        await session.scalar(
            select(exists().where(ChainOrder.id == order_id, ChainOrder.revoked_at.is_not(None)))
        )
    )
