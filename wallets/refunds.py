"""Refunds: who was paid gives back all or parts of a payment, linked to it for ever.

A refund is two linked transfers and no row: its amount of the payment's refundable room, and
payee to payer (PAYMENT_REFUND, whose id is the one that the payee's device made, and whose
user_data_128 is the payment). That room is an account of the ledger beside the money, as
limits are: filled once with what was paid, under an id that follows from the payment's, and
never below zero. So the ledger itself holds that all refunds together are at most the
payment, however many are sent at the same moment and wherever this process dies: an account
that is open or filled already is as good as one that is new, and both transfers of a refund
are there or none.

A recall (``wallets.recalls``) takes from the same room, so both together are at most the payment.

A refund has no fee, gives no fee back, and uses no room under the payee's limits: it can
never be more than the payer has sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from foundation.assets import asset_by_ledger
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import derive_id
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, limit_ledger, open_accounts
from ledger.contract import (
    Account,
    AccountFilter,
    AccountFilterFlags,
    AccountFlags,
    CreateTransferResult,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)
from ledger.interface import Ledger
from wallets.errors import WalletCode
from wallets.limits import limit_pool
from wallets.payments import CLOSED, MISSING, OVERFLOWS, Payment, check_id, payment_by_id
from wallets.refund_errors import RefundCode
from wallets.wallets import Wallet, WalletDirectory, wallet_account

LISTED_MAX: Final = 100
"""Most refunds of a payment that are listed: the newest."""

_DONE: Final = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """What a payee asks for."""

    id: UUID
    """Made by the payee's device, and kept there before it is sent."""
    payee: Wallet
    """Of the payment: who gives back."""
    payment_id: UUID
    amount: str
    """A decimal number of the payment's asset."""


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund that has happened; it never changes."""

    id: UUID
    payment: Payment
    amount: Money
    created_at_ns: int
    """The ledger's time, nanoseconds since 1970; unique."""


@dataclass(frozen=True, slots=True)
class Refunded:
    """The answer to an order: the refund, and whether an earlier request made it."""

    refund: Refund
    replayed: bool


@dataclass(frozen=True, slots=True)
class RefundsOfPayment:
    """What was given back of a payment."""

    payment: Payment
    refunded: Money
    """In all, by refunds and by a recall."""
    refunds: Sequence[Refund]
    """The newest first, ``LISTED_MAX`` at most."""


async def refund_payment(ledger: Ledger, directory: WalletDirectory, order: RefundOrder) -> Refunded:
    """Carry a refund out once.

    Refused as ``payment_id_malformed``, ``payment_not_found``, ``refund_not_by_payee``, one of an
    amount's codes, ``refund_exceeds_payment``, or as a payment is; ``LedgerUnavailable`` with
    ``outcome_unknown`` when only asking again can tell.
    """
    check_id(order.id)
    payment = await payment_by_id(ledger, directory, wallet=order.payee, payment_id=order.payment_id)
    if payment.payee.id != order.payee.id:
        raise Refusal(RefundCode.REFUND_NOT_BY_PAYEE, "You have paid this; only who was paid gives back.")
    amount = Money.parse(order.amount, payment.amount.asset)
    if amount.minor <= 0:
        raise Refusal(WalletCode.AMOUNT_NOT_POSITIVE, "The amount must be more than zero.")
    await open_room(ledger, payment)
    results = await ledger.create_transfers(_transfers(order.id, payment, amount))
    if all(result.status is CreateTransferStatus.CREATED for result in results):
        return Refunded(Refund(order.id, payment, amount, results[1].timestamp), replayed=False)
    return await _explain(ledger, directory, order.id, payment, amount, results)


async def refund_by_id(
    ledger: Ledger, directory: WalletDirectory, *, wallet: Wallet, refund_id: UUID
) -> Refund:
    """A refund that ``wallet`` gave or got; otherwise ``refund_not_found``."""
    found = await _load(ledger, directory, wallet, refund_id)
    if found is None:
        raise Refusal(RefundCode.REFUND_NOT_FOUND, "No refund of this wallet has this id.")
    return found


async def refunds_of_payment(
    ledger: Ledger, directory: WalletDirectory, *, wallet: Wallet, payment_id: UUID
) -> RefundsOfPayment:
    """What was given back of a payment, for its payer and payee; otherwise ``payment_not_found``."""
    payment = await payment_by_id(ledger, directory, wallet=wallet, payment_id=payment_id)
    # The room's uses name their refunds: an account of its own makes finding them cheap.
    uses = await ledger.get_account_transfers(
        AccountFilter(
            account_id=room_id(payment_id),
            code=int(TransferCode.LIMIT_USED),
            limit=LISTED_MAX,
            flags=int(AccountFilterFlags.DEBITS | AccountFilterFlags.REVERSED),
        )
    )
    found = await ledger.lookup_transfers([use.user_data_128 for use in uses])
    asset = payment.amount.asset
    rooms = await ledger.lookup_accounts([room_id(payment_id)])
    return RefundsOfPayment(
        payment,
        Money(sum(room.debits_posted for room in rooms), asset),
        [Refund(UUID(int=each.id), payment, Money(each.amount, asset), each.timestamp) for each in found],
    )


def room_id(payment_id: UUID) -> int:
    """Id of the account that holds how much of a payment may still be given back."""
    return derive_id("refund-room", payment_id).int


async def open_room(ledger: Ledger, payment: Payment) -> None:
    """Open a payment's refundable room, and fill it once with what was paid."""
    asset, pool = payment.amount.asset, limit_pool(payment.amount.asset)
    room = Account(
        id=room_id(payment.id),
        ledger=limit_ledger(asset),
        code=int(AccountCode.LIMIT),
        flags=int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS),
        user_data_128=payment.id.int,
    )
    await open_accounts(ledger, [pool, room])
    (result,) = await ledger.create_transfers(
        [
            Transfer(
                id=derive_id("refund-room-filled", payment.id).int,
                debit_account_id=pool.id,
                credit_account_id=room.id,
                amount=payment.amount.minor,
                ledger=limit_ledger(asset),
                code=int(TransferCode.LIMIT_SET),
            )
        ]
    )
    if result.status not in _DONE:
        raise InvariantViolation(f"refundable room of {payment.id}: {result.status.name}")


def _transfers(refund_id: UUID, payment: Payment, amount: Money) -> list[Transfer]:
    asset = amount.asset
    return [
        # First, so that a refund of too much is told as that, whatever the payee has.
        Transfer(
            id=derive_id("refund-room-used", refund_id).int,
            debit_account_id=room_id(payment.id),
            credit_account_id=limit_pool(asset).id,
            amount=amount.minor,
            user_data_128=refund_id.int,
            ledger=limit_ledger(asset),
            code=int(TransferCode.LIMIT_USED),
            flags=int(TransferFlags.LINKED),
        ),
        Transfer(
            id=refund_id.int,
            debit_account_id=wallet_account(payment.payee.id, asset),
            credit_account_id=wallet_account(payment.payer.id, asset),
            amount=amount.minor,
            user_data_128=payment.id.int,
            ledger=asset.ledger,
            code=int(TransferCode.PAYMENT_REFUND),
        ),
    ]


async def _explain(
    ledger: Ledger,
    directory: WalletDirectory,
    refund_id: UUID,
    payment: Payment,
    amount: Money,
    results: Sequence[CreateTransferResult],
) -> Refunded:
    of_room, of_money = (result.status for result in results)
    if any(status.name.startswith("EXISTS") for status in (of_room, of_money)):
        return await _replayed(ledger, directory, refund_id, payment, amount)
    if of_room is CreateTransferStatus.EXCEEDS_CREDITS:
        (room,) = await ledger.lookup_accounts([room_id(payment.id)])
        # What a recall holds is spoken for, as what was given back is.
        left = Money(room.credits_posted - room.debits_posted - room.debits_pending, amount.asset)
        raise Refusal(
            RefundCode.REFUND_EXCEEDS_PAYMENT,
            f"Of {payment.amount} that were paid {left} are left to give back.",
            left=left.format(),
            asset=amount.asset.code,
        )
    failed = of_money if of_room is CreateTransferStatus.LINKED_EVENT_FAILED else of_room
    if failed is CreateTransferStatus.EXCEEDS_CREDITS:
        raise Refusal(
            WalletCode.INSUFFICIENT_FUNDS,
            f"The available balance does not cover {amount}.",
            amount=amount.format(),
            asset=amount.asset.code,
        )
    if failed is CreateTransferStatus.ID_ALREADY_FAILED:
        raise Refusal(
            WalletCode.PAYMENT_ALREADY_REFUSED,
            "This id was refused before and stays refused; a new attempt needs a new id.",
        )
    if failed in CLOSED:
        raise Refusal(
            WalletCode.WALLET_CLOSED, f"The account of payer or payee in {amount.asset.code} is closed."
        )
    if failed in OVERFLOWS:
        raise Refusal(WalletCode.PAYEE_BALANCE_FULL, "The payer cannot hold that much more.")
    assert failed not in MISSING, "both have held the payment"
    raise InvariantViolation(f"refund {refund_id}: the ledger answers {failed.name}")


async def _replayed(
    ledger: Ledger, directory: WalletDirectory, refund_id: UUID, payment: Payment, amount: Money
) -> Refunded:
    found = await _load(ledger, directory, payment.payee, refund_id)
    if found is None or found.payment.payee.id != payment.payee.id:
        raise Refusal(WalletCode.PAYMENT_ID_TAKEN, "This id is in use; make a new one.")
    for field, was, now in (
        ("payment", found.payment.id, payment.id),
        ("amount", found.amount, amount),
    ):
        if was != now:
            raise Refusal(
                WalletCode.PAYMENT_ID_USED_DIFFERENTLY,
                f"A refund with this id was made with another {field}.",
                field=field,
            )
    return Refunded(found, replayed=True)


async def _load(ledger: Ledger, directory: WalletDirectory, wallet: Wallet, refund_id: UUID) -> Refund | None:
    """The refund with an id, if the wallet is on one of its sides."""
    found = await ledger.lookup_transfers([refund_id.int])
    if not found or found[0].code != TransferCode.PAYMENT_REFUND:
        return None
    transfer, asset = found[0], asset_by_ledger(found[0].ledger)
    if wallet_account(wallet.id, asset) not in {transfer.debit_account_id, transfer.credit_account_id}:
        return None
    payment = await payment_by_id(
        ledger, directory, wallet=wallet, payment_id=UUID(int=transfer.user_data_128)
    )
    return Refund(refund_id, payment, Money(transfer.amount, asset), transfer.timestamp)
