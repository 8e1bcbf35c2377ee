"""Decisions on recalls: agreed or declined by the payee, withdrawn by the payer, voted on by officers.

A decision that ends a recall is one chain of linked transfers: the payer has one open
recall less, and room and money are posted (the money goes back to the payer) or voided
(the payee has it again). Each of them can be resolved once, so of any number of decisions
at the same moment, and the ledger's own timeout, one happens, wholly; the others are told
how it ended. If this process dies before the chain, nothing has happened; after it, the
same decision again finds it.

Declining ends nothing: it writes down that officers are to decide, while money stays held.
An officer's vote is a row; the second one that says the same ends the recall. Dies the
process between vote and chain, either officer's vote, sent again, or a third one ends it.

Money that comes back uses no room under the payee's limits, and costs no fee: it can never
be more than this payer has sent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from foundation.assets import asset_by_code
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import derive_id
from identity.devices import Device
from identity.officers import names_who_may
from identity.roles import RIGHTS, Action
from ledger.chart import TransferCode, limit_ledger
from ledger.contract import CreateTransferStatus, Transfer, TransferFlags
from wallets.errors import WalletCode
from wallets.payments import CLOSED
from wallets.recall_errors import RecallCode
from wallets.recall_models import RecallRow, RecallVoteRow
from wallets.recalls import (
    ANSWER_SECONDS,
    HELD,
    HOLD_SECONDS,
    PAGE_MAX,
    Hold,
    Recall,
    RecallBooks,
    Recalled,
    RecallState,
    decision_id,
    holds_of,
    load_recall,
    money_id,
    not_found,
    open_id,
    room_held_id,
    standing,
)
from wallets.wallets import Wallet

VOTES_NEEDED: Final = RIGHTS[Action.DECIDE_RECALL].persons
"""Officers who must say the same before money that is held goes anywhere."""

_GIVES_BACK: Final = frozenset({RecallState.AGREED, RecallState.RETURNED})


class Verdict(StrEnum):
    """What an officer says to a recall."""

    RETURN = "return"
    """The money goes back to who has paid."""
    KEEP = "keep"
    """It stays with who was paid."""


_ENDS_AS: Final = {Verdict.RETURN: RecallState.RETURNED, Verdict.KEEP: RecallState.KEPT}


@dataclass(frozen=True, slots=True)
class Disputed:
    """A recall as officers see it."""

    recall: Recall
    votes: dict[str, Verdict]
    """By officer's name: what those who are in office have said."""


@dataclass(frozen=True, slots=True)
class DisputedPage:
    """Recalls that await officers, oldest first; the id after which the next page begins, None at the end."""

    disputed: Sequence[Disputed]
    next_after: UUID | None


async def agree_to_recall(books: RecallBooks, *, payee: Wallet, recall_id: UUID) -> Recalled:
    """Give back what is held, also after declining; again is the same.

    Refused as ``recall_not_found``, ``recall_not_open`` or ``wallet_closed``.
    """
    row = await _own(books, recall_id, payee_id=payee.id)
    return await _end(books, row, RecallState.AGREED)


async def withdraw_recall(books: RecallBooks, *, payer: Wallet, recall_id: UUID) -> Recalled:
    """Leave what is held to the payee; again is the same. Refused as ``agree_to_recall`` refuses."""
    row = await _own(books, recall_id, payer_id=payer.id)
    return await _end(books, row, RecallState.WITHDRAWN)


async def decline_recall(books: RecallBooks, *, payee: Wallet, recall_id: UUID) -> Recalled:
    """Say no: officers decide, and money stays held; again is the same no.

    Refused as ``recall_not_found`` or ``recall_not_open``.
    """
    row = await _own(books, recall_id, payee_id=payee.id)
    was_declined = row.declined_at is not None
    recall = await _standing(books, row)
    if recall.state not in HELD:
        raise _not_open(recall)
    if not was_declined:
        async with books.database.session() as session:
            await session.execute(
                update(RecallRow)
                .where(RecallRow.id == recall_id, RecallRow.declined_at.is_(None))
                .values(declined_at=books.clock.now())
            )
        # Ended by another device meanwhile, this no is in vain, and the answer says so.
        recall = await _standing(books, await _own(books, recall_id, payee_id=payee.id))
    return Recalled(recall, replayed=was_declined)


async def disputed_recalls(books: RecallBooks, *, after: UUID | None = None, limit: int = 20) -> DisputedPage:
    """A page of what awaits officers, oldest first; ``after`` is the ``next_after`` of the page before.

    A page may be shorter than ``limit``, which is 1 to ``PAGE_MAX``, though another one follows.
    """
    assert 1 <= limit <= PAGE_MAX
    now = books.clock.now()
    is_due = RecallRow.declined_at.is_not(None) | (
        RecallRow.created_at <= now - timedelta(seconds=ANSWER_SECONDS)
    )
    # A hold may be as much younger than its row as a payment may be when it is recalled.
    wanted = [is_due, RecallRow.created_at > now - timedelta(seconds=HOLD_SECONDS) - books.window]
    async with books.database.session() as session:
        if after is not None:
            last = await session.get(RecallRow, after)
            if last is None:
                raise not_found()
            wanted.append(tuple_(RecallRow.created_at, RecallRow.id) > tuple_(last.created_at, last.id))
        rows = (
            await session.scalars(
                select(RecallRow).where(*wanted).order_by(RecallRow.created_at, RecallRow.id).limit(limit + 1)
            )
        ).all()
    page = rows[:limit]
    awaited = [each for each in await standing(books, page) if each.state is RecallState.DISPUTED]
    votes = await _votes(books, [each.id for each in awaited])
    return DisputedPage(
        [Disputed(each, votes.get(each.id, {})) for each in awaited],
        page[-1].id if len(rows) > limit else None,
    )


async def vote_on_recall(
    books: RecallBooks, *, device: Device, persons: Collection[UUID], recall_id: UUID, says: Verdict
) -> Disputed:
    """Take in an officer's vote; the second that says the same ends the recall. Safe to repeat.

    ``device`` is the officer's, ``persons`` all that the officer is: neither party may be
    among them. Refused as ``recall_not_found``, ``recall_of_own``, ``recall_vote_stands``,
    ``recall_not_disputed``, ``recall_not_open`` or ``wallet_closed``.
    """
    row = await load_recall(books.database, recall_id)
    if row is None:
        raise not_found()
    recall = await _standing(books, row)
    if {recall.payer.person_id, recall.payee.person_id} & set(persons):
        raise Refusal(RecallCode.RECALL_OF_OWN, "You have paid this or were paid it; ask two other officers.")
    async with books.database.session() as session:
        before = await session.get(RecallVoteRow, (recall_id, device.person_id))
    if before is not None and before.says != says.value:
        raise Refusal(RecallCode.RECALL_VOTE_STANDS, f"You have said {before.says}, and that stands.")
    if before is None:
        if recall.state is RecallState.OPEN:
            raise Refusal(RecallCode.RECALL_NOT_DISPUTED, "The payee has still time to answer.")
        if recall.state is not RecallState.DISPUTED:
            raise _not_open(recall)
        await _write_vote(books, device, recall_id, says)
    # Dies here: the vote is kept; whoever votes next, or the same again, goes on.
    votes = (await _votes(books, [recall_id])).get(recall_id, {})
    agreeing = sum(vote is says for vote in votes.values())
    if recall.state in HELD and agreeing >= VOTES_NEEDED:
        recall = (await _end(books, row, _ENDS_AS[says])).recall
    return Disputed(recall, votes)


async def _write_vote(books: RecallBooks, device: Device, recall_id: UUID, says: Verdict) -> None:
    async with books.database.session() as session:
        # An officer with two devices at the same moment: the first word stands.
        stands = await session.scalar(
            insert(RecallVoteRow)
            .values(
                recall_id=recall_id,
                person_id=device.person_id,
                device_id=device.id,
                says=says.value,
                voted_at=books.clock.now(),
            )
            .on_conflict_do_update(
                index_elements=[RecallVoteRow.recall_id, RecallVoteRow.person_id],
                set_={"says": func.coalesce(RecallVoteRow.says, says.value)},
            )
            .returning(RecallVoteRow.says)
        )
    if stands != says.value:
        raise Refusal(RecallCode.RECALL_VOTE_STANDS, f"You have said {stands}, and that stands.")


async def _votes(books: RecallBooks, recall_ids: Sequence[UUID]) -> dict[UUID, dict[str, Verdict]]:
    """By recall: what officers have said who are in office and may decide it."""
    async with books.database.session() as session:
        rows = (
            await session.scalars(
                select(RecallVoteRow)
                .where(RecallVoteRow.recall_id.in_(recall_ids))
                .order_by(RecallVoteRow.voted_at, RecallVoteRow.person_id)
            )
        ).all()
        names = await names_who_may(session, {row.person_id for row in rows}, Action.DECIDE_RECALL)
    votes: dict[UUID, dict[str, Verdict]] = {}
    for row in rows:
        if row.person_id in names:
            votes.setdefault(row.recall_id, {})[names[row.person_id]] = Verdict(row.says)
    return votes


async def _own(
    books: RecallBooks, recall_id: UUID, *, payer_id: UUID | None = None, payee_id: UUID | None = None
) -> RecallRow:
    row = await load_recall(books.database, recall_id)
    # One answer for a recall that is not there, is somebody else's, or is the other side's to decide.
    if row is None or (payer_id or row.payer_id, payee_id or row.payee_id) != (row.payer_id, row.payee_id):
        raise not_found()
    return row


async def _standing(books: RecallBooks, row: RecallRow) -> Recall:
    found = await standing(books, [row])
    if not found:
        raise not_found()
    return found[0]


async def _end(books: RecallBooks, row: RecallRow, decision: RecallState) -> Recalled:
    hold = (await holds_of(books.ledger, [row])).get(row.id)
    if hold is None:
        raise not_found()
    results = await books.ledger.create_transfers(_chain(row, hold, decision))
    recall = await _standing(books, row)
    if all(result.status is CreateTransferStatus.CREATED for result in results):
        return Recalled(recall, replayed=False)
    if recall.state is decision:
        return Recalled(recall, replayed=True)
    if recall.state not in HELD:
        raise _not_open(recall)
    failed = {result.status for result in results}
    if failed & (CLOSED | {CreateTransferStatus.ID_ALREADY_FAILED}):
        raise Refusal(WalletCode.WALLET_CLOSED, "The account of payer or payee is closed.")
    raise InvariantViolation(f"recall {row.id}: the ledger answers {sorted(each.name for each in failed)}")


def _chain(row: RecallRow, hold: Hold, decision: RecallState) -> list[Transfer]:
    asset = asset_by_code(row.asset)
    back = decision in _GIVES_BACK
    resolve = int(TransferFlags.POST_PENDING_TRANSFER if back else TransferFlags.VOID_PENDING_TRANSFER)
    amount = hold.made.amount if back else 0
    about = decision_id(row.id, decision)
    linked, beside = int(TransferFlags.LINKED), limit_ledger(asset)
    return [
        Transfer(
            id=_beside_id(about, "open"),
            pending_id=open_id(row.id, hold.attempt),
            ledger=beside,
            code=int(TransferCode.RECALL_ROOM),
            flags=linked | int(TransferFlags.VOID_PENDING_TRANSFER),
        ),
        Transfer(
            id=_beside_id(about, "room"),
            pending_id=room_held_id(row.id, hold.attempt),
            amount=amount,
            ledger=beside,
            code=int(TransferCode.RECALL_ROOM),
            flags=linked | resolve,
        ),
        Transfer(
            id=about,
            pending_id=money_id(row.id, hold.attempt),
            amount=amount,
            ledger=asset.ledger,
            code=int(TransferCode.PAYMENT_RECALL),
            flags=resolve,
        ),
    ]


def _beside_id(about: int, what: str) -> int:
    return derive_id("recall-decided-beside", UUID(int=about), what).int


def _not_open(recall: Recall) -> Refusal:
    return Refusal(
        RecallCode.RECALL_NOT_OPEN, f"The recall is {recall.state.value} already.", state=recall.state.value
    )
