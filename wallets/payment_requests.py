"""Requests to pay: somebody asks somebody for an amount, and sees what becomes of it.

A request's row is an intent and keeps decisions; whether it was paid is not written there
but read from the ledger, by the payment that the row names. Its states:

    open ──▶ accepted     the payment that the row names is in the ledger
    open ──▶ declined     by the payer
    open ──▶ cancelled    by the payee
    open ──▶ expired      its time was over before one of the others

**Closing.** The last three are written down, by ``close``, and only after the payment that
the row names can never happen any more. Were it otherwise, an acceptance that is on its
way could still pay what the payee has been told was declined. So closing first has the
ledger refuse the payment's id for ever, by an event that cannot succeed; payment and
refusal meet in the one place where there is an order, and one of them comes first. Then
the row is written if it still names that payment; if it names another one by now, all of
this is done again with that. If the process dies in between, an id is used up and
nothing else has happened.

So a state other than open is final as soon as anybody has seen it, and an expiry is
written by whoever sees it first. Somebody else's request is as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, select, tuple_, update

from foundation.assets import asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal, Retryable
from foundation.money import Money
from ledger.chart import TransferCode
from ledger.contract import Transfer
from ledger.interface import Ledger
from wallets.given_up import give_up
from wallets.limits import Limits
from wallets.models import PaymentRequestRow
from wallets.request_errors import AskingCode
from wallets.wallets import Wallet, WalletDirectory, wallet_account

PAGE_MAX: Final = 50
"""Most requests on a page."""

ROUNDS_MAX: Final = 200
"""How often a decision begins anew because others decided meanwhile; each time one of them got further."""


class RequestState(StrEnum):
    """What has become of a request to pay."""

    OPEN = "open"
    """It can be accepted, declined or cancelled."""
    ACCEPTED = "accepted"
    """It was paid."""
    DECLINED = "declined"
    """The payer said no."""
    CANCELLED = "cancelled"
    """The payee took it back."""
    EXPIRED = "expired"
    """Nobody decided in time."""


class RequestRole(StrEnum):
    """On which side of a request a wallet is."""

    PAYER = "payer"
    """It is asked to pay."""
    PAYEE = "payee"
    """It asks."""


@dataclass(frozen=True, slots=True)
class Books:
    """What requests are kept and decided with."""

    database: Database
    ledger: Ledger
    clock: Clock
    directory: WalletDirectory
    limits: Limits


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """A request to pay as it stands now."""

    id: UUID
    payee: Wallet
    payer: Wallet
    amount: Money
    reference: UUID | None
    created_at: datetime
    expires_at: datetime
    state: RequestState
    payment_id: UUID | None
    """The payment, once it has happened; its reference is the request's id."""
    closed_at: datetime | None
    """When it was declined, cancelled or seen to have expired."""


@dataclass(frozen=True, slots=True)
class Requested:
    """The answer to an order: the request, and whether an earlier one made or decided it."""

    request: PaymentRequest
    replayed: bool


async def payment_request_by_id(books: Books, *, wallet: Wallet, request_id: UUID) -> PaymentRequest:
    """A request in which ``wallet`` pays or is paid; otherwise ``payment_request_not_found``."""
    row = await load_request(books.database, request_id)
    if row is None or wallet.id not in {row.payee_id, row.payer_id}:
        raise not_found()
    return (await settled(books, [row]))[0]


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Requests, newest first, and the id after which the next page begins, None at the end."""

    requests: Sequence[PaymentRequest]
    next_before: UUID | None


async def list_payment_requests(
    books: Books,
    *,
    wallet: Wallet,
    role: RequestRole,
    state: RequestState | None = None,
    before: UUID | None = None,
    limit: int = 20,
) -> RequestPage:
    """A page of a wallet's requests, in one state or in all.

    ``before`` is the ``next_before`` of the page before; refused as
    ``payment_request_not_found`` when it is no request of this wallet. A page may be
    shorter than ``limit``, which is 1 to ``PAGE_MAX``, though another one follows: whether
    a request was paid is known only after its page was read.
    """
    assert 1 <= limit <= PAGE_MAX
    party = PaymentRequestRow.payer_id if role is RequestRole.PAYER else PaymentRequestRow.payee_id
    wanted = [party == wallet.id, *_may_be(state, books.clock.now())]
    async with books.database.session() as session:
        if before is not None:
            last = await session.get(PaymentRequestRow, before)
            if last is None or wallet.id not in {last.payee_id, last.payer_id}:
                raise not_found()
            place = tuple_(PaymentRequestRow.created_at, PaymentRequestRow.id)
            wanted.append(place < tuple_(last.created_at, last.id))
        rows = (
            await session.scalars(
                select(PaymentRequestRow)
                .where(*wanted)
                .order_by(PaymentRequestRow.created_at.desc(), PaymentRequestRow.id.desc())
                # One more than the page tells whether another page follows.
                .limit(limit + 1)
            )
        ).all()
    page = rows[:limit]
    found = await settled(books, page)
    return RequestPage(
        [request for request in found if state is None or request.state is state],
        page[-1].id if len(rows) > limit else None,
    )


async def load_request(database: Database, request_id: UUID) -> PaymentRequestRow | None:
    """A request's row as it is now."""
    async with database.session() as session:
        return await session.get(PaymentRequestRow, request_id)


async def settled(books: Books, rows: Sequence[PaymentRequestRow]) -> list[PaymentRequest]:
    """The requests of rows as they stand now; what has expired is closed as that first."""
    now = books.clock.now()
    current = list(rows)
    paid = await payments_of(books.ledger, current)
    for place, row in enumerate(current):
        if row.closed_as is None and row.id not in paid and row.expires_at <= now:
            current[place] = await close(books, row, RequestState.EXPIRED)
    # What an acceptance that was on its way has paid meanwhile was not closed.
    if any(row.closed_as is None and row.id not in paid and row.expires_at <= now for row in current):
        paid = await payments_of(books.ledger, current)
    return await _views(books, current, paid)


async def close(books: Books, row: PaymentRequestRow, state: RequestState) -> PaymentRequestRow:
    """Close a request as declined, cancelled or expired, unless it is closed or paid already.

    The row as it is now: with ``closed_as``, whoever wrote it, or without because it was paid.
    """
    for _ in range(ROUNDS_MAX):
        if row.closed_as is not None:
            return row
        if row.payment_id is not None and not await give_up_payment(books.ledger, row):
            return row
        # Dies here: the payment's id is used up, the request is open, a new attempt has a new id.
        changed = await change(books.database, row, closed_as=state.value, closed_at=books.clock.now())
        if changed is not None:
            return changed
        row = await _reloaded(books.database, row)
    raise contested()


async def change(
    database: Database, row: PaymentRequestRow, *conditions: ColumnElement[bool], **values: object
) -> PaymentRequestRow | None:
    """Write to an open request if it still names the payment that ``row`` names; the row after it.

    One statement, so that of several decisions at once each sees what the one before it wrote.
    """
    async with database.session() as session:
        return (
            await session.scalars(
                update(PaymentRequestRow)
                .where(
                    PaymentRequestRow.id == row.id,
                    PaymentRequestRow.closed_as.is_(None),
                    PaymentRequestRow.payment_id.is_not_distinct_from(row.payment_id),
                    *conditions,
                )
                .values(**values)
                .returning(PaymentRequestRow)
            )
        ).one_or_none()


async def give_up_payment(ledger: Ledger, row: PaymentRequestRow) -> bool:
    """Have the ledger refuse the payment that a row names for ever; False if it has happened."""
    assert row.payment_id is not None
    given_up = await give_up(
        ledger,
        row.payment_id,
        payer_id=row.payer_id,
        payee_id=row.payee_id,
        asset=asset_by_code(row.asset),
    )
    # Under an id that is in use is this request's payment, or something that never was and never will be.
    return given_up or row.id not in await payments_of(ledger, [row])


async def payments_of(ledger: Ledger, rows: Sequence[PaymentRequestRow]) -> dict[UUID, Transfer]:
    """By request: the payments in the ledger that answer these rows."""
    named = {row.payment_id.int: row for row in rows if row.payment_id is not None and row.closed_as is None}
    if not named:
        return {}
    found = await ledger.lookup_transfers(sorted(named))
    return {named[each.id].id: each for each in found if _answers(named[each.id], each)}


def not_found() -> Refusal:
    """The answer to whoever has nothing to do with a request, or asks for one that is not there."""
    return Refusal(
        AskingCode.PAYMENT_REQUEST_NOT_FOUND, "This wallet has no request with this id to see or to decide."
    )


def contested() -> Refusal:
    """The answer when others decided again and again while this was being decided."""
    return Refusal(
        AskingCode.PAYMENT_REQUEST_CONTESTED,
        "Others decide on this request at the same moment; look at it again.",
        retryable=Retryable.YES,
    )


def _may_be(state: RequestState | None, now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What the row of a request in a state looks like; whether it was paid only the ledger knows."""
    is_undecided = PaymentRequestRow.closed_as.is_(None)
    match state:
        case None:
            return ()
        case RequestState.OPEN:
            return (is_undecided, PaymentRequestRow.expires_at > now)
        case RequestState.ACCEPTED:
            return (is_undecided, PaymentRequestRow.payment_id.is_not(None))
        case RequestState.EXPIRED:
            is_over = is_undecided & (PaymentRequestRow.expires_at <= now)
            return (is_over | (PaymentRequestRow.closed_as == state.value),)
        case _:
            return (PaymentRequestRow.closed_as == state.value,)


def _answers(row: PaymentRequestRow, transfer: Transfer) -> bool:
    # A payer may name any id, also of an old payment to the same payee: only one that was made
    # for this request, as its reference says, in full and by the payer, pays it.
    asset = asset_by_code(row.asset)
    return (
        transfer.code == TransferCode.PAYMENT
        and transfer.user_data_128 == row.id.int
        and transfer.debit_account_id == wallet_account(row.payer_id, asset)
        and transfer.credit_account_id == wallet_account(row.payee_id, asset)
        and transfer.amount == row.amount
    )


async def _reloaded(database: Database, row: PaymentRequestRow) -> PaymentRequestRow:
    found = await load_request(database, row.id)
    if found is None:
        raise InvariantViolation(f"request {row.id} is gone")
    return found


async def _views(
    books: Books, rows: Sequence[PaymentRequestRow], paid: dict[UUID, Transfer]
) -> list[PaymentRequest]:
    wallets = await books.directory.by_ids({row.payee_id for row in rows} | {row.payer_id for row in rows})
    return [
        PaymentRequest(
            id=row.id,
            payee=wallets[row.payee_id],
            payer=wallets[row.payer_id],
            amount=Money(row.amount, asset_by_code(row.asset)),
            reference=row.reference,
            created_at=row.created_at,
            expires_at=row.expires_at,
            state=_state_of(row, is_paid=row.id in paid),
            payment_id=row.payment_id if row.id in paid else None,
            closed_at=row.closed_at,
        )
        for row in rows
    ]


def _state_of(row: PaymentRequestRow, *, is_paid: bool) -> RequestState:
    if row.closed_as is not None:
        return RequestState(row.closed_as)
    return RequestState.ACCEPTED if is_paid else RequestState.OPEN
