"""The wallets' tasks: thin shims around their use cases, for the worker.

A task holds no state and may be repeated, dropped or killed: what is to be done is read
from the tables each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from celery import Celery

from foundation.errors import Unavailable
from wallets.bulk_execution import BulkTools, advance_bulk_payments
from wallets.merchants import MerchantBooks
from wallets.standing_execution import StandingTools, advance_standing_orders
from wallets.webhook_events import write_events
from wallets.webhook_sending import SendingTools, send_due

logger = structlog.get_logger()

ADVANCE_BULK_PAYMENTS = "wallets.advance_bulk_payments"
"""Name of the task that pays released files."""

ADVANCE_WEBHOOKS = "wallets.advance_webhooks"
"""Name of the task that writes events of businesses and sends them."""
ADVANCE_STANDING_ORDERS = "wallets.advance_standing_orders"
"""Name of the task that pays what standing orders have due."""

Work = Callable[[BulkTools], Awaitable[None]]
"""What a task does."""

Run = Callable[[str, Work], None]
"""Does a named piece of work to its end, or not at all while it is being done elsewhere."""


def add_wallet_tasks(app: Celery, run: Run) -> None:
    """Give the app the wallets' tasks, under their names."""

    def advance() -> None:
        run(ADVANCE_BULK_PAYMENTS, advance_bulk)

    def advance_orders() -> None:
        run(ADVANCE_STANDING_ORDERS, advance_standing)

    app.task(name=ADVANCE_BULK_PAYMENTS)(advance)
    app.task(name=ADVANCE_STANDING_ORDERS)(advance_orders)


@dataclass(frozen=True, slots=True)
class WebhookTools:
    """What telling webhooks takes."""

    books: MerchantBooks
    sending: SendingTools


WebhookWork = Callable[[WebhookTools], Awaitable[None]]
"""What a task of webhooks does."""


def add_webhook_tasks(app: Celery, run: Callable[[str, WebhookWork], None]) -> None:
    """Give the app the tasks of webhooks, under their names."""

    def advance() -> None:
        run(ADVANCE_WEBHOOKS, advance_webhooks)

    app.task(name=ADVANCE_WEBHOOKS)(advance)


async def advance_webhooks(tools: WebhookTools) -> None:
    """Write down what happened at tills, and send what is due."""
    try:
        written = await write_events(tools.books)
    except Unavailable as error:
        # What was written before is sent whether or not the ledger answers.
        logger.warning("events not read", task=ADVANCE_WEBHOOKS, error=str(error))
        written = 0
    delivered = await send_due(tools.sending)
    if written or delivered:
        logger.info("webhooks", written=written, delivered=delivered)


async def advance_bulk(tools: BulkTools) -> None:
    """Pay released files; a ledger that does not answer ends it quietly, for the schedule comes again."""
    try:
        report = await advance_bulk_payments(tools)
    except Unavailable as error:
        logger.warning("task ended early", task=ADVANCE_BULK_PAYMENTS, error=str(error))
        return
    if report.lines:
        logger.info("bulk payments", files=report.files, lines=report.lines, paid=report.paid)


async def advance_standing(tools: BulkTools) -> None:
    """Pay what standing orders have due; ends quietly as ``advance_bulk`` does."""
    try:
        report = await advance_standing_orders(
            StandingTools(tools.database, tools.ledger, tools.clock, tools.directory, tools.limits)
        )
    except Unavailable as error:
        logger.warning("task ended early", task=ADVANCE_STANDING_ORDERS, error=str(error))
        return
    if report.paid or report.missed or report.refused:
        logger.info("standing orders", paid=report.paid, missed=report.missed, refused=report.refused)
