"""Settlements: what a till took and gave back in a day of UTC, line by line, from the ledger.

The lines are transfers of the business' account, and nothing is counted that is not one: the
report is read anew each time and can differ from the ledger in nothing. A refund stands in
the day in which it was given, at the till that was paid. Fees are the payers'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import select

from foundation.clock import SECOND_NS
from foundation.money import Money
from ledger.chart import TransferCode
from ledger.contract import BATCH_MAX, AccountFilter, Transfer, TransferFlags
from wallets.invoices import counts_from_ns
from wallets.merchant_models import InvoiceRow, TillRefundRow
from wallets.merchants import MerchantBooks, Till
from wallets.till_rights import Actor, TillAccess, TillRight
from wallets.wallets import wallet_account

LINES_MAX: Final = 10_000
"""Most lines in a report; the sums are of all."""

_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SettlementKind(StrEnum):
    """What a line of a settlement did to the business' wallet."""

    PAYMENT = "payment"
    """Somebody paid at the till."""
    REFUND = "refund"
    """What somebody had paid at the till was given back, all or in part."""
    RECALL = "recall"
    """The same, because the payer had asked for it back."""


@dataclass(frozen=True, slots=True)
class SettlementLine:
    """A transfer at a till."""

    id: UUID
    """Of the payment or refund; of a recall, of the transfer that gave it back."""
    kind: SettlementKind
    amount: Money
    invoice_id: UUID | None
    """The invoice that the payment named, if not the till itself."""
    payment_id: UUID
    """Of a refund or recall: what was given back; of a payment: its own."""
    at_ns: int
    """The ledger's time, nanoseconds since 1970."""
    by: Actor | None = None
    """Of a refund: who ordered it at the till; None for the owner's own, made as of any payment."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """A till's day."""

    till: Till
    day: date
    is_over: bool
    """Whether nothing can come to it any more."""
    payments: Money
    refunds: Money
    """What was given back, by refunds and by recalls."""
    lines: Sequence[SettlementLine]
    """In the order of the books, ``LINES_MAX`` at most."""
    is_whole: bool
    """Whether all lines are there."""

    @property
    def net(self) -> Money:
        """What came less what was given back; may be less than nothing."""
        return self.payments - self.refunds


async def settlement_of(books: MerchantBooks, access: TillAccess, *, day: date) -> Settlement:
    """What happened at a till on a day; refused as ``till_right_missing``."""
    access.needs(TillRight.SEE)
    till = access.till
    begins = (datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) * SECOND_NS
    ends = begins + _DAY // timedelta(seconds=1) * SECOND_NS
    payments = refunds = Money(0, till.asset)
    lines: list[SettlementLine] = []
    count = 0
    at = begins
    while at < ends:
        page = await books.ledger.get_account_transfers(
            AccountFilter(
                account_id=wallet_account(till.merchant.wallet.id, till.asset),
                timestamp_min=at,
                timestamp_max=ends - 1,
                limit=BATCH_MAX,
            )
        )
        for line in await lines_at(books, till, page):
            if line.kind is SettlementKind.PAYMENT:
                payments += line.amount
            else:
                refunds += line.amount
            count += 1
            if len(lines) < LINES_MAX:
                lines.append(line)
        if len(page) < BATCH_MAX:
            break
        at = page[-1].timestamp + 1
    # The ledger's clock may be a little behind this process'.
    is_over = books.clock.now_ns() >= ends + 60 * SECOND_NS
    return Settlement(till, day, is_over, payments, refunds, lines, is_whole=count == len(lines))


async def lines_at(books: MerchantBooks, till: Till, page: Sequence[Transfer]) -> list[SettlementLine]:
    """Those of the transfers that happened at a till, in their order."""
    account = wallet_account(till.merchant.wallet.id, till.asset)
    paid = {
        each.id: each
        for each in page
        if each.code == TransferCode.PAYMENT and each.credit_account_id == account
    }
    given = {
        each.id: each
        for each in page
        if each.debit_account_id == account and (_is_refund(each) or _is_recalled(each))
    }
    named = {each.user_data_128 for each in given.values()}
    earlier = await books.ledger.lookup_transfers(sorted(named - paid.keys())) if named else []
    payments = paid | {each.id: each for each in earlier}
    of_till = await _references(books, till, {each.user_data_128 for each in payments.values()})
    actors = await _actors(books, till, given.keys())
    found = []
    for transfer in page:
        is_payment = transfer.id in paid
        if not is_payment and transfer.id not in given:
            continue
        payment = transfer if is_payment else payments[transfer.user_data_128]
        begins = of_till.get(payment.user_data_128)
        if begins is None or payment.timestamp < begins:
            continue
        reference = UUID(int=payment.user_data_128)
        found.append(
            SettlementLine(
                id=UUID(int=transfer.id),
                kind=_kind(transfer),
                amount=Money(transfer.amount, till.asset),
                invoice_id=reference if reference != till.id else None,
                payment_id=UUID(int=payment.id),
                at_ns=transfer.timestamp,
                by=actors.get(transfer.id),
            )
        )
    return found


def _is_refund(transfer: Transfer) -> bool:
    return transfer.code == TransferCode.PAYMENT_REFUND


def _is_recalled(transfer: Transfer) -> bool:
    # What is only held, or was left to the business, has not gone anywhere.
    given_back = transfer.flags & TransferFlags.POST_PENDING_TRANSFER
    return transfer.code == TransferCode.PAYMENT_RECALL and bool(given_back)


def _kind(transfer: Transfer) -> SettlementKind:
    if _is_refund(transfer):
        return SettlementKind.REFUND
    return SettlementKind.RECALL if _is_recalled(transfer) else SettlementKind.PAYMENT


async def _actors(books: MerchantBooks, till: Till, refund_ids: Iterable[int]) -> dict[int, Actor]:
    """Who ordered refunds at a till."""
    wanted = [UUID(int=each) for each in refund_ids]
    if not wanted:
        return {}
    async with books.database.session() as session:
        rows = await session.scalars(
            select(TillRefundRow).where(TillRefundRow.till_id == till.id, TillRefundRow.refund_id.in_(wanted))
        )
        return {row.refund_id.int: Actor(row.by_wallet, row.by_key) for row in rows}


async def _references(books: MerchantBooks, till: Till, references: set[int]) -> dict[int, int]:
    """Those of the references that are the till or its invoices, and from when on each counts."""
    async with books.database.session() as session:
        rows = await session.scalars(
            select(InvoiceRow).where(
                InvoiceRow.till_id == till.id,
                InvoiceRow.id.in_([UUID(int=each) for each in references if each]),
            )
        )
        return {row.id.int: counts_from_ns(row) for row in rows} | {till.id.int: 0}
