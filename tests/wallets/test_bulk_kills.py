"""kill -9 of worker and ledger in the middle of a file, again and again: each line is paid once."""

import asyncio
import random
import sys
from typing import Any

import pytest

from foundation.assets import USDT
from foundation.clock import SystemClock
from foundation.database import Database
from ledger.chart import open_system_accounts
from ledger.engine import LedgerEngine
from tests.fixtures.anvil import ROOT, die_with_parent
from tests.ledger.invariants import check_journal
from tests.wallets.bulk import Business, business
from tests.wallets.conftest import Bank
from wallets.bulk_payments import BulkPayment, BulkState, LineState, line_payment_id
from wallets.limits import Limits
from wallets.wallets import WalletDirectory

LINES = 700
KILLS = 4


async def opened(database_url: str) -> Bank:
    clock: Any = SystemClock()
    database = Database(database_url)
    ledger = await LedgerEngine.start(database_url, clock)
    await open_system_accounts(ledger)
    return Bank(database, ledger, clock, WalletDirectory(database, ledger, clock), Limits(ledger, clock))


async def closed(bank: Bank) -> None:
    await bank.ledger.close()
    await bank.database.close()


@pytest.mark.timeout(180)
async def test_a_worker_killed_anywhere_goes_on_where_its_ledger_is(database_url: str) -> None:
    bank = await opened(database_url)
    for number in range(20):
        await bank.wallet(f"payee_{number:02}")
    mill = await business(bank)
    # The last hundred cannot be covered, so that refusals are killed as well.
    bulk = await mill.upload(*(f"payee_{number % 20:02},1,{number}" for number in range(LINES)))
    await mill.release(bulk)
    await bank.pay(bank.order(mill.wallet, "payee_00", "390", USDT))
    await closed(bank)

    rng = random.Random(7)
    for _ in range(KILLS):
        await _killed_in_the_middle(database_url, mill, bulk, rng)
    worker = await _worker(database_url)
    assert await worker.wait() == 0

    bank = await opened(database_url)
    mill = Business(bank, mill.wallet, mill.maker, mill.checker)
    done = await mill.look(bulk)
    assert (done.state, done.done) == (BulkState.FINISHED, LINES)
    lines = await mill.lines(bulk)
    paid = [line for line in lines if line.state is LineState.PAID]
    assert 0 < len(paid) < LINES
    assert {line.code for line in lines if line.state is LineState.REFUSED} <= {
        "insufficient_funds",
        "payment_already_refused",
    }
    found = await bank.ledger.lookup_transfers([line_payment_id(bulk.id, line.number).int for line in lines])
    assert {each.id for each in found} == {line.payment_id.int for line in paid if line.payment_id}
    held = [
        await bank.available(wallet, USDT)
        for number in range(20)
        if (wallet := await bank.directory.by_handle(f"payee_{number:02}")) is not None
    ]
    assert sum(int(each.split(".")[0]) for each in held) == len(paid) + 390
    spent = len(paid) * 1_010_000 + 390_390_000
    assert await bank.available(mill.wallet, USDT) == f"{(10**9 - spent) / 10**6:.6f}"
    await closed(bank)
    check_journal(database_url)


async def _killed_in_the_middle(
    database_url: str, mill: Business, bulk: BulkPayment, rng: random.Random
) -> None:
    worker = await _worker(database_url)
    database = Database(database_url)
    watching = Business(
        Bank(database, mill.bank.ledger, mill.bank.clock, mill.bank.directory, mill.bank.limits),
        mill.wallet,
        mill.maker,
        mill.checker,
    )
    aim = (await watching.look(bulk)).done + rng.randint(1, LINES // (KILLS + 3))
    try:
        while (await watching.look(bulk)).done < aim:
            assert worker.returncode is None
            await asyncio.sleep(0.001)
    finally:
        worker.kill()
        await worker.wait()
    assert (await watching.look(bulk)).done < LINES
    await database.close()


async def _worker(database_url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.wallets.bulk_worker",
        database_url,
        cwd=ROOT,
        preexec_fn=die_with_parent(),
    )
