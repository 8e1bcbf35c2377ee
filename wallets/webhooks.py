"""Webhooks of a business: registered, listed, given another secret, ended.

What is sent there begins with what happens after the first registration. The list of
events is the business' to read again, and each event can be sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from foundation.assets import ASSETS
from foundation.errors import Refusal
from foundation.ids import uuid7
from wallets.merchant_errors import MerchantCode
from wallets.merchant_models import MerchantRow
from wallets.merchants import Merchant, MerchantBooks, list_full
from wallets.wallets import Wallet, wallet_account
from wallets.webhook_models import WebhookDeliveryRow, WebhookEventRow, WebhookRow
from wallets.webhook_signatures import new_secret, secret_text
from wallets.webhook_targets import TargetRules, find_target

WEBHOOKS_MAX: Final = 5
"""Most webhooks of a business."""

OLD_SECRET_SECONDS: Final = 86_400
"""How long a secret that was replaced signs beside the new one."""

EVENTS_PAGE_MAX: Final = 100
"""Most events on a page."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address to which events are sent."""

    id: UUID
    url: str
    created_at: datetime
    failing_since: datetime | None
    """Of the first failure after the last success."""
    disabled_at: datetime | None
    """When nothing was sent there any more, because it had failed for days or was gone."""


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A webhook and its new secret, which is shown this once."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far an event is with one webhook."""

    webhook_id: UUID
    attempts: int
    due_at: datetime | None
    """When it is sent next; None when it was delivered or given up."""
    delivered_at: datetime | None
    last_failure: str | None


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """Something that happened at a till."""

    id: UUID
    at_ns: int
    """The ledger's time, nanoseconds since 1970."""
    type: str
    body: str
    """As it is sent: JSON."""
    deliveries: Sequence[Delivery]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, newest first, and the id after which the next page begins, None at the end."""

    events: Sequence[WebhookEvent]
    next_before: UUID | None


async def register_webhook(
    books: MerchantBooks, rules: TargetRules, merchant: Merchant, *, url: str
) -> NewSecret:
    """Have events sent to an address; refused as ``webhook_url_refused`` or ``merchant_list_full``.

    If the answer is lost, there is a webhook whose secret nobody has: the list shows it, to be ended.
    """
    await find_target(rules, url)
    now, secret = books.clock.now(), new_secret()
    newest = await _newest_ns(books, merchant.wallet)
    async with books.database.session() as session:
        # One after the other, or two at once would both be the last.
        row = await session.scalar(
            select(MerchantRow).where(MerchantRow.wallet_id == merchant.wallet.id).with_for_update()
        )
        assert row is not None, "a business is never deleted"
        count = await session.scalar(
            select(func.count()).select_from(WebhookRow).where(WebhookRow.merchant_id == row.wallet_id)
        )
        if (count or 0) >= WEBHOOKS_MAX:
            raise list_full(WEBHOOKS_MAX)
        if not count:
            row.events_until = newest
        webhook = WebhookRow(
            id=uuid7(books.clock),
            merchant_id=row.wallet_id,
            url=url,
            secret=secret,
            old_secret=None,
            old_until=None,
            created_at=now,
            failing_since=None,
            disabled_at=None,
        )
        session.add(webhook)
    return NewSecret(_webhook(webhook), secret_text(secret))


async def webhooks_of(books: MerchantBooks, merchant: Merchant) -> list[Webhook]:
    """A business' webhooks, the oldest first."""
    async with books.database.session() as session:
        rows = await session.scalars(
            select(WebhookRow)
            .where(WebhookRow.merchant_id == merchant.wallet.id)
            .order_by(WebhookRow.created_at, WebhookRow.id)
        )
        return [_webhook(row) for row in rows]


async def replace_secret(books: MerchantBooks, merchant: Merchant, *, webhook_id: UUID) -> NewSecret:
    """Give a webhook a new secret; the old one signs beside it for ``OLD_SECRET_SECONDS``.

    A webhook that was disabled is sent to again from now on. Refused as ``webhook_not_found``.
    """
    secret = new_secret()
    async with books.database.session() as session:
        row = await session.scalar(
            update(WebhookRow)
            .where(WebhookRow.id == webhook_id, WebhookRow.merchant_id == merchant.wallet.id)
            .values(
                secret=secret,
                old_secret=WebhookRow.secret,
                old_until=books.clock.now() + timedelta(seconds=OLD_SECRET_SECONDS),
                failing_since=None,
                disabled_at=None,
            )
            .returning(WebhookRow)
        )
        if row is None:
            raise _not_found()
        return NewSecret(_webhook(row), secret_text(secret))


async def end_webhook(books: MerchantBooks, merchant: Merchant, *, webhook_id: UUID) -> Webhook:
    """Send nothing to an address any more; refused as ``webhook_not_found``."""
    async with books.database.session() as session:
        row = await session.scalar(
            delete(WebhookRow)
            .where(WebhookRow.id == webhook_id, WebhookRow.merchant_id == merchant.wallet.id)
            .returning(WebhookRow)
        )
        if row is None:
            raise _not_found()
        return _webhook(row)


async def events_of(
    books: MerchantBooks, merchant: Merchant, *, before: UUID | None = None, limit: int = 50
) -> EventPage:
    """A page of a business' events; ``before`` is the ``next_before`` of the page before.

    Refused as ``webhook_event_not_found`` when ``before`` is no event of the business.
    """
    assert 1 <= limit <= EVENTS_PAGE_MAX
    wanted = [WebhookEventRow.merchant_id == merchant.wallet.id]
    async with books.database.session() as session:
        if before is not None:
            last = await session.get(WebhookEventRow, before)
            if last is None or last.merchant_id != merchant.wallet.id:
                raise _event_not_found()
            wanted.append(WebhookEventRow.at_ns < last.at_ns)
        rows = (
            await session.scalars(
                # One more than the page tells whether another page follows.
                select(WebhookEventRow).where(*wanted).order_by(WebhookEventRow.at_ns.desc()).limit(limit + 1)
            )
        ).all()
        page = rows[:limit]
        sent = (
            await session.scalars(
                select(WebhookDeliveryRow)
                .where(WebhookDeliveryRow.event_id.in_([row.id for row in page]))
                .order_by(WebhookDeliveryRow.webhook_id)
            )
        ).all()
    events = [
        WebhookEvent(
            row.id,
            row.at_ns,
            row.type,
            row.body,
            [_delivery(each) for each in sent if each.event_id == row.id],
        )
        for row in page
    ]
    return EventPage(events, page[-1].id if len(rows) > limit else None)


async def resend_event(books: MerchantBooks, merchant: Merchant, *, event_id: UUID) -> None:
    """Send an event again to every webhook, also to one that has it; ``webhook_event_not_found``."""
    async with books.database.session() as session:
        event = await session.get(WebhookEventRow, event_id)
        if event is None or event.merchant_id != merchant.wallet.id:
            raise _event_not_found()
        webhooks = (
            await session.scalars(
                select(WebhookRow.id).where(WebhookRow.merchant_id == merchant.wallet.id).with_for_update()
            )
        ).all()
        anew = {"attempts": 0, "due_at": books.clock.now(), "delivered_at": None, "last_failure": None}
        for webhook_id in webhooks:
            await session.execute(
                insert(WebhookDeliveryRow)
                .values(event_id=event_id, webhook_id=webhook_id, **anew)
                .on_conflict_do_update(
                    index_elements=[WebhookDeliveryRow.event_id, WebhookDeliveryRow.webhook_id], set_=anew
                )
            )


async def _newest_ns(books: MerchantBooks, wallet: Wallet) -> int:
    """The ledger's time of a wallet's newest transfer: its clock counts here, and not this process'."""
    statements = await asyncio.gather(
        *(books.ledger.get_statement(wallet_account(wallet.id, asset), limit=1) for asset in ASSETS)
    )
    return max((line.transfer.timestamp for lines in statements for line in lines), default=0)


def _webhook(row: WebhookRow) -> Webhook:
    return Webhook(row.id, row.url, row.created_at, row.failing_since, row.disabled_at)


def _delivery(row: WebhookDeliveryRow) -> Delivery:
    return Delivery(row.webhook_id, row.attempts, row.due_at, row.delivered_at, row.last_failure)


def _not_found() -> Refusal:
    return Refusal(MerchantCode.WEBHOOK_NOT_FOUND, "This business has no webhook with this id.")


def _event_not_found() -> Refusal:
    return Refusal(MerchantCode.WEBHOOK_EVENT_NOT_FOUND, "This business has no event with this id.")
