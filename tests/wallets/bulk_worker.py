"""A worker that pays released files a few lines at a time, over its own ledger, until it is killed.

python -m tests.wallets.bulk_worker DATABASE_URL
"""

import asyncio
import sys

from foundation.clock import SystemClock
from foundation.database import Database
from ledger.engine import LedgerEngine
from wallets.bulk_execution import BulkTools, advance_bulk_payments
from wallets.limits import Limits
from wallets.wallets import WalletDirectory


async def main(database_url: str) -> None:
    clock, database = SystemClock(), Database(database_url)
    ledger = await LedgerEngine.start(database_url, clock)
    tools = BulkTools(
        database, ledger, clock, WalletDirectory(database, ledger, clock), Limits(ledger, clock)
    )
    await advance_bulk_payments(tools, lines_at_once=7)
    await ledger.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
