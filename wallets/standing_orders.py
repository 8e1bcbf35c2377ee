"""Standing orders: what a wallet pays on days to come, and what became of each payment.

The worker pays (``standing_execution``); here orders are made, read, confirmed and
cancelled. A day is one of UTC, from its midnight to the next.

**Cancelling.** The row is written first: from then on no further attempt is begun. The
attempt that may be on its way is then refused by the ledger for ever, or has paid. So
whoever has been told that an order is cancelled is charged nothing afterwards. Dies the
process in between, the order is cancelled and the worker, or the same request, does the rest.

**Revoked devices.** An order outlives the device that signed it: a person who loses a phone
still owes the rent. But who revokes a device, perhaps stolen with its owner logged in, has
not seen what it ordered; so a revocation pauses all orders of the wallet that were not
confirmed since, and a device of the person confirms those that are meant. Which device
ordered what is kept nowhere, since it would tell whose a decoy is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.assets import asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import derive_id
from foundation.money import Money
from identity.models import Device
from ledger.interface import Ledger
from wallets.given_up import give_up
from wallets.models import WalletRow
from wallets.recurrence import Recurrence, Repeats
from wallets.standing_errors import StandingCode
from wallets.standing_models import StandingOrderRow, StandingPaymentRow
from wallets.wallets import Wallet, WalletDirectory

PAGE_MAX: Final = 50
"""Most orders or payments on a page."""


class StandingState(StrEnum):
    """What is done with a standing order."""

    ACTIVE = "active"
    """It is paid on its days."""
    PAUSED = "paused"
    """A device was revoked since it was confirmed: it is paid again when a device confirms it."""
    CANCELLED = "cancelled"
    """The payer wants it no more."""
    FINISHED = "finished"
    """All its payments are settled."""


@dataclass(frozen=True, slots=True)
class StandingBooks:
    """What standing orders are kept with."""

    database: Database
    ledger: Ledger
    clock: Clock
    directory: WalletDirectory


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """A standing order as it stands now."""

    id: UUID
    payee: Wallet
    amount: Money
    fee_max: Money | None
    reference: UUID | None
    days: Recurrence
    state: StandingState
    next_on: date | None
    """The day of the next payment; None where there is none any more."""
    last_code: str | None
    """Why the last attempt at the next payment was refused."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StandingPayment:
    """What became of one of the payments: it was paid, or missed with a code."""

    number: int
    on_day: date
    payment_id: UUID | None
    code: str | None
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class Stood:
    """The answer to an order: how it stands, and whether an earlier request did it."""

    order: StandingOrder
    replayed: bool


async def standing_order_by_id(books: StandingBooks, *, wallet: Wallet, order_id: UUID) -> StandingOrder:
    """A standing order of this wallet; otherwise ``standing_order_not_found``."""
    return (await views(books, [await _own(books, wallet, order_id)]))[0]


async def list_standing_orders(
    books: StandingBooks, *, wallet: Wallet, before: UUID | None = None, limit: int = 20
) -> tuple[list[StandingOrder], UUID | None]:
    """A page of a wallet's orders, newest first, and the id before which the next page begins."""
    assert 1 <= limit <= PAGE_MAX
    wanted = [StandingOrderRow.payer_id == wallet.id]
    if before is not None:
        last = await _own(books, wallet, before)
        place = tuple_(StandingOrderRow.created_at, StandingOrderRow.id)
        wanted.append(place < tuple_(last.created_at, last.id))
    async with books.database.session() as session:
        rows = (
            await session.scalars(
                select(StandingOrderRow)
                .where(*wanted)
                .order_by(StandingOrderRow.created_at.desc(), StandingOrderRow.id.desc())
                .limit(limit + 1)
            )
        ).all()
    page = rows[:limit]
    return await views(books, page), page[-1].id if len(rows) > limit else None


async def list_standing_payments(
    books: StandingBooks, *, wallet: Wallet, order_id: UUID, before: int | None = None, limit: int = 20
) -> tuple[list[StandingPayment], int | None]:
    """A page of what became of an order's payments, newest first, and the next page's ``before``."""
    assert 1 <= limit <= PAGE_MAX
    await _own(books, wallet, order_id)
    wanted = [StandingPaymentRow.order_id == order_id]
    if before is not None:
        wanted.append(StandingPaymentRow.number < before)
    async with books.database.session() as session:
        rows = (
            await session.scalars(
                select(StandingPaymentRow)
                .where(*wanted)
                .order_by(StandingPaymentRow.number.desc())
                .limit(limit + 1)
            )
        ).all()
    page = rows[:limit]
    found = [
        StandingPayment(row.number, row.on_day, row.payment_id, row.code, row.settled_at) for row in page
    ]
    return found, page[-1].number if len(rows) > limit else None


async def confirm_standing_order(books: StandingBooks, *, wallet: Wallet, order_id: UUID) -> Stood:
    """Say that an order is wanted, whatever was revoked before; safe to repeat.

    Refused as ``standing_order_not_found`` or ``standing_order_over``.
    """
    row = await _own(books, wallet, order_id)
    now, day = books.clock.now(), days_of(row).day(row.number)
    # What was postponed while it was paused is tried at once, and nothing before its day.
    try_at = max(now, midnight(day)) if day is not None else now
    async with books.database.session() as session:
        changed = (
            await session.scalars(
                update(StandingOrderRow)
                .where(StandingOrderRow.id == row.id, _is_live())
                .values(confirmed_at=now, try_at=try_at)
                .returning(StandingOrderRow)
            )
        ).one_or_none()
    if changed is None:
        raise Refusal(StandingCode.STANDING_ORDER_OVER, "It was cancelled, or all of it is settled.")
    return Stood((await views(books, [changed]))[0], replayed=False)


async def cancel_standing_order(books: StandingBooks, *, wallet: Wallet, order_id: UUID) -> Stood:
    """Pay nothing more of an order; again is the same.

    Refused as ``standing_order_not_found``, or as ``standing_order_over`` when all was settled.
    """
    row = await _own(books, wallet, order_id)
    was_cancelled = row.cancelled_at is not None
    if not was_cancelled:
        async with books.database.session() as session:
            await session.execute(
                update(StandingOrderRow)
                .where(StandingOrderRow.id == row.id, _is_live())
                .values(cancelled_at=books.clock.now())
            )
        # Dies here: no attempt is begun any more, and the worker does the rest.
        row = await _own(books, wallet, order_id)
        if row.cancelled_at is None:
            raise Refusal(StandingCode.STANDING_ORDER_OVER, "All of it was settled before.")
    if row.closed_at is None:
        await close_cancelled(books.database, books.ledger, books.clock, row)
    row = await _own(books, wallet, order_id)
    return Stood((await views(books, [row]))[0], replayed=was_cancelled)


async def close_cancelled(database: Database, ledger: Ledger, clock: Clock, row: StandingOrderRow) -> None:
    """Have the attempt of a cancelled order that may be on its way refused for ever, or recorded as paid."""
    if not await give_up_attempt(ledger, row):
        await record(database, clock, row, code=None)
    async with database.session() as session:
        await session.execute(
            update(StandingOrderRow)
            .where(StandingOrderRow.id == row.id, StandingOrderRow.closed_at.is_(None))
            .values(closed_at=clock.now())
        )


async def give_up_attempt(ledger: Ledger, row: StandingOrderRow) -> bool:
    """Have the ledger refuse the attempt that a row names for ever; False if it has paid."""
    return await give_up(
        ledger,
        attempt_id(row),
        payer_id=row.payer_id,
        payee_id=row.payee_id,
        asset=asset_by_code(row.asset),
    )


async def record(database: Database, clock: Clock, row: StandingOrderRow, *, code: str | None) -> None:
    """Settle the payment that a row names, as paid or as missed, and go on to the next, once.

    Nothing is done where the row names another attempt by now: that one may be on its way, and
    tells itself what becomes of it.
    """
    days = days_of(row)
    day, following = days.day(row.number), days.day(row.number + 1)
    if day is None:
        raise InvariantViolation(f"standing order {row.id} has no payment {row.number}")
    now = clock.now()
    async with database.session() as session:
        settles = await session.scalar(
            update(StandingOrderRow)
            .where(
                StandingOrderRow.id == row.id,
                StandingOrderRow.number == row.number,
                StandingOrderRow.attempt == row.attempt,
            )
            .values(
                number=row.number + 1,
                attempt=1,
                last_code=None,
                try_at=midnight(following) if following is not None else row.try_at,
                closed_at=row.closed_at if following is not None else now,
            )
            .returning(StandingOrderRow.id)
        )
        if settles is None:
            return
        # Dies here: neither is written.
        await session.execute(
            insert(StandingPaymentRow).values(
                order_id=row.id,
                number=row.number,
                on_day=day,
                payment_id=attempt_id(row) if code is None else None,
                code=code,
                settled_at=now,
            )
        )


def attempt_id(row: StandingOrderRow) -> UUID:
    """The payment that a row's attempt would make; no client can make such an id."""
    return derive_id("standing-payment", row.id, row.number, row.attempt)


def days_of(row: StandingOrderRow) -> Recurrence:
    """An order's days."""
    return Recurrence(row.first_on, Repeats(row.repeats), row.until, row.times)


def midnight(day: date) -> datetime:
    """When a day begins."""
    return datetime.combine(day, time(), UTC)


def day_after(day: date) -> datetime:
    """When a day is over."""
    return midnight(day) + timedelta(days=1)


async def views(books: StandingBooks, rows: Sequence[StandingOrderRow]) -> list[StandingOrder]:
    """The orders of rows as they stand now."""
    wallets = await books.directory.by_ids({row.payee_id for row in rows})
    async with books.database.session() as session:
        paused = await paused_among(session, [row.id for row in rows])
    return [_view(row, wallets[row.payee_id], is_paused=row.id in paused) for row in rows]


async def paused_among(session: AsyncSession, order_ids: Collection[UUID]) -> set[UUID]:
    """Those of the orders that a revocation paused and nobody has confirmed since."""
    revoked = exists().where(
        Device.person_id == WalletRow.person_id, Device.revoked_at > StandingOrderRow.confirmed_at
    )
    found = await session.scalars(
        select(StandingOrderRow.id)
        .join(WalletRow, WalletRow.id == StandingOrderRow.payer_id)
        .where(StandingOrderRow.id.in_(order_ids), revoked)
    )
    return set(found)


def _view(row: StandingOrderRow, payee: Wallet, *, is_paused: bool) -> StandingOrder:
    asset = asset_by_code(row.asset)
    if row.cancelled_at is not None:
        state = StandingState.CANCELLED
    elif row.closed_at is not None:
        state = StandingState.FINISHED
    else:
        state = StandingState.PAUSED if is_paused else StandingState.ACTIVE
    is_live = state in {StandingState.ACTIVE, StandingState.PAUSED}
    return StandingOrder(
        id=row.id,
        payee=payee,
        amount=Money(row.amount, asset),
        fee_max=Money(row.fee_max, asset) if row.fee_max is not None else None,
        reference=row.reference,
        days=days_of(row),
        state=state,
        next_on=days_of(row).day(row.number) if is_live else None,
        last_code=row.last_code if is_live else None,
        created_at=row.created_at,
    )


def _is_live() -> ColumnElement[bool]:
    return StandingOrderRow.cancelled_at.is_(None) & StandingOrderRow.closed_at.is_(None)


async def _own(books: StandingBooks, wallet: Wallet, order_id: UUID) -> StandingOrderRow:
    async with books.database.session() as session:
        row = await session.get(StandingOrderRow, order_id)
    if row is None or row.payer_id != wallet.id:
        raise Refusal(
            StandingCode.STANDING_ORDER_NOT_FOUND, "This wallet has no standing order with this id."
        )
    return row
