"""Recalls: who has paid asks for it back, and what is left of it is held until that is decided.

A recall is one chain of linked transfers, made once for a payment (``recall_orders``):

    made     the payment is recalled, by this recall, with this attempt's number
    open     one of the few recalls that a payer may have open, pending
    room     the amount out of the payment's room for giving back, pending; refunds use the same
    money    the amount from payee to payer (PAYMENT_RECALL), pending

The three pending ones have one timeout, and are posted or voided by one chain
(``recall_decisions``), so they always tell the same. Its states:

    open ──▶ disputed     the payee said no, or nothing for ``ANSWER_SECONDS``: officers decide
    both ──▶ agreed       the payee gives it back
    both ──▶ withdrawn    the payer does not want it back any more
    both ──▶ expired      the ledger's timeout: nobody decided, the payee has it again
    disputed ──▶ returned, kept    two officers said so

The row says who asked and who said no. Everything else is read from the ledger each time:
whether money is held, how much, and by which decision it ended. A row whose recall the
ledger does not have is an attempt that came to nothing; the same request completes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import select, tuple_

from foundation.assets import asset_by_code
from foundation.clock import SECOND_NS, Clock, datetime_from_ns
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import derive_id
from foundation.money import Money
from ledger.contract import Transfer, TransferPendingStatus
from ledger.interface import Ledger
from ledger.queries.questions import PendingState
from wallets.recall_errors import RecallCode
from wallets.recall_models import RecallRow
from wallets.wallets import Wallet, WalletDirectory

ANSWER_SECONDS: Final = 3 * 86_400
"""How long the payee has to answer before officers may decide."""

HOLD_SECONDS: Final = 14 * 86_400
"""How long money is held at most."""

PAGE_MAX: Final = 50
"""Most recalls on a page."""


class RecallState(StrEnum):
    """What has become of a recall."""

    OPEN = "open"
    """Held; the payee is asked."""
    DISPUTED = "disputed"
    """Held; the payee said no or nothing, and officers decide."""
    AGREED = "agreed"
    """The payee gave it back."""
    RETURNED = "returned"
    """Officers gave it back to the payer."""
    KEPT = "kept"
    """Officers left it with the payee."""
    WITHDRAWN = "withdrawn"
    """The payer took the recall back."""
    EXPIRED = "expired"
    """Nobody decided in time; the payee has it again."""


HELD: Final = frozenset({RecallState.OPEN, RecallState.DISPUTED})
"""States in which money is held; the others are final."""

DECISIONS: Final = (RecallState.AGREED, RecallState.RETURNED, RecallState.KEPT, RecallState.WITHDRAWN)
"""States that somebody's decision makes; the transfer that made it tells which."""


class RecallRole(StrEnum):
    """On which side of a recall a wallet is."""

    PAYER = "payer"
    """It asks for its payment back."""
    PAYEE = "payee"
    """It was paid, and is asked."""


@dataclass(frozen=True, slots=True)
class RecallBooks:
    """What recalls are kept and decided with."""

    database: Database
    ledger: Ledger
    clock: Clock
    directory: WalletDirectory
    window: timedelta
    """How long after a payment it may be recalled."""


@dataclass(frozen=True, slots=True)
class Recall:
    """A recall as it stands now."""

    id: UUID
    payment_id: UUID
    payer: Wallet
    """Who has paid, and asks."""
    payee: Wallet
    amount: Money
    """What was held: as much of the payment as was neither given back nor spent."""
    state: RecallState
    created_at: datetime
    answer_until: datetime
    """From then on officers may decide, whatever the payee says."""
    expires_at: datetime
    """From then on nothing is held."""
    declined_at: datetime | None
    closed_at: datetime | None
    """When it was decided, or its time was over."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """The answer to an order or a decision: the recall, and whether an earlier request did it."""

    recall: Recall
    replayed: bool


@dataclass(frozen=True, slots=True)
class RecallPage:
    """Recalls, and the id after which the next page begins, None at the end."""

    recalls: Sequence[Recall]
    next_before: UUID | None


@dataclass(frozen=True, slots=True)
class Hold:
    """What the ledger has of a recall."""

    made: Transfer
    money: PendingState

    @property
    def attempt(self) -> int:
        """Which attempt it was that succeeded; its transfers' ids follow from it."""
        return self.made.user_data_32


async def recall_by_id(books: RecallBooks, *, wallet: Wallet, recall_id: UUID) -> Recall:
    """A recall in which ``wallet`` has paid or was paid; otherwise ``recall_not_found``."""
    row = await load_recall(books.database, recall_id)
    if row is None or wallet.id not in {row.payer_id, row.payee_id}:
        raise not_found()
    found = await standing(books, [row])
    if not found:
        raise not_found()
    return found[0]


async def list_recalls(
    books: RecallBooks,
    *,
    wallet: Wallet,
    role: RecallRole,
    state: RecallState | None = None,
    before: UUID | None = None,
    limit: int = 20,
) -> RecallPage:
    """A page of a wallet's recalls, newest first, in one state or in all.

    ``before`` is the ``next_before`` of the page before; refused as ``recall_not_found`` when
    it is no recall of this wallet. A page may be shorter than ``limit``, which is 1 to
    ``PAGE_MAX``, though another one follows: the states are the ledger's.
    """
    assert 1 <= limit <= PAGE_MAX
    party = RecallRow.payer_id if role is RecallRole.PAYER else RecallRow.payee_id
    wanted = [party == wallet.id]
    async with books.database.session() as session:
        if before is not None:
            last = await session.get(RecallRow, before)
            if last is None or wallet.id not in {last.payer_id, last.payee_id}:
                raise not_found()
            wanted.append(tuple_(RecallRow.created_at, RecallRow.id) < tuple_(last.created_at, last.id))
        rows = (
            await session.scalars(
                select(RecallRow)
                .where(*wanted)
                .order_by(RecallRow.created_at.desc(), RecallRow.id.desc())
                # One more than the page tells whether another page follows.
                .limit(limit + 1)
            )
        ).all()
    page = rows[:limit]
    found = await standing(books, page)
    return RecallPage(
        [each for each in found if state is None or each.state is state],
        page[-1].id if len(rows) > limit else None,
    )


async def load_recall(database: Database, recall_id: UUID) -> RecallRow | None:
    """A recall's row as it is now."""
    async with database.session() as session:
        return await session.get(RecallRow, recall_id)


async def standing(books: RecallBooks, rows: Sequence[RecallRow]) -> list[Recall]:
    """The recalls of rows as they stand now; rows whose recall was never made are left out."""
    holds = await holds_of(books.ledger, rows)
    made = [row for row in rows if row.id in holds]
    wallets = await books.directory.by_ids({row.payer_id for row in made} | {row.payee_id for row in made})
    now_ns = books.clock.now_ns()
    return [_view(row, holds[row.id], wallets, now_ns) for row in made]


async def holds_of(ledger: Ledger, rows: Sequence[RecallRow]) -> dict[UUID, Hold]:
    """By recall: what the ledger has of these rows; those that it has not made are left out."""
    if not rows:
        return {}
    found = await ledger.lookup_transfers([made_id(row.payment_id) for row in rows])
    made = {UUID(int=each.user_data_128): each for each in found}
    ours = [row.id for row in rows if row.id in made]
    if not ours:
        return {}
    ids = {money_id(each, made[each].user_data_32): each for each in ours}
    states = await ledger.get_pending_states(sorted(ids))
    return {ids[state.id]: Hold(made[ids[state.id]], state) for state in states}


def made_id(payment_id: UUID) -> int:
    """Id of the transfer by which a payment is recalled: the payment's, so it is once."""
    return derive_id("recall-of", payment_id).int


def open_id(recall_id: UUID, attempt: int) -> int:
    """Id of the pending transfer that counts a recall among the payer's open ones."""
    return derive_id("recall-open", recall_id, attempt).int


def room_held_id(recall_id: UUID, attempt: int) -> int:
    """Id of the pending transfer that holds room of the payment."""
    return derive_id("recall-room", recall_id, attempt).int


def money_id(recall_id: UUID, attempt: int) -> int:
    """Id of the pending transfer that holds the money."""
    return derive_id("recall-money", recall_id, attempt).int


def decision_id(recall_id: UUID, decision: RecallState) -> int:
    """Id of the transfer that posts or voids the money by a decision."""
    return derive_id("recall-decided", recall_id, decision.value).int


def not_found() -> Refusal:
    """The answer to whoever has nothing to do with a recall, or asks for one that is not there."""
    return Refusal(RecallCode.RECALL_NOT_FOUND, "This wallet has no recall with this id to see or to decide.")


def _view(row: RecallRow, hold: Hold, wallets: Mapping[UUID, Wallet], now_ns: int) -> Recall:
    money = hold.money
    answer_ns = money.timestamp + ANSWER_SECONDS * SECOND_NS
    state = _state(row, money, answer_over=now_ns >= answer_ns, hold_over=now_ns >= money.expires_at)
    closed_ns = money.expires_at if state is RecallState.EXPIRED else money.resolved_at
    return Recall(
        id=row.id,
        payment_id=row.payment_id,
        payer=wallets[row.payer_id],
        payee=wallets[row.payee_id],
        amount=Money(hold.made.amount, asset_by_code(row.asset)),
        state=state,
        created_at=datetime_from_ns(money.timestamp),
        answer_until=datetime_from_ns(answer_ns),
        expires_at=datetime_from_ns(money.expires_at),
        declined_at=row.declined_at,
        closed_at=datetime_from_ns(closed_ns) if closed_ns else None,
    )


def _state(row: RecallRow, money: PendingState, *, answer_over: bool, hold_over: bool) -> RecallState:
    if money.resolved_by:
        return next(each for each in DECISIONS if decision_id(row.id, each) == money.resolved_by)
    # The ledger answers as expired from that moment on, though it may write that down a little later.
    if money.status is TransferPendingStatus.EXPIRED or hold_over:
        return RecallState.EXPIRED
    return RecallState.DISPUTED if row.declined_at is not None or answer_over else RecallState.OPEN
