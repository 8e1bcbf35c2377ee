"""kill -9 of the worker while it writes and sends events: each is there once and told at least once."""

import asyncio
import random
import sys
from typing import Any

import pytest
from sqlalchemy import select

from foundation.assets import USDT
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.ids import derive_id, uuid7
from ledger.chart import open_system_accounts
from ledger.engine import LedgerEngine
from tests.fixtures.anvil import ROOT, die_with_parent
from tests.ledger.invariants import check_journal
from tests.wallets.conftest import Bank
from tests.wallets.webhook_receiver import Receiver, receiver
from wallets.limits import Limits
from wallets.merchants import MerchantBooks, merchant_of, open_till, save_merchant
from wallets.wallets import WalletDirectory
from wallets.webhook_models import WebhookDeliveryRow, WebhookEventRow
from wallets.webhook_sending import AT_ONCE_EACH
from wallets.webhook_targets import TargetRules
from wallets.webhooks import register_webhook

__all__ = ["receiver"]

PAYMENTS = 120
KILLS = 5
LATER_SECONDS = 200
"""How much later each worker lives: what the one before had claimed is due again."""


@pytest.mark.timeout(180)
async def test_a_worker_killed_anywhere_loses_no_event_and_makes_none_up(
    database_url: str, receiver: Receiver
) -> None:
    paid = await _business_is_paid(database_url, receiver.url())
    rng = random.Random(5)
    for number in range(KILLS):
        worker = await _worker(database_url, number * LATER_SECONDS)
        aim = len(receiver.told) + rng.randint(1, PAYMENTS // (KILLS + 2))
        try:
            while len(receiver.told) < aim:
                assert worker.returncode is None
                await asyncio.sleep(0.001)
        finally:
            worker.kill()
            await worker.wait()
    told = {each.headers["webhook-id"] for each in receiver.told}
    assert len(told) < PAYMENTS
    last = await _worker(database_url, KILLS * LATER_SECONDS)
    assert await last.wait() == 0

    events = {str(derive_id("webhook-event", payment_id)) for payment_id in paid}
    assert {each.headers["webhook-id"] for each in receiver.told} == events
    # What was on its way when a worker died is told twice, and nothing else is.
    assert PAYMENTS <= len(receiver.told) <= PAYMENTS + KILLS * AT_ONCE_EACH
    database = Database(database_url)
    async with database.session() as session:
        rows = (await session.scalars(select(WebhookEventRow))).all()
        sent = (await session.scalars(select(WebhookDeliveryRow))).all()
    await database.close()
    assert {str(row.id) for row in rows} == events
    assert len(rows) == len(sent) == PAYMENTS
    assert all(each.delivered_at is not None and each.due_at is None for each in sent)
    bodies = {str(row.id): row.body.encode() for row in rows}
    assert all(each.body == bodies[each.headers["webhook-id"]] for each in receiver.told)
    check_journal(database_url)


async def _business_is_paid(database_url: str, url: str) -> list[Any]:
    clock: Any = SystemClock()
    database = Database(database_url)
    ledger = await LedgerEngine.start(database_url, clock)
    await open_system_accounts(ledger)
    directory = WalletDirectory(database, ledger, clock)
    bank = Bank(database, ledger, clock, directory, Limits(ledger, clock))
    books = MerchantBooks(database, ledger, clock, directory)
    aye, ko = await bank.wallet("aye_aye"), await bank.wallet("ko_ko")
    await bank.fund(aye, "1000", USDT)
    await save_merchant(books, wallet=ko, name="Golden Tea House")
    till = (await open_till(books, wallet=ko, till_id=uuid7(clock), name="One", asset=USDT)).till
    merchant = await merchant_of(books, wallet=ko)
    await register_webhook(books, TargetRules(allows_loopback=True), merchant, url=url)
    paid = []
    for _ in range(PAYMENTS):
        order = bank.order(aye, ko, "1", USDT, reference=till.id)
        await bank.pay(order)
        paid.append(order.id)
    await ledger.close()
    await database.close()
    return paid


async def _worker(database_url: str, seconds_later: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.wallets.webhook_worker",
        database_url,
        str(seconds_later),
        cwd=ROOT,
        preexec_fn=die_with_parent(),
    )
