"""Payments: money from one wallet to another, and the fee with it.

A payment is linked transfers of the ledger and no row anywhere else: payer to payee
(PAYMENT, whose id is the one that the payer's device made), payer to the bank's fees
(PAYMENT_FEE, id derived, left out when nothing is due), and those by which it uses
room under the payer's limits (wallets.limits). They stand or fall together. The id is
the idempotency for ever: the same payment again gives the first answer, other content
under the same id is refused by the name of the field that differs.

If this process dies anywhere in here, the ledger has all of these transfers or none,
and asking for the id tells which. A payment with a memo has a row for it beside them,
written before them (wallets.memos).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from foundation.assets import ASSETS, asset_by_ledger
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import derive_id, derive_ids
from foundation.money import Money
from ledger.chart import AccountCode, TransferCode, system_account_id
from ledger.contract import CreateTransferResult, CreateTransferStatus, Transfer, TransferFlags
from ledger.interface import Ledger
from wallets.ceilings import ceiling_refusal
from wallets.errors import WalletCode
from wallets.fees import payment_fee
from wallets.handles import parse_handle
from wallets.limits import Limits, Window
from wallets.memos import Memo, Memos, for_former_handle, memo_differs
from wallets.wallets import Wallet, WalletDirectory, open_wallet_accounts, wallet_account

ID_VERSION: Final = 7
"""Clients make UUIDv7. Ids derived from the world are UUIDv8, so that nobody can
take the id of a deposit or a fee before it comes."""

_LINKED: Final = int(TransferFlags.LINKED)

_FEE_ACCOUNTS: Final = {asset: system_account_id(AccountCode.FEES, asset) for asset in ASSETS}

OVERFLOWS: Final = frozenset(
    {
        CreateTransferStatus.OVERFLOWS_DEBITS_POSTED,
        CreateTransferStatus.OVERFLOWS_CREDITS_POSTED,
        CreateTransferStatus.OVERFLOWS_DEBITS,
        CreateTransferStatus.OVERFLOWS_CREDITS,
    }
)
"""Answers of the ledger: an account could not count that much."""
MISSING: Final = frozenset(
    {CreateTransferStatus.DEBIT_ACCOUNT_NOT_FOUND, CreateTransferStatus.CREDIT_ACCOUNT_NOT_FOUND}
)
"""Answers of the ledger: a wallet has no account in the asset yet."""
CLOSED: Final = frozenset(
    {CreateTransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED, CreateTransferStatus.CREDIT_ACCOUNT_ALREADY_CLOSED}
)
"""Answers of the ledger: an account on one of the sides is closed."""


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """What a payer asks for."""

    id: UUID
    """Made by the payer's device, and kept there before it is sent."""
    payer: Wallet
    payee_handle: str
    amount: Money
    """What the payee gets; the fee comes on top."""
    fee_max: Money | None = None
    """The fee that the payer agreed to; None agrees to the schedule."""
    reference: UUID | None = None
    """The payer's own number for what is paid, such as an order; both parties see it.

    The nil UUID names nothing and is as none.
    """
    memo: Memo | None = None
    """What only payer and payee can read."""
    payee_pass: bytes | None = None
    """By which a payee who is not listed is found (wallets.payee_passes)."""
    payee: Wallet | None = None
    """The payee where the bank knows it already, as from a request; the handle is then not looked for."""


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment that has happened; it never changes."""

    id: UUID
    payer: Wallet
    payee: Wallet
    amount: Money
    fee: Money
    reference: UUID | None
    created_at_ns: int
    """The ledger's time, nanoseconds since 1970; unique."""
    memo_mark: int = 0
    """By which its memo is known (``Memo.mark``); 0 where it has none."""


@dataclass(frozen=True, slots=True)
class Paid:
    """The answer to an order: the payment, and whether an earlier request made it."""

    payment: Payment
    replayed: bool


async def pay(
    ledger: Ledger,
    directory: WalletDirectory,
    limits: Limits,
    order: PaymentOrder,
    memos: Memos | None = None,
) -> Paid:
    """Carry out a client's order once; ``memos`` is needed where it has a memo.

    Refused by a ``WalletCode``; ``LedgerUnavailable`` with ``outcome_unknown`` when
    only asking again can tell.
    """
    check_id(order.id)
    return await carry_out(ledger, directory, limits, order, memos)


async def carry_out(
    ledger: Ledger,
    directory: WalletDirectory,
    limits: Limits,
    order: PaymentOrder,
    memos: Memos | None = None,
) -> Paid:
    """``pay`` under an id of the bank's own, derived from what it pays for."""
    if order.amount.minor <= 0:
        raise Refusal(WalletCode.AMOUNT_NOT_POSITIVE, "The amount must be more than zero.")
    if order.reference is not None and order.reference.int == 0:
        # The ledger keeps none as zero: the same payment again would differ from itself.
        order = replace(order, reference=None)
    payee = order.payee or await _payee(ledger, directory, order)
    if payee.id == order.payer.id:
        raise Refusal(WalletCode.PAYEE_IS_PAYER, "A wallet does not pay itself.")
    if order.memo is not None and parse_handle(order.payee_handle) != payee.handle:
        # It is sealed for the handle that was named, and nobody could open it beside this payment.
        return await _replay_or(ledger, directory, order, payee, for_former_handle())
    fee = payment_fee(order.amount)
    if order.fee_max is not None and fee > order.fee_max:
        return await _replay_or(ledger, directory, order, payee, _fee_refusal(order, fee))
    try:
        room = await limits.uses(order.payer, order.id, order.amount, payee)
    except Refusal:
        # Its limit may have been higher when the payment was made.
        if await ledger.lookup_transfers([order.id.int]):
            return await _replayed(ledger, directory, order, payee)
        raise
    if order.memo is not None:
        assert memos is not None, "an order with a memo is paid where memos are kept"
        # Before the transfers: a payment that shows a memo has one to show. If this process
        # dies between here and the ledger's answer, the same request again finds the row as it
        # is and goes on; if it never comes, no transfer carries the memo's mark, and a memo is
        # read for a transfer alone. What is refused below leaves such a row as well.
        await memos.keep(payment_id=order.id, payer_id=order.payer.id, memo=order.memo)
    transfers = _transfers(order, payee, fee, room)
    results = await ledger.create_transfers(transfers)
    if all(result.status is CreateTransferStatus.CREATED for result in results):
        at_ns = results[0].timestamp
        payment = Payment(
            order.id, order.payer, payee, order.amount, fee, order.reference, at_ns, _mark(order)
        )
        return Paid(payment, replayed=False)
    return await _explain(ledger, directory, limits, order, payee, results, len(transfers) - len(room))


async def payment_by_id(
    ledger: Ledger, directory: WalletDirectory, *, wallet: Wallet, payment_id: UUID
) -> Payment:
    """A payment of which ``wallet`` is payer or payee; otherwise ``payment_not_found``."""
    found = await _load(ledger, directory, payment_id)
    # One answer for "does not exist" and "is not yours".
    if found is None or wallet.id not in {found.payer.id, found.payee.id}:
        raise Refusal(WalletCode.PAYMENT_NOT_FOUND, "No payment of this wallet has this id.")
    return found


def check_id(client_id: UUID) -> None:
    """Refuse an id that no client may use: it must be a UUIDv7 (RFC 9562)."""
    if client_id.version != ID_VERSION:
        raise Refusal(
            WalletCode.PAYMENT_ID_MALFORMED, "The id must be a UUIDv7, made once by the device and kept."
        )


def payment_fee_id(payment_id: UUID) -> UUID:
    """Id of the fee's transfer."""
    return derive_id("payment-fee", payment_id)


def payment_fee_ids(payment_ids: Sequence[UUID]) -> list[UUID]:
    """The same of many."""
    return derive_ids("payment-fee", lasts=payment_ids)


def _mark(order: PaymentOrder) -> int:
    return order.memo.mark if order.memo is not None else 0


def _transfers(order: PaymentOrder, payee: Wallet, fee: Money, room: Sequence[Transfer]) -> list[Transfer]:
    """The chain: the payment, its fee if one is due, and what it uses of the payer's room."""
    asset = order.amount.asset
    payer_account = wallet_account(order.payer.id, asset)
    payment = Transfer(
        id=order.id.int,
        debit_account_id=payer_account,
        credit_account_id=wallet_account(payee.id, asset),
        amount=order.amount.minor,
        user_data_128=order.reference.int if order.reference is not None else 0,
        user_data_64=_mark(order),
        ledger=asset.ledger,
        code=TransferCode.PAYMENT,
    )
    chain = [payment]
    if fee.minor != 0:
        chain.append(
            Transfer(
                id=payment_fee_id(order.id).int,
                debit_account_id=payer_account,
                credit_account_id=_FEE_ACCOUNTS[asset],
                amount=fee.minor,
                user_data_128=order.id.int,
                ledger=asset.ledger,
                code=TransferCode.PAYMENT_FEE,
            )
        )
    chain += room
    for transfer in chain[:-1]:
        transfer.flags |= _LINKED
    return chain


async def _payee(ledger: Ledger, directory: WalletDirectory, order: PaymentOrder) -> Wallet:
    """Whom an order's handle names; refused as ``payee_unknown``."""
    handle = parse_handle(order.payee_handle)
    payee = await directory.payee(handle, asker=order.payer, shown=order.payee_pass)
    if payee is not None:
        return payee
    # A payment that was made when the handle still paid, or its wallet was listed, is the same
    # payment for ever. Whoever did not make it learns nothing: it is asked for each unknown handle.
    made = await _load(ledger, directory, order.id)
    if made is not None and made.payer.id == order.payer.id and made.payee.had(handle):
        return made.payee
    raise Refusal(
        WalletCode.PAYEE_UNKNOWN,
        f"No wallet has the handle @{order.payee_handle.lstrip('@')}.",
        handle=handle,
    )


async def _replay_or(
    ledger: Ledger, directory: WalletDirectory, order: PaymentOrder, payee: Wallet, refusal: Refusal
) -> Paid:
    # What is refused now may have been right when the payment was made, as a fee that has risen
    # since: the payment's repetition still gets the first answer.
    if await ledger.lookup_transfers([order.id.int]):
        return await _replayed(ledger, directory, order, payee)
    raise refusal


def _fee_refusal(order: PaymentOrder, fee: Money) -> Refusal:
    return Refusal(
        WalletCode.FEE_ABOVE_MAXIMUM,
        f"The fee is {fee}, more than the {order.fee_max} agreed to.",
        fee=fee.format(),
        asset=fee.asset.code,
    )


async def _explain(
    ledger: Ledger,
    directory: WalletDirectory,
    limits: Limits,
    order: PaymentOrder,
    payee: Wallet,
    results: list[CreateTransferResult],
    money: int,
) -> Paid:
    """Why the chain was not created; its first ``money`` transfers move money, the others use room."""
    first = results[0].status
    if first is CreateTransferStatus.EXISTS or first.name.startswith("EXISTS_"):
        # Flags may differ without harm: a fee or limit that was due then and is not now.
        return await _replayed(ledger, directory, order, payee)
    at, failed = next(
        (at, result.status)
        for at, result in enumerate(results)
        if result.status is not CreateTransferStatus.LINKED_EVENT_FAILED
    )
    if at >= money and failed is CreateTransferStatus.EXCEEDS_CREDITS:
        # The ledger remembers that this use of room failed: the id stays refused.
        raise await limits.refusal(order.payer, order.amount.asset, tuple(Window)[at - money])
    if at >= money and failed is CreateTransferStatus.EXCEEDS_DEBITS:
        # Whoever hears this had the money: the ledger looked at that first.
        raise ceiling_refusal(order.amount.asset)
    if failed in OVERFLOWS and not await _can_spend(ledger, order):
        # The ledger looks at the payee's room before the payer's money. Who has no money
        # must not learn from the difference how much the payee ever received.
        failed = CreateTransferStatus.EXCEEDS_CREDITS
    if failed is CreateTransferStatus.EXCEEDS_CREDITS:
        raise Refusal(
            WalletCode.INSUFFICIENT_FUNDS,
            f"The available balance does not cover {order.amount} and its fee.",
            amount=order.amount.format(),
            asset=order.amount.asset.code,
        )
    raise await _refusal(ledger, order, payee, failed)


async def _can_spend(ledger: Ledger, order: PaymentOrder) -> bool:
    found = await ledger.lookup_accounts([wallet_account(order.payer.id, order.amount.asset)])
    return any(
        account.credits_posted - account.debits_posted - account.debits_pending >= order.amount.minor
        for account in found
    )


async def _refusal(
    ledger: Ledger, order: PaymentOrder, payee: Wallet, status: CreateTransferStatus
) -> Refusal:
    code = order.amount.asset.code
    if status is CreateTransferStatus.ID_ALREADY_FAILED:
        return Refusal(
            WalletCode.PAYMENT_ALREADY_REFUSED,
            "This id was refused before and stays refused; a new attempt needs a new id.",
        )
    if status in MISSING:
        await open_wallet_accounts(ledger, order.payer.id)
        await open_wallet_accounts(ledger, payee.id)
        return Refusal(
            WalletCode.WALLET_ACCOUNT_MISSING,
            f"A wallet had no account in {code}; it has one now.",
        )
    if status in CLOSED:
        return Refusal(
            WalletCode.WALLET_CLOSED,
            f"The account of payer or payee in {code} is closed.",
        )
    if status in OVERFLOWS:
        return Refusal(WalletCode.PAYEE_BALANCE_FULL, "The payee cannot hold that much more.")
    raise InvariantViolation(f"payment {order.id}: the ledger answers {status.name}")


async def _replayed(ledger: Ledger, directory: WalletDirectory, order: PaymentOrder, payee: Wallet) -> Paid:
    found = await _load(ledger, directory, order.id)
    if found is None or found.payer.id != order.payer.id:
        raise Refusal(WalletCode.PAYMENT_ID_TAKEN, "This id is in use; make a new one.")
    for field, was, now in (
        ("asset", found.amount.asset, order.amount.asset),
        ("payee", found.payee.id, payee.id),
        ("amount", found.amount, order.amount),
        ("reference", found.reference, order.reference),
    ):
        if was != now:
            raise Refusal(
                WalletCode.PAYMENT_ID_USED_DIFFERENTLY,
                f"A payment with this id was made with another {field}.",
                field=field,
            )
    if found.memo_mark != _mark(order):
        raise memo_differs()
    return Paid(found, replayed=True)


async def _load(ledger: Ledger, directory: WalletDirectory, payment_id: UUID) -> Payment | None:
    fee_id = payment_fee_id(payment_id).int
    transfers = {found.id: found for found in await ledger.lookup_transfers([payment_id.int, fee_id])}
    transfer = transfers.get(payment_id.int)
    if transfer is None or transfer.code != TransferCode.PAYMENT:
        return None
    asset = asset_by_ledger(transfer.ledger)
    owners = await directory.by_accounts([transfer.debit_account_id, transfer.credit_account_id])
    payer, payee = owners.get(transfer.debit_account_id), owners.get(transfer.credit_account_id)
    if payer is None or payee is None:
        return None
    fee = transfers.get(fee_id)
    return Payment(
        id=payment_id,
        payer=payer,
        payee=payee,
        amount=Money(transfer.amount, asset),
        fee=Money(fee.amount if fee is not None else 0, asset),
        reference=UUID(int=transfer.user_data_128) if transfer.user_data_128 else None,
        created_at_ns=transfer.timestamp,
        memo_mark=transfer.user_data_64,
    )
