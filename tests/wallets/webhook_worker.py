"""A worker that writes and sends events until none is left, over its own ledger, or until it is killed.

python -m tests.wallets.webhook_worker DATABASE_URL SECONDS_LATER
"""

import asyncio
import ssl
import sys

from sqlalchemy import func, select

from foundation.clock import SECOND_NS, SettableClock, SystemClock
from foundation.database import Database
from ledger.engine import LedgerEngine
from wallets.merchants import MerchantBooks
from wallets.wallets import WalletDirectory
from wallets.webhook_events import write_events
from wallets.webhook_models import WebhookDeliveryRow
from wallets.webhook_sending import SendingTools, send_due
from wallets.webhook_targets import TargetRules


async def main(database_url: str, seconds_later: int) -> None:
    clock = SettableClock(SystemClock().now_ns() + seconds_later * SECOND_NS)
    database = Database(database_url)
    ledger = await LedgerEngine.start(database_url, clock)
    books = MerchantBooks(database, ledger, clock, WalletDirectory(database, ledger, clock))
    rules = TargetRules(allows_loopback=True)
    sending = SendingTools(database, clock, rules, ssl.create_default_context())
    left = 1
    while left:
        await write_events(books)
        await send_due(sending)
        async with database.session() as session:
            due = select(func.count()).where(WebhookDeliveryRow.due_at.is_not(None))
            left = await session.scalar(due) or 0
    await ledger.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
