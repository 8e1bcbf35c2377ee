"""Orders: what may be signed, written by those who may decide it.

An order is a row of ``chain_order``: pay so much of a token to an address, move so
much to the cold address, or empty a deposit address into the vault; or a batch, which
does that for each of its members in one transaction. It never changes; it is approved,
and it may be revoked while nothing was signed for it. The signer reads it here by its
id, so that nobody has to be believed about what to sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, SQLColumnExpression, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from chain.models import ChainBatchMember, ChainLane, ChainOrder, OrderKind
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
    members: tuple[Order, ...] = ()
    """Of a batch: the orders that go in it, as they stand in it."""
    batch_id: UUID | None = None
    """The batch that it goes in, if it goes in one that is not revoked."""

    @property
    def is_withdrawal(self) -> bool:
        """Whether it pays somebody, by itself."""
        return self.kind == OrderKind.WITHDRAWAL

    @property
    def is_cold_move(self) -> bool:
        """Whether it moves tokens to the cold address."""
        return self.kind == OrderKind.COLD_MOVE

    @property
    def is_batch(self) -> bool:
        """Whether it is nothing but its members."""
        return self.kind in {OrderKind.PAYOUT_BATCH, OrderKind.SWEEP_BATCH}

    @property
    def parts(self) -> tuple[Order, ...]:
        """What it orders, one by one: its members, or itself."""
        return self.members if self.is_batch else (self,)

    @property
    def payments(self) -> tuple[Order, ...]:
        """The withdrawals among its parts: what is paid to others by it."""
        return tuple(one for one in self.parts if one.is_withdrawal)


def withdrawal_word(order_id: UUID) -> bytes:
    """The withdrawal or move id that the vault remembers: the order's id, followed by 16 zero bytes."""
    return order_id.bytes + bytes(16)


async def read_order(session: AsyncSession, order_id: UUID) -> Order | None:
    """The order with that id, a batch with its members, or None."""
    row = await session.get(ChainOrder, order_id)
    if row is None:
        return None
    if row.kind in {OrderKind.PAYOUT_BATCH, OrderKind.SWEEP_BATCH}:
        members = await session.scalars(
            select(ChainOrder)
            .join(ChainBatchMember, ChainBatchMember.member_id == ChainOrder.id)
            .where(ChainBatchMember.batch_id == order_id)
            .order_by(ChainBatchMember.position)
        )
        return _order(row, members=tuple(_order(member, batch_id=order_id) for member in members))
    batch = aliased(ChainOrder)
    batch_id = await session.scalar(
        select(ChainBatchMember.batch_id)
        .join(batch, batch.id == ChainBatchMember.batch_id)
        .where(ChainBatchMember.member_id == order_id, batch.revoked_at.is_(None))
    )
    return _order(row, batch_id=batch_id)


def _order(row: ChainOrder, *, members: tuple[Order, ...] = (), batch_id: UUID | None = None) -> Order:
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
        members=members,
        batch_id=batch_id,
    )


def goes_in_batch(order_id: SQLColumnExpression[UUID] | UUID) -> ColumnElement[bool]:
    """In a query: whether the order goes in a batch that is not revoked, and so never alone."""
    batch = aliased(ChainOrder)
    return (
        exists()
        .where(ChainBatchMember.member_id == order_id)
        .where(batch.id == ChainBatchMember.batch_id, batch.revoked_at.is_(None))
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

    False means that it has a nonce, or goes in a batch that is not revoked: something
    may have been signed for it, and only its fate on chain says what becomes of the
    money. True is a promise: what the caller writes in the same database transaction
    (giving money back) can rely on nothing having been signed and on nothing ever
    being signed.
    """
    # Whoever gives an order its nonce holds the row until its first signature is
    # stored (chain.lanes), and whoever puts it into a batch until the batch is written
    # (chain.batches), so here either that is seen or it never happens.
    await hold_order(session, order_id)
    has_nonce = exists().where(ChainLane.order_id == order_id)
    if await session.scalar(select(has_nonce | goes_in_batch(order_id))):
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
