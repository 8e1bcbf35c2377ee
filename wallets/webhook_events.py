"""Events of webhooks: what happened at a business' tills, written down once to be sent.

The worker reads the ledger from where it has come to, and writes events, what is to be
sent, and how far it has come in one database transaction. Killed anywhere, it reads the
same transfers again, whose events have the same ids. Nothing is lost between a payment and
its event, whoever dies in between: the payment is in the ledger, and is read from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.assets import ASSETS
from foundation.clock import datetime_from_ns
from foundation.ids import derive_id
from ledger.chart import TransferCode
from ledger.queries.questions import TransferCriteria, TransferSearch
from wallets.invoices import payments_of_invoice
from wallets.merchant_models import InvoiceRow, MerchantRow
from wallets.merchants import MerchantBooks, Till, tills_of
from wallets.settlements import SettlementKind, SettlementLine, lines_at
from wallets.wallets import Wallet, wallet_account
from wallets.webhook_models import WebhookDeliveryRow, WebhookEventRow, WebhookRow

TRANSFERS_AT_ONCE: Final = 500
"""Most transfers of one business that are looked at in one run."""


class EventType(StrEnum):
    """What a webhook tells of."""

    INVOICE_PAID = "invoice.paid"
    """A payment paid an invoice."""
    PAYMENT_RECEIVED = "payment.received"
    """Somebody paid at a till otherwise: by its own code, or an invoice not exactly or not in time."""
    PAYMENT_REFUNDED = "payment.refunded"
    """What was paid at a till was given back, all or in part: by a refund, or by a recall."""


async def write_events(books: MerchantBooks) -> int:
    """Write the events of every business that has a webhook; how many."""
    async with books.database.session() as session:
        merchants = (
            await session.scalars(
                select(MerchantRow.wallet_id).where(MerchantRow.wallet_id.in_(select(WebhookRow.merchant_id)))
            )
        ).all()
    wallets = await books.directory.by_ids(merchants)
    return sum([await _write_of(books, wallets[merchant_id]) for merchant_id in merchants])


async def _write_of(books: MerchantBooks, wallet: Wallet) -> int:
    async with books.database.session() as session:
        begins = await session.scalar(
            select(MerchantRow.events_until).where(MerchantRow.wallet_id == wallet.id)
        )
    assert begins is not None, "whoever registers a webhook says from when on"
    search = TransferSearch(
        any_of=(
            TransferCriteria(
                account_ids=tuple(wallet_account(wallet.id, asset) for asset in ASSETS),
                codes=(
                    int(TransferCode.PAYMENT),
                    int(TransferCode.PAYMENT_REFUND),
                    int(TransferCode.PAYMENT_RECALL),
                ),
            ),
        ),
        timestamp_min=begins + 1,
        limit=TRANSFERS_AT_ONCE,
    )
    found_page = await books.ledger.search_transfers(search)
    while not (found_page.transfers or found_page.complete) and found_page.cursor is not None:
        # Its time was over before it found any: what follows is asked for from there.
        found_page = await books.ledger.search_transfers(replace(search, cursor=found_page.cursor))
    page = found_page.transfers
    if not page:
        return 0
    found: list[tuple[Till, SettlementLine]] = []
    for till in await tills_of(books, wallet=wallet):
        if till.merchant.wallet.id == wallet.id:
            found += [(till, line) for line in await lines_at(books, till, page)]
    rows = [await _event(books, till, line) for till, line in found]
    async with books.database.session() as session:
        merchant = await session.get(MerchantRow, wallet.id, with_for_update=True)
        # Another worker may have come further; what it has written has these very ids.
        if merchant is None or merchant.events_until != begins:
            return 0
        # Dies here: nothing of this page is written, and it is read again.
        await _insert(session, wallet.id, rows, books)
        merchant.events_until = page[-1].timestamp
    return len(rows)


async def _insert(
    session: AsyncSession, merchant_id: UUID, rows: Sequence[dict[str, object]], books: MerchantBooks
) -> None:
    if not rows:
        return
    webhooks = (
        await session.scalars(
            # Held until the commit, so that none is ended before what is sent there is written.
            select(WebhookRow.id).where(WebhookRow.merchant_id == merchant_id).with_for_update(key_share=True)
        )
    ).all()
    await session.execute(insert(WebhookEventRow).values(list(rows)).on_conflict_do_nothing())
    sent = [
        {"event_id": row["id"], "webhook_id": webhook_id, "attempts": 0, "due_at": books.clock.now()}
        for row in rows
        for webhook_id in webhooks
    ]
    if sent:
        await session.execute(insert(WebhookDeliveryRow).values(sent).on_conflict_do_nothing())


async def _event(books: MerchantBooks, till: Till, line: SettlementLine) -> dict[str, object]:
    kind = EventType.PAYMENT_REFUNDED
    if line.kind is SettlementKind.PAYMENT:
        kind = EventType.INVOICE_PAID if await _pays(books, till, line) else EventType.PAYMENT_RECEIVED
    at = datetime_from_ns(line.at_ns).isoformat(timespec="microseconds").replace("+00:00", "Z")
    data = {
        "till_id": str(till.id),
        "invoice_id": str(line.invoice_id) if line.invoice_id is not None else None,
        "payment_id": str(line.payment_id),
        "refund_id": str(line.id) if line.kind is SettlementKind.REFUND else None,
        "asset": till.asset.code,
        "amount": line.amount.format(),
    }
    body = json.dumps({"type": kind.value, "timestamp": at, "data": data}, separators=(",", ":"))
    return {
        "id": derive_id("webhook-event", line.id),
        "merchant_id": till.merchant.wallet.id,
        "at_ns": line.at_ns,
        "type": kind.value,
        "body": body,
    }


async def _pays(books: MerchantBooks, till: Till, line: SettlementLine) -> bool:
    if line.invoice_id is None:
        return False
    async with books.database.session() as session:
        row = await session.get(InvoiceRow, line.invoice_id)
    assert row is not None, "an invoice is never deleted"
    payment, _ = await payments_of_invoice(books.ledger, till, row)
    return payment is not None and payment.id == line.id
