"""A storm of reorgs: deposits, payments and withdrawals while the chain is rewritten all the time.

    .venv/bin/python -m tests.treasury.storm --seed 1 --reorgs 1000

Reorgs of depth 1 to 64 drop blocks; some of the dropped transactions are mined again
at once in other blocks, some later, some never. The worker's tasks run in any order
between them, and processes die in the middle. After every reorg the mirror follows,
deposits are booked and both books are compared: they must agree at each final block.
In the end the chain itself is asked what came to each customer's address, and the
ledger what it credited: the same transfers, each once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from benchmarks.laboratory import fresh_database
from chain.transfer_columns import TRANSFER_TOPIC
from foundation.assets import USDT
from foundation.clock import SettableClock
from foundation.database import Database
from ledger.chart import AccountCode, TransferCode, open_system_accounts, wallet_account_id
from ledger.contract import BATCH_MAX, AccountFilter, AccountFilterFlags
from ledger.engine import LedgerEngine
from tests.fixtures.anvil import running_anvil
from tests.fixtures.contracts import deploy_contracts, running_signer
from tests.treasury.conftest import Treasury, treasury_of
from tests.treasury.life import Life
from tests.treasury.moves import tripped
from treasury.models import TreasuryDeparture

DEPTH_MAX = 64
"""Deepest reorg: what is below it is final."""
EPOCH_SLOTS = DEPTH_MAX // 2
"""anvil's final block is two epochs behind its head."""

STATES_MAX = 1_000
"""States that the node keeps in memory, some 0.8 MB each; no reorg goes back so far."""

Say = Callable[[str], None]


class Storm(Life):
    """A life with more reorgs than anything else, each followed by a look at both books."""

    blocks_compared = 0
    mined_again = 0
    jumps = 0
    credited = 0
    paid = 0

    def moves(self) -> dict[Any, int]:
        return {
            self.deposit: 4,
            self.pay: 2,
            self.withdraw: 3,
            self.work: 3,
            self.die: 2,
            self.mine: 3,
            self.reorg: 8,
            self.send_to_the_vault: 1,
            self.jump: 1,
        }

    def depth_of(self, deepest: int) -> int:
        """Every depth, and shallow ones more often, so that something becomes final in between."""
        return min(self.draw.randint(1, deepest) for _ in range(self.draw.choice([1, 2, 6])))

    async def mine(self) -> None:
        self.treasury.contracts.node.mine(self.draw.choice([1, 3, DEPTH_MAX]))

    async def jump(self) -> None:
        """The machine's clock is set, back as often as on."""
        self.treasury.clock.advance(seconds=self.draw.choice([-86_400, -600, -30, 600, 86_400]))
        self.jumps += 1

    def kept(self, depth: int) -> list[tuple[str, int]]:
        """Some of the txs of the last blocks, to be mined again in others; in order, since nonces are."""
        node = self.treasury.contracts.node
        head = node.block_number()
        dropped = [
            tx
            for number in range(head - depth + 1, head + 1)
            for tx in node.call("eth_getBlockByNumber", hex(number), False)["transactions"]
        ]
        count = self.draw.choice([0, self.draw.randint(0, len(dropped)), len(dropped)])
        self.mined_again += count
        offsets = sorted(self.draw.randrange(depth) for _ in range(count))
        raws = [node.call("eth_getRawTransactionByHash", tx) for tx in dropped[:count]]
        return list(zip(raws, offsets, strict=True))

    async def reorg(self) -> None:
        await super().reorg()
        # A node whose state is gone is no chain that anything could be tried on.
        code = self.treasury.contracts.node.call("eth_getCode", self.treasury.custody.vault, "latest")
        assert code != "0x", "anvil has lost its state"
        await self.look_at_the_books()

    async def look_at_the_books(self) -> None:
        await self.treasury.follow()
        await self.treasury.book()
        results = await self.treasury.reconcile()
        assert all(result.agrees for result in results), results
        self.blocks_compared += bool(results)

    async def check_against_the_chain(self) -> None:
        """Every transfer that is on chain was credited, once, and nothing else was."""
        assert await tripped(self.treasury) is None
        for wallet_id in self.wallets:
            address = await self.treasury.address(wallet_id)
            on_chain = Counter(self._arrived_on_chain(address))
            assert on_chain == Counter(await self._credited(wallet_id)), wallet_id
        paid_out = sum(self.treasury.contracts.balance(receiver) for receiver in self.receivers)
        assert paid_out == await self._settled()
        async with self.treasury.database.session() as session:
            self.paid = await session.scalar(select(func.count()).select_from(TreasuryDeparture)) or 0
        in_flight = await self.treasury.system(AccountCode.WITHDRAWAL_IN_FLIGHT)
        assert in_flight.credits_pending == 0
        assert in_flight.credits_posted == in_flight.debits_posted

    def _arrived_on_chain(self, address: str) -> list[tuple[int, int, int]]:
        """Half of the tx hash, log index and units of each transfer to an address, as the node has them."""
        query = {
            "fromBlock": "0x0",
            "toBlock": "latest",
            "address": self.treasury.contracts.token(),
            "topics": [TRANSFER_TOPIC, None, "0x" + address[2:].rjust(64, "0")],
        }
        return [
            (int(log["transactionHash"][2:34], 16), int(log["logIndex"], 16), int(log["data"], 16))
            for log in self.treasury.contracts.node.call("eth_getLogs", query)
        ]

    async def _credited(self, wallet_id: UUID) -> list[tuple[int, int, int]]:
        found = await self.treasury.ledger.get_account_transfers(
            AccountFilter(
                account_id=wallet_account_id(wallet_id, USDT),
                code=int(TransferCode.DEPOSIT),
                limit=BATCH_MAX,
                flags=int(AccountFilterFlags.CREDITS),
            )
        )
        assert len(found) < BATCH_MAX
        self.credited += len(found)
        return [(one.user_data_128, one.user_data_32, one.amount) for one in found]

    async def _settled(self) -> int:
        """What the ledger says was paid out on chain; fees are kept."""
        custody = await self.treasury.system(AccountCode.CUSTODY)
        return custody.credits_posted


async def rage(treasury: Treasury, *, seed: int, reorgs: int, say: Say) -> Storm:
    """So many reorgs, and what comes after them; an assertion fails where the books differ."""
    storm = Storm(treasury, random.Random(seed), DEPTH_MAX)
    await storm.begin()
    told = 0
    while storm.reorgs < reorgs:
        await storm.step()
        if storm.reorgs >= told + 50:
            told = storm.reorgs
            say(f"{told} reorgs, {storm.blocks_compared} blocks compared, {storm.deaths} deaths")
    await storm.end(DEPTH_MAX + 1)
    await storm.look_at_the_books()
    await storm.check_against_the_chain()
    return storm


@asynccontextmanager
async def sea(home: Path, database_url: str) -> AsyncIterator[Treasury]:
    """A treasury on a chain, a ledger and a signer of its own."""
    clock = SettableClock()
    # anvil 1.7.1 puts older states on disk and loses some on the way: a reorg that goes back
    # to such a block leaves a chain without contracts. So what may be gone back to stays in memory.
    memory = ("--prune-history", str(STATES_MAX))
    with running_anvil(home / "anvil.log", *memory, epoch_slots=EPOCH_SLOTS) as node:
        contracts = await deploy_contracts(node, home)
        database = Database(database_url)
        ledger = await LedgerEngine.start(database_url, clock)
        try:
            await open_system_accounts(ledger)
            async with (
                running_signer(contracts, database, clock) as signer,
                treasury_of(database, ledger, clock, contracts, signer) as treasury,
            ):
                yield treasury
        finally:
            await ledger.close()
            await database.close()


async def _run(home: Path, url: str, seed: int, reorgs: int) -> None:
    began = time.monotonic()
    async with sea(home, url) as treasury:
        storm = await rage(treasury, seed=seed, reorgs=reorgs, say=lambda text: print(text, flush=True))
    print(
        f"seed {seed}: {storm.reorgs} reorgs, {storm.mined_again} txs mined again, {storm.deaths} deaths, "
        f"{storm.jumps} jumps of the clock; {storm.blocks_compared} final blocks compared, both books equal "
        f"at each; {storm.credited} deposits credited, each once, {storm.paid} withdrawals paid; "
        f"{time.monotonic() - began:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reorgs", type=int, default=1000)
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.reorgs} reorgs", flush=True)
    # The directory's path is short, since Unix sockets live in it.
    with tempfile.TemporaryDirectory(prefix="nug-") as home, fresh_database() as url:
        asyncio.run(_run(Path(home), url, asked.seed, asked.reorgs))


if __name__ == "__main__":
    main()
