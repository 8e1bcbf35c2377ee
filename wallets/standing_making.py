"""Making standing orders: what is asked for, once, within bounds.

The payer's device makes the id, which is the idempotency for ever, as of a payment; its
signature covers the whole order. An order that is refused leaves nothing behind. A new
order counts as a look-up of its payee's handle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from foundation.errors import Refusal
from foundation.money import Money
from wallets.errors import WalletCode
from wallets.handle_lookups import HandleLookups
from wallets.handles import parse_handle
from wallets.models import WalletRow
from wallets.payments import check_id
from wallets.recurrence import Recurrence, Repeats
from wallets.standing_errors import StandingCode
from wallets.standing_models import StandingOrderRow
from wallets.standing_orders import StandingBooks, Stood, midnight, views
from wallets.wallets import Wallet

LIVE_MAX: Final = 20
"""Standing orders that a wallet may have, those that are over left out."""

TIMES_MAX: Final = 1_000
"""Most payments of an order that says how many; others have no end."""

AHEAD_DAYS_MAX: Final = 731
"""How far ahead the first day may be."""


@dataclass(frozen=True, slots=True)
class StandingRequest:
    """What a payer asks for."""

    id: UUID
    """Made by the payer's device, and kept there before it is sent."""
    payer: Wallet
    payee_handle: str
    amount: Money
    """What the payee gets each time; the fee comes on top."""
    days: Recurrence
    fee_max: Money | None = None
    """The fee of each payment that the payer agreed to; None agrees to the schedule of the day."""
    reference: UUID | None = None
    """Stands on every payment; both parties see it."""


async def make_standing_order(books: StandingBooks, lookups: HandleLookups, asked: StandingRequest) -> Stood:
    """Make a standing order once; the same request again gives it as it stands.

    Refused by a ``WalletCode``, an ``AskingCode`` or a ``StandingCode``.
    """
    check_id(asked.id)
    if asked.amount.minor <= 0:
        raise Refusal(WalletCode.AMOUNT_NOT_POSITIVE, "The amount must be more than zero.")
    handle = parse_handle(asked.payee_handle)
    async with lookups.turns.of((asked.payer.id, asked.id)):
        known = await _load(books, asked.id)
        if known is not None:
            return await _replayed(books, known, asked, handle)
        _check_days(asked.days, books)
        # Making an order tells whether a handle exists, as looking it up does.
        await lookups.count(asked.payer.person_id)
        payee = await books.directory.payee(handle, asker=asked.payer)
        if payee is None:
            raise Refusal(WalletCode.PAYEE_UNKNOWN, f"No wallet has the handle @{handle}.", handle=handle)
        if payee.id == asked.payer.id:
            raise Refusal(WalletCode.PAYEE_IS_PAYER, "A wallet does not pay itself.")
        try:
            row = await _insert(books, asked, payee)
        except IntegrityError:
            # The same id was faster by a moment, in another process; what it committed can be read now.
            known = await _load(books, asked.id)
            if known is None:
                raise
            return await _replayed(books, known, asked, handle)
    return Stood((await views(books, [row]))[0], replayed=False)


def _check_days(days: Recurrence, books: StandingBooks) -> None:
    today = books.clock.now().date()
    if not today <= days.first_on <= today + timedelta(days=AHEAD_DAYS_MAX):
        raise _wrong("first_on", "The first day is today, UTC, or within two years.")
    if days.until is not None and days.until < days.first_on:
        raise _wrong("until", "The last day is before the first one.")
    if days.times is not None and not 1 <= days.times <= TIMES_MAX:
        raise _wrong("times", f"It is paid 1 to {TIMES_MAX} times, or without an end.")
    ends = [name for name in ("until", "times") if getattr(days, name) is not None]
    if len(ends) == 2 or (ends and days.repeats is Repeats.ONCE):
        raise _wrong(
            ends[-1], "What repeats ends on a day or after so many times; what does not, has no end."
        )


def _wrong(field: str, detail: str) -> Refusal:
    return Refusal(StandingCode.STANDING_ORDER_DAYS_WRONG, detail, field=field)


async def _load(books: StandingBooks, order_id: UUID) -> StandingOrderRow | None:
    async with books.database.session() as session:
        return await session.get(StandingOrderRow, order_id)


async def _insert(books: StandingBooks, asked: StandingRequest, payee: Wallet) -> StandingOrderRow:
    now = books.clock.now()
    async with books.database.session() as session:
        # Orders of one payer are made one after the other, or two at once would both be the last.
        await session.execute(
            select(WalletRow.id).where(WalletRow.id == asked.payer.id).with_for_update(key_share=True)
        )
        live = await session.scalar(
            select(func.count()).where(
                StandingOrderRow.payer_id == asked.payer.id,
                StandingOrderRow.closed_at.is_(None),
                StandingOrderRow.cancelled_at.is_(None),
            )
        )
        if (live or 0) >= LIVE_MAX:
            raise Refusal(
                StandingCode.TOO_MANY_STANDING_ORDERS,
                f"A wallet has {LIVE_MAX} standing orders at most; cancel one.",
            )
        row = StandingOrderRow(
            id=asked.id,
            payer_id=asked.payer.id,
            payee_id=payee.id,
            asset=asked.amount.asset.code,
            amount=asked.amount.minor,
            fee_max=asked.fee_max.minor if asked.fee_max is not None else None,
            reference=asked.reference,
            first_on=asked.days.first_on,
            repeats=asked.days.repeats.value,
            until=asked.days.until,
            times=asked.days.times,
            created_at=now,
            confirmed_at=now,
            number=0,
            attempt=1,
            try_at=midnight(asked.days.first_on),
        )
        session.add(row)
        return row


async def _replayed(
    books: StandingBooks, row: StandingOrderRow, asked: StandingRequest, handle: str
) -> Stood:
    if row.payer_id != asked.payer.id:
        raise Refusal(StandingCode.STANDING_ORDER_ID_TAKEN, "This id is in use; make a new one.")
    # Also one that is unlisted by now: the same request again is the same order.
    payee = await books.directory.by_handle(handle)
    for field, was, now in (
        ("payee", row.payee_id, payee.id if payee is not None else None),
        ("asset", row.asset, asked.amount.asset.code),
        ("amount", row.amount, asked.amount.minor),
        ("fee_max", row.fee_max, asked.fee_max.minor if asked.fee_max is not None else None),
        ("reference", row.reference, asked.reference),
        ("first_on", row.first_on, asked.days.first_on),
        ("repeats", row.repeats, asked.days.repeats.value),
        ("until", row.until, asked.days.until),
        ("times", row.times, asked.days.times),
    ):
        if was != now:
            raise Refusal(
                StandingCode.STANDING_ORDER_ID_USED_DIFFERENTLY,
                f"A standing order with this id was made with another {field}.",
                field=field,
            )
    return Stood((await views(books, [row]))[0], replayed=True)
