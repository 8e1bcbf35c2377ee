"""Orders for recalls: a payer asks for a payment back, once, and something is held or nothing.

The payer's device makes the id, which is the idempotency for ever, as of a payment: the
same order again gives the recall as it stands.

The row is written and committed, then one chain of transfers is submitted
(``recalls`` says which). What is held is the least of what was not given back yet and what
the payee has, as they are looked up a moment before; if one of them has become less
meanwhile, the ledger refuses the whole chain, and another attempt looks again, under ids of
its own. Whoever is second with a payment, with the same recall or another, is told by the
ledger, since the chain's first transfer has an id that follows from the payment's.

If this process dies before the chain, there is a row that nobody sees and that the same
order goes on from; within the chain there is nothing or all of it; after it, the same order
finds it. An order that is refused holds nothing, and its id may be sent again.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from foundation.assets import Asset
from foundation.clock import SECOND_NS
from foundation.errors import InvariantViolation, Refusal, Retryable
from foundation.ids import derive_id
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, limit_ledger, open_accounts
from ledger.contract import Account, AccountFlags, CreateTransferStatus, Transfer, TransferFlags
from ledger.interface import Ledger
from wallets.errors import WalletCode
from wallets.limits import limit_pool
from wallets.payments import CLOSED, OVERFLOWS, Payment, check_id, payment_by_id
from wallets.recall_errors import RecallCode
from wallets.recall_models import RecallRow
from wallets.recalls import (
    HOLD_SECONDS,
    Recall,
    RecallBooks,
    Recalled,
    load_recall,
    made_id,
    money_id,
    open_id,
    room_held_id,
    standing,
)
from wallets.refunds import open_room, room_id
from wallets.wallets import Wallet, wallet_account

OPEN_MAX: Final = 3
"""Recalls that a payer may have open in one asset: money of others is not held by the dozen."""

ROUNDS_MAX: Final = 20
"""Looks at what there is to hold, each after others moved it."""

_DONE: Final = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})


@dataclass(frozen=True, slots=True)
class RecallOrder:
    """What a payer asks for."""

    id: UUID
    """Made by the payer's device, and kept there before it is sent."""
    payer: Wallet
    payment_id: UUID


async def recall_payment(books: RecallBooks, order: RecallOrder) -> Recalled:
    """Ask for a payment back once, and have what is left of it held.

    Refused as ``payment_id_malformed``, ``payment_not_found`` or by a ``RecallCode``;
    ``LedgerUnavailable`` with ``outcome_unknown`` when only asking again can tell.
    """
    check_id(order.id)
    payment = await payment_by_id(
        books.ledger, books.directory, wallet=order.payer, payment_id=order.payment_id
    )
    if payment.payer.id != order.payer.id:
        raise Refusal(RecallCode.RECALL_NOT_BY_PAYER, "You were paid this; refund it if you wish.")
    row = await load_recall(books.database, order.id)
    if row is not None and (row.payer_id, row.payment_id) != (order.payer.id, order.payment_id):
        raise Refusal(RecallCode.RECALL_ID_TAKEN, "This id is in use; make a new one.")
    known = await _known(books, order)
    if known is not None:
        return Recalled(known, replayed=True)
    if books.clock.now_ns() - payment.created_at_ns > int(books.window.total_seconds()) * SECOND_NS:
        raise Refusal(
            RecallCode.RECALL_TOO_LATE,
            f"A payment may be recalled for {int(books.window.total_seconds()) // 3600} hours.",
        )
    await open_room(books.ledger, payment)
    await _open_slots(books.ledger, payment.payer, payment.amount.asset)
    try:
        # Looked at first, so that what is going to be refused leaves no row.
        await _to_hold(books.ledger, payment)
        await _write_row(books, order, payment)
        return await _hold(books, order, payment)
    except Refusal:
        # There may be nothing to hold because the same order, sent twice, has just held it.
        known = await _known(books, order)
        if known is None:
            raise
        return Recalled(known, replayed=True)


async def _known(books: RecallBooks, order: RecallOrder) -> Recall | None:
    """The order's recall, if it was made; ``payment_already_recalled`` if another one was."""
    found = await books.ledger.lookup_transfers([made_id(order.payment_id)])
    if not found:
        return None
    recall_id = UUID(int=found[0].user_data_128)
    if recall_id != order.id:
        raise Refusal(
            RecallCode.PAYMENT_ALREADY_RECALLED,
            "This payment was recalled before.",
            recall_id=str(recall_id),
        )
    row = await load_recall(books.database, order.id)
    views = await standing(books, [row]) if row is not None else []
    if not views:
        raise InvariantViolation(f"recall {order.id} is in the ledger and has no row")
    return views[0]


async def _write_row(books: RecallBooks, order: RecallOrder, payment: Payment) -> None:
    async with books.database.session() as session:
        await session.execute(
            insert(RecallRow)
            .values(
                id=order.id,
                payment_id=payment.id,
                payer_id=payment.payer.id,
                payee_id=payment.payee.id,
                asset=payment.amount.asset.code,
                created_at=books.clock.now(),
            )
            .on_conflict_do_nothing(index_elements=[RecallRow.id])
        )
    row = await load_recall(books.database, order.id)
    if row is None or (row.payer_id, row.payment_id) != (order.payer.id, order.payment_id):
        raise Refusal(RecallCode.RECALL_ID_TAKEN, "This id is in use; make a new one.")


async def _hold(books: RecallBooks, order: RecallOrder, payment: Payment) -> Recalled:
    for _ in range(ROUNDS_MAX):
        amount = await _to_hold(books.ledger, payment)
        # An attempt that fails uses its ids up; a number that nobody else draws gives the next one others.
        attempt = secrets.randbelow(2**32 - 1) + 1
        # Dies here: a row and nothing else; the same order begins again.
        results = await books.ledger.create_transfers(_chain(order.id, payment, amount, attempt))
        # Dies here: all is held; the same order finds it.
        known = await _known(books, order)
        if known is not None:
            made_now = all(result.status is CreateTransferStatus.CREATED for result in results)
            return Recalled(known, replayed=not made_now)
        failed = next(
            result.status
            for result in results
            if result.status is not CreateTransferStatus.LINKED_EVENT_FAILED
        )
        if failed in CLOSED:
            raise Refusal(WalletCode.WALLET_CLOSED, "The account of payer or payee is closed.")
        if failed in OVERFLOWS:
            raise Refusal(WalletCode.PAYEE_BALANCE_FULL, "The payer cannot hold that much more.")
        if failed is not CreateTransferStatus.EXCEEDS_CREDITS:
            raise InvariantViolation(f"recall {order.id}: the ledger answers {failed.name}")
    raise Refusal(
        RecallCode.RECALL_CONTESTED,
        "Money moves while it is to be held; ask again.",
        retryable=Retryable.YES,
    )


async def _to_hold(ledger: Ledger, payment: Payment) -> Money:
    """What there is to hold now; ``too_many_open_recalls`` or ``nothing_to_recall`` otherwise."""
    asset = payment.amount.asset
    ids = [
        _slots_id(payment.payer, asset),
        room_id(payment.id),
        wallet_account(payment.payee.id, asset),
    ]
    slots, room, payee = (
        each.credits_posted - each.debits_posted - each.debits_pending
        for each in await ledger.lookup_accounts(ids)
    )
    if slots <= 0:
        raise Refusal(
            RecallCode.TOO_MANY_OPEN_RECALLS,
            f"A wallet has {OPEN_MAX} open recalls in {asset.code} at most; wait, or withdraw one.",
            retryable=Retryable.YES,
        )
    amount = Money(min(room, payee), asset)
    if amount.minor <= 0:
        raise Refusal(
            RecallCode.NOTHING_TO_RECALL,
            "Nothing of it is left to hold: it was given back, or spent.",
        )
    return amount


def _slots_id(payer: Wallet, asset: Asset) -> int:
    return derive_id("recall-slots", payer.id, asset.code).int


async def _open_slots(ledger: Ledger, payer: Wallet, asset: Asset) -> None:
    """Open what counts a payer's open recalls, and fill it once; safe to repeat and to die in."""
    pool, code = limit_pool(asset), int(AccountCode.LIMIT)
    slots = Account(
        id=_slots_id(payer, asset),
        ledger=limit_ledger(asset),
        code=code,
        flags=int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS),
        user_data_128=payer.id.int,
    )
    recalled = Account(
        id=_recalled_id(payer, asset), ledger=limit_ledger(asset), code=code, user_data_128=payer.id.int
    )
    await open_accounts(ledger, [pool, slots, recalled])
    (result,) = await ledger.create_transfers(
        [
            Transfer(
                id=derive_id("recall-slots-filled", payer.id, asset.code).int,
                debit_account_id=pool.id,
                credit_account_id=slots.id,
                amount=OPEN_MAX,
                ledger=limit_ledger(asset),
                code=int(TransferCode.LIMIT_SET),
            )
        ]
    )
    if result.status not in _DONE:
        raise InvariantViolation(f"open recalls of {payer.id}: {result.status.name}")


def _recalled_id(payer: Wallet, asset: Asset) -> int:
    return derive_id("recall-sum", payer.id, asset.code).int


def _chain(recall_id: UUID, payment: Payment, amount: Money, attempt: int) -> list[Transfer]:
    asset, pool = amount.asset, limit_pool(amount.asset).id
    linked, pending = int(TransferFlags.LINKED), int(TransferFlags.PENDING)
    beside, code = limit_ledger(asset), int(TransferCode.RECALL_ROOM)
    return [
        # First: it has no bound to break, so its id, which is the payment's, can never be used up
        # by an attempt that fails.
        Transfer(
            id=made_id(payment.id),
            debit_account_id=pool,
            credit_account_id=_recalled_id(payment.payer, asset),
            amount=amount.minor,
            user_data_128=recall_id.int,
            user_data_32=attempt,
            ledger=beside,
            code=int(TransferCode.RECALL_MADE),
            flags=linked,
        ),
        Transfer(
            id=open_id(recall_id, attempt),
            debit_account_id=_slots_id(payment.payer, asset),
            credit_account_id=pool,
            amount=1,
            user_data_128=recall_id.int,
            timeout=HOLD_SECONDS,
            ledger=beside,
            code=code,
            flags=linked | pending,
        ),
        Transfer(
            id=room_held_id(recall_id, attempt),
            debit_account_id=room_id(payment.id),
            credit_account_id=pool,
            amount=amount.minor,
            user_data_128=recall_id.int,
            timeout=HOLD_SECONDS,
            ledger=beside,
            code=code,
            flags=linked | pending,
        ),
        Transfer(
            id=money_id(recall_id, attempt),
            debit_account_id=wallet_account(payment.payee.id, asset),
            credit_account_id=wallet_account(payment.payer.id, asset),
            amount=amount.minor,
            user_data_128=payment.id.int,
            timeout=HOLD_SECONDS,
            ledger=asset.ledger,
            code=int(TransferCode.PAYMENT_RECALL),
            flags=pending,
        ),
    ]
