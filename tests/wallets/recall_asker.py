"""A payer who asks payments back and a payee who agrees to each, over an own ledger, until killed.

python -m tests.wallets.recall_asker DATABASE_URL RECALL_ID:PAYMENT_ID ...
"""

import asyncio
import sys
from datetime import timedelta
from uuid import UUID

from foundation.clock import SystemClock
from foundation.database import Database
from ledger.engine import LedgerEngine
from wallets.recall_decisions import agree_to_recall
from wallets.recall_orders import RecallOrder, recall_payment
from wallets.recalls import RecallBooks
from wallets.wallets import WalletDirectory


async def main(database_url: str, orders: list[str]) -> None:
    clock, database = SystemClock(), Database(database_url)
    ledger = await LedgerEngine.start(database_url, clock)
    directory = WalletDirectory(database, ledger, clock)
    books = RecallBooks(database, ledger, clock, directory, timedelta(hours=24))
    payer, payee = [await directory.by_handle(handle) for handle in ("aye_aye", "ko_ko")]
    assert payer is not None
    assert payee is not None
    for each in orders:
        recall_id, payment_id = (UUID(part) for part in each.split(":"))
        await recall_payment(books, RecallOrder(recall_id, payer, payment_id))
        await agree_to_recall(books, payee=payee, recall_id=recall_id)
        sys.stdout.write(f"{recall_id}\n")
        sys.stdout.flush()
    await ledger.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
