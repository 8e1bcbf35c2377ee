"""A bank under attack: payments among wallets while API and ledger processes are killed.

    python -m tests.simulation.bank [--wallets 50] [--callers 64] [--payments 100] [--kills 40] [--seed S]

Two API processes and the ledger are killed with -9 at random moments and started again.
Meanwhile an auditor reads all balances in one question after the other: each must sum to
what the bank began with. At the end every promise is held against the ledger: what was
paid is there once, what was refused is not, each wallet has what its payments say, the
same payment gives the byte-same answer, and the journal is sound. Ends with 1 otherwise.
The moments are drawn from the seed, which is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final
from uuid import UUID

import httpx

from benchmarks.api.customers import FUNDS, enrolled
from benchmarks.laboratory import fresh_database
from foundation.assets import USDT
from foundation.database import Database
from foundation.errors import Unavailable
from foundation.money import Money
from ledger.chart import AccountCode, system_account_id, wallet_account_id
from ledger.client import LedgerClient
from ledger.contract import Account
from ops.node import free_port
from tests.fixtures.served import Served, serving
from tests.simulation.bank_callers import Callers, Tally
from wallets.wallets import WalletDirectory

SECOND_API: Final = "api-2"
VICTIMS: Final = ("ledger", "api", SECOND_API)
READERS: Final = 4
"""Phones that read balances meanwhile."""
REPLAYED_AT_END: Final = 300
"""Payments that are asked for once more when everything was restarted."""


@dataclass(frozen=True)
class Wish:
    """What is to be done to which bank."""

    wallets: int
    callers: int
    payments: int
    """Of each caller."""
    kills: int
    seed: int
    pause: float = 1.5
    """Longest time between two kills, in seconds."""


@dataclass
class Outcome:
    """What came of it."""

    tally: Tally
    sums_read: int = 0
    """How often all balances were read at one instant."""
    kills: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing was that must never be."""
        return not self.tally.violations


class Auditor:
    """Reads all balances at one instant, again and again."""

    def __init__(self, ledger: LedgerClient, accounts: Sequence[int], tally: Tally) -> None:
        self._ledger = ledger
        self._accounts = [*accounts, system_account_id(AccountCode.FEES, USDT)]
        self._tally = tally
        self._constant = len(accounts) * FUNDS.minor
        self.sums = 0

    async def watch(self, done: asyncio.Event) -> None:
        """Read until it is done; an outage is no answer, and none is counted."""
        while not done.is_set():
            try:
                await self.read()
            except Unavailable:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.005)

    async def read(self) -> list[Account]:
        """All balances at one instant, and whether they sum to the constant."""
        accounts = (await self._ledger.get_snapshot(self._accounts)).accounts
        self.sums += 1
        total = sum(one.credits_posted - one.debits_posted for one in accounts)
        if len(accounts) != len(self._accounts) or total != self._constant:
            self._tally.violations.append(f"all balances sum to {total}, not {self._constant}")
        return accounts


async def attacked(database_url: str, home: Path, wish: Wish) -> Outcome:
    """A bank of these sizes through these kills, and what came of it."""
    served = Served(home, database_url, free_port("127.0.0.1"))
    second_port = free_port("127.0.0.1")
    async with serving(served), httpx.AsyncClient(timeout=30.0) as http:
        served.start(SECOND_API, command="api", port=second_port)
        await served.healthy(second_port)
        customers = await enrolled(database_url, served.ledger_url, wish.wallets)
        bases = [served.url, f"http://127.0.0.1:{second_port}"]
        callers = Callers(http, bases, customers)
        database, ledger = Database(database_url, pool_size=1), LedgerClient(served.ledger_url)
        try:
            directory = WalletDirectory(database, ledger, served.clock)
            wallets = [await directory.by_handle(customer.handle) for customer in customers]
            accounts = [wallet_account_id(one.id, USDT) for one in wallets if one is not None]
            auditor = Auditor(ledger, accounts, callers.tally)
            outcome = Outcome(callers.tally)
            await _under_fire(served, second_port, callers, auditor, wish, outcome)
            for name in VICTIMS:
                served.kill(name)
                _start(served, name, second_port)
            await served.healthy()
            await served.healthy(second_port)
            await _hold_promises(callers, auditor, ledger, accounts, wish.seed)
            outcome.sums_read = auditor.sums
        finally:
            await ledger.close()
            await database.close()
    return outcome


async def _under_fire(
    served: Served, second_port: int, callers: Callers, auditor: Auditor, wish: Wish, outcome: Outcome
) -> None:
    done = asyncio.Event()
    beside = [asyncio.create_task(auditor.watch(done))]
    beside += [
        asyncio.create_task(callers.read_balances(random.Random(f"{wish.seed} reader {number}"), done))
        for number in range(READERS)
    ]
    killer = asyncio.create_task(_kill(served, second_port, wish, outcome))
    paying = [
        callers.pay_often(wish.payments, random.Random(f"{wish.seed} caller {number}"))
        for number in range(wish.callers)
    ]
    await asyncio.gather(*paying)
    # Kills that are left come while only readers are there.
    await killer
    done.set()
    await asyncio.gather(*beside)


async def _kill(served: Served, second_port: int, wish: Wish, outcome: Outcome) -> None:
    draw = random.Random(f"{wish.seed} kills")
    for number in range(wish.kills):
        await asyncio.sleep(draw.uniform(0.2, wish.pause))
        # Each is killed at least once; then whoever is drawn.
        name = VICTIMS[number] if number < len(VICTIMS) else draw.choice(VICTIMS)
        served.kill(name)
        await asyncio.sleep(draw.uniform(0, 0.3))
        _start(served, name, second_port)
        outcome.kills += 1
        outcome.tally.counts[f"kill -9 of {name}"] += 1
        if name == "ledger" or draw.random() < 0.5:
            # Half of the time the next one dies while this one still starts.
            await served.healthy(second_port if name == SECOND_API else None)


def _start(served: Served, name: str, second_port: int) -> None:
    if name == SECOND_API:
        served.start(name, command="api", port=second_port)
    else:
        served.start(name)


async def _hold_promises(
    callers: Callers, auditor: Auditor, ledger: LedgerClient, accounts: Sequence[int], seed: int
) -> None:
    """Hold everything that was told against the ledger."""
    tally = callers.tally
    balances = dict.fromkeys(accounts, FUNDS.minor)
    for order, answer in tally.paid.values():
        told = httpx.Response(200, content=answer).json()
        amount, fee = (Money.parse(str(told[name]), USDT).minor for name in ("amount", "fee"))
        if amount != int(Decimal(order.cents) * 10**USDT.scale / 100):
            tally.violations.append(f"payment {order.id} was answered with {told['amount']}")
        balances[accounts[order.payer]] -= amount + fee
        balances[accounts[order.payee]] += amount
    for account in await auditor.read():
        if account.id in balances and account.credits_posted - account.debits_posted != balances[account.id]:
            tally.violations.append(f"account {account.id:x} has not what its payments say")
    for ids, there in ((list(tally.paid), True), (list(tally.refused), False)):
        for at in range(0, len(ids), 1_000):
            part = [UUID(one).int for one in ids[at : at + 1_000]]
            found = [one.id for one in await ledger.lookup_transfers(part)]
            if found != (part if there else []):
                tally.violations.append(f"{len(found)} of {len(part)} payments are there, wanted {there}")
    draw = random.Random(f"{seed} end")
    chosen = draw.sample(sorted(tally.paid), min(REPLAYED_AT_END, len(tally.paid)))
    await asyncio.gather(*(callers.again(*tally.paid[one], draw) for one in chosen))


def main() -> None:
    """Run the long form on a PostgreSQL of its own, and tell what was seen."""
    parser = argparse.ArgumentParser(description="kill -9 among payments, and check every promise")
    parser.add_argument("--wallets", type=int, default=50)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--payments", type=int, default=100, help="of each caller")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    began = time.perf_counter()
    wish = Wish(asked.wallets, asked.callers, asked.payments, asked.kills, asked.seed)
    with tempfile.TemporaryDirectory(prefix="nugpay-bank-") as home, fresh_database() as url:
        outcome = asyncio.run(attacked(url, Path(home), wish))
    print(
        f"{outcome.kills} kills in {time.perf_counter() - began:.0f} s: {len(outcome.tally.paid):,} paid, "
        f"{len(outcome.tally.refused):,} refused, {outcome.sums_read:,} readings of all balances"
    )
    for what, count in sorted(outcome.tally.counts.items()):
        print(f"{count:>8,}  {what}")
    for violation in outcome.tally.violations[:20]:
        print(f"VIOLATED: {violation}", file=sys.stderr)
    sys.exit(not outcome.holds)


if __name__ == "__main__":
    main()
