"""Splits: an amount that is asked of several people, and who has paid already.

A split is as many requests to pay as there are shares, made in one database transaction
with it: all of them are there or none. Each is then accepted, declined, cancelled or over
as any other, and whether it was paid is read from the ledger; so the progress of a split
is never written down, and cannot be wrong. Only who asks sees the whole; each payer sees
the own request, whose reference is the split's id.

The shares make up the total to the last unit. Either each is named, or the total is
divided: equally, and what does not divide goes to one share that is named for it.

A request's id follows from the split's id and the share's number, so that the same split
again is the same requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.assets import asset_by_code
from foundation.errors import Refusal
from foundation.ids import derive_id
from foundation.money import Money
from wallets.errors import WalletCode
from wallets.handle_lookups import HandleLookups
from wallets.handles import parse_handle
from wallets.models import PaymentRequestRow
from wallets.payment_request_orders import (
    RequestOrder,
    check_seconds,
    insert_request,
    paid_among_open,
    payer_of,
)
from wallets.payment_requests import Books, PaymentRequest, RequestState, settled
from wallets.payments import check_id
from wallets.split_errors import SplitCode
from wallets.split_models import SplitRow, SplitShareRow
from wallets.wallets import Wallet

SHARES_MAX: Final = 20
"""Most people of whom one amount is asked."""


@dataclass(frozen=True, slots=True)
class Share:
    """Of whom how much is asked."""

    payer_handle: str
    amount: Money


@dataclass(frozen=True, slots=True)
class SplitOrder:
    """What a payee asks for."""

    id: UUID
    """Made by the payee's device, and kept there before it is sent."""
    payee: Wallet
    total: Money
    shares: Sequence[Share]
    seconds: int
    """How long each request is open."""


@dataclass(frozen=True, slots=True)
class Split:
    """A split as it stands now."""

    id: UUID
    total: Money
    paid: Money
    """What was paid of it."""
    requests: Sequence[PaymentRequest]
    """In the order in which the shares were named."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer to an order: the split, and whether an earlier one made it."""

    split: Split
    replayed: bool


def equal_shares(total: Money, handles: Sequence[str], remainder_to: str) -> list[Share]:
    """The total in equal shares; what does not divide is added to ``remainder_to``'s.

    Refused as ``split_shares_wrong`` when that is nobody's handle, or nobody is named.
    """
    names = [parse_handle(each) for each in handles]
    if names.count(parse_handle(remainder_to)) != 1:
        raise _wrong("What does not divide goes to one of those who are asked.")
    each, rest = divmod(total.minor, len(names))
    return [
        Share(name, Money(each + (rest if name == parse_handle(remainder_to) else 0), total.asset))
        for name in names
    ]


async def split_amount(books: Books, lookups: HandleLookups, order: SplitOrder) -> Asked:
    """Ask several people for their shares of an amount, once; the same order again gives it as it stands.

    Refused by a ``SplitCode``, and as requests to pay are; then nobody is asked anything.
    """
    check_id(order.id)
    check_seconds(order.seconds)
    _check_shares(order)
    async with lookups.turns.of((order.payee.id, order.id)):
        known = await _replayed(books, order)
        if known is not None:
            return known
        payers = [await payer_of(books, lookups, order.payee, each.payer_handle) for each in order.shares]
        paid = [await paid_among_open(books, order.payee, each) for each in payers]
        try:
            async with books.database.session() as session:
                await _insert(session, books, order, payers, paid)
        except IntegrityError:
            # The same id was faster by a moment, in another process; what it committed can be read now.
            known = await _replayed(books, order)
            if known is None:
                raise
            return known
    return Asked(await split_by_id(books, wallet=order.payee, split_id=order.id), replayed=False)


async def split_by_id(books: Books, *, wallet: Wallet, split_id: UUID) -> Split:
    """A split that this wallet asks for; otherwise ``split_not_found``."""
    async with books.database.session() as session:
        row = await session.get(SplitRow, split_id)
        if row is None or row.payee_id != wallet.id:
            raise Refusal(SplitCode.SPLIT_NOT_FOUND, "This wallet has no split with this id.")
        rows = await _requests(session, split_id)
    requests = await settled(books, rows)
    asset = asset_by_code(row.asset)
    paid = sum(each.amount.minor for each in requests if each.state is RequestState.ACCEPTED)
    return Split(row.id, Money(row.total, asset), Money(paid, asset), requests, row.created_at)


def request_id(split_id: UUID, number: int) -> UUID:
    """Id of a share's request; no client can make such an id."""
    return derive_id("split-request", split_id, number)


def _check_shares(order: SplitOrder) -> None:
    if order.total.minor <= 0:
        raise Refusal(WalletCode.AMOUNT_NOT_POSITIVE, "The amount must be more than zero.")
    if not 1 <= len(order.shares) <= SHARES_MAX:
        raise _wrong(f"An amount is asked of 1 to {SHARES_MAX} people.")
    if any(each.amount.minor <= 0 for each in order.shares):
        raise _wrong("Each share is more than zero.")
    if len({parse_handle(each.payer_handle) for each in order.shares}) != len(order.shares):
        raise _wrong("Nobody is asked twice.")
    made_up = sum(each.amount.minor for each in order.shares)
    if made_up != order.total.minor:
        made = Money(made_up, order.total.asset)
        raise _wrong(f"The shares make up {made}, and the total is {order.total}.")


def _wrong(detail: str) -> Refusal:
    return Refusal(SplitCode.SPLIT_SHARES_WRONG, detail)


async def _insert(
    session: AsyncSession,
    books: Books,
    order: SplitOrder,
    payers: Sequence[Wallet],
    paid: Sequence[set[UUID]],
) -> None:
    session.add(
        SplitRow(
            id=order.id,
            payee_id=order.payee.id,
            asset=order.total.asset.code,
            total=order.total.minor,
            seconds=order.seconds,
            created_at=books.clock.now(),
        )
    )
    await session.flush()
    for number, (share, payer) in enumerate(zip(order.shares, payers, strict=True)):
        asked = RequestOrder(
            id=request_id(order.id, number),
            payee=order.payee,
            payer_handle=payer.handle,
            amount=share.amount,
            seconds=order.seconds,
            reference=order.id,
        )
        # With the bounds of any request: who may not be asked once more is not asked by a split.
        await insert_request(session, books.clock, asked, payer, paid[number])
        await session.flush()
        session.add(SplitShareRow(split_id=order.id, number=number, request_id=asked.id))


async def _requests(session: AsyncSession, split_id: UUID) -> Sequence[PaymentRequestRow]:
    return (
        await session.scalars(
            select(PaymentRequestRow)
            .join(SplitShareRow, SplitShareRow.request_id == PaymentRequestRow.id)
            .where(SplitShareRow.split_id == split_id)
            .order_by(SplitShareRow.number)
        )
    ).all()


async def _replayed(books: Books, order: SplitOrder) -> Asked | None:
    async with books.database.session() as session:
        row = await session.get(SplitRow, order.id)
        rows = await _requests(session, order.id) if row is not None else []
    if row is None:
        return None
    if row.payee_id != order.payee.id:
        raise Refusal(SplitCode.SPLIT_ID_TAKEN, "This id is in use; make a new one.")
    wallets = await books.directory.by_ids({each.payer_id for each in rows})
    for field, was, now in (
        ("asset", row.asset, order.total.asset.code),
        ("total", row.total, order.total.minor),
        ("expires_in_seconds", row.seconds, order.seconds),
        (
            "shares",
            [(each.payer_id, each.amount) for each in rows],
            [
                (_named(parse_handle(each.payer_handle), wallets.values()), each.amount.minor)
                for each in order.shares
            ],
        ),
    ):
        if was != now:
            raise Refusal(
                SplitCode.SPLIT_ID_USED_DIFFERENTLY,
                f"A split with this id was made with another {field}.",
                field=field,
            )
    return Asked(await split_by_id(books, wallet=order.payee, split_id=order.id), replayed=True)


def _named(handle: str, payers: Iterable[Wallet]) -> UUID | None:
    # By every handle that a payer ever had: the same order again is the same split.
    return next((each.id for each in payers if each.had(handle)), None)
