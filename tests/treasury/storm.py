"""A storm of reorgs: deposits, payments and withdrawals while the chain is rewritten all the time.

    .venv/bin/python -m tests.treasury.storm --seed 1 --reorgs 1000

Reorgs of depth 1 to 64 drop blocks; some of the dropped transactions are mined again
at once in other blocks, some later, some never. The worker's tasks run in any order
between them, and processes die in the middle. Tokens are paused and addresses frozen,
gas becomes dear, the node is killed, clocks are set, tokens go to the cold address, and
now and then one of two endpoints lies or lags. After every reorg the mirror follows,
deposits are booked and both books are compared: they must agree at each final block,
and nothing but a lie may trip the breaker, which two officers then release. In the end
the chain itself is asked what came to each customer's address, and the ledger what it
credited: the same transfers, each once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from benchmarks.laboratory import fresh_database
from chain.models import ChainAttempt, ChainOrder, OrderKind
from chain.order_status import OrderState
from chain.rpc import RPC
from chain.signer_policy import SignerPolicy
from chain.transfer_columns import TRANSFER_TOPIC
from foundation.assets import USDT
from foundation.clock import SettableClock
from foundation.database import Database
from ledger.chart import AccountCode, TransferCode, open_system_accounts, wallet_account_id
from ledger.contract import BATCH_MAX, AccountFilter, AccountFilterFlags
from ledger.engine import LedgerEngine
from tests.fixtures.anvil import running_anvil
from tests.fixtures.contracts import CAPS, deploy_contracts, running_signer
from tests.fixtures.lying_node import lying_node
from tests.fixtures.officers import OfficerDevice, p256_officer
from tests.treasury.cold import COLD, ask, carry, record
from tests.treasury.conftest import Treasury, treasury_of
from tests.treasury.distrust import Distrust, WaryTreasury
from tests.treasury.moves import administer, signed_by
from tests.treasury.weather import DEPTH_MAX, EPOCH_SLOTS
from treasury.cold_models import TreasuryColdMove
from treasury.models import TreasuryDeparture

KINDS = (
    "txs mined again",
    "jumps of the clock",
    "cold moves made",
    "pauses",
    "freezes",
    "deposits refused by the token",
    "fee storms",
    "txs replaced by dearer ones",
    "txs forgotten by the pool",
    "node restarts",
    "steps without a node",
    *(
        f"{kind} of the {which} endpoint"
        for kind in ("fork", "false log", "false receipts", "false balances", "lag", "nonsense")
        for which in ("first", "second")
    ),
    "false transfers found later",
    "trips released by officers",
    "payout_batch sent",
    "sweep_batch sent",
    "deposits credited",
    "withdrawals paid",
)
"""What a long run must have met, each at least once."""

Say = Callable[[str], None]


@dataclass
class Storm(Distrust):
    """A life with more reorgs than anything else, each followed by a look at both books."""

    def moves(self) -> dict[Any, int]:
        return {
            self.deposit: 8,
            self.pay: 4,
            self.withdraw: 6,
            self.work: 8,
            self.die: 4,
            self.mine: 6,
            self.reorg: 16,
            self.send_to_the_vault: 2,
            self.jump: 2,
            self.cold: 2,
            self.pause: 1,
            self.freeze: 1,
            self.dear_gas: 2,
            self.forget: 1,
            self.restart: 1,
            self.lie: 3,
        }

    async def begin(self) -> None:
        """The contracts, the vault's cold address and a first deposit each are final before anything else."""
        for officer in self.officers:
            await officer.enrol(self.treasury.database, self.treasury.clock)
        await administer(self.treasury, self.treasury.custody.vault, "setColdAddress(address)", COLD)
        await super().begin()
        # Everybody has something to spend, whatever becomes of later deposits.
        for wallet_id in self.wallets:
            await self.treasury.contracts.mint(await self.treasury.address(wallet_id), 200_000_000)
        self.treasury.contracts.node.mine(DEPTH_MAX + 1)
        await self.treasury.follow()
        await self.treasury.book()
        assert await record(self.treasury)

    async def mine(self) -> None:
        self.treasury.contracts.node.mine(self.draw.choice([1, 3, DEPTH_MAX]))

    async def cold(self) -> None:
        """People ask for a move to the cold."""
        await ask(self.treasury, f"{self.draw.randrange(1, 40)}.{self.draw.randrange(10**6):06}")
        self.done["cold moves asked for"] += 1

    async def withdraw(self) -> None:
        """Several at once as often as one, so that they are ready together."""
        for _ in range(self.draw.choice([1, 1, 3])):
            await super().withdraw()

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
        self.done["txs mined again"] += count
        offsets = sorted(self.draw.randrange(depth) for _ in range(count))
        raws = [node.call("eth_getRawTransactionByHash", tx) for tx in dropped[:count]]
        return list(zip(raws, offsets, strict=True))

    async def reorg(self) -> None:
        await super().reorg()
        # A node whose state is gone is no chain that anything could be tried on.
        code = self.treasury.contracts.node.call("eth_getCode", self.treasury.custody.vault, "latest")
        assert code != "0x", "anvil has lost its state"
        await self.look_at_the_books()

    async def restart(self) -> None:
        await super().restart()
        await self.look_at_the_books()

    async def others_under_way(self) -> int:
        return (await carry(self.treasury)).open

    async def end(self, finality: int) -> Counter[str]:
        await self.clear_up()
        # A lie of before is found by then at the latest, and the officers have released it.
        self.treasury.contracts.node.mine(finality)
        await self.look_at_the_books()
        return await super().end(finality)

    async def check_against_the_chain(self) -> None:
        """Every transfer that is on chain was credited, once, and nothing else was."""
        for wallet_id in self.wallets:
            address = await self.treasury.address(wallet_id)
            on_chain = Counter(self._arrived_on_chain(address))
            assert on_chain == Counter(await self._credited(wallet_id)), wallet_id
        paid_out = sum(self.treasury.contracts.balance(receiver) for receiver in self.receivers)
        assert paid_out == await self._settled()
        assert self.treasury.contracts.balance(COLD) == await self._moved_to_the_cold()
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
        self.done["deposits credited"] += len(found)
        return [(one.user_data_128, one.user_data_32, one.amount) for one in found]

    async def _settled(self) -> int:
        """What the ledger says was paid out on chain; fees are kept."""
        custody = await self.treasury.system(AccountCode.CUSTODY)
        return custody.credits_posted

    async def _moved_to_the_cold(self) -> int:
        async with self.treasury.database.session() as session:
            moved = select(func.coalesce(func.sum(TreasuryColdMove.amount), 0), func.count()).where(
                TreasuryColdMove.outcome == OrderState.SUCCEEDED
            )
            units, count = (await session.execute(moved)).one()
        self.done["cold moves made"] = count
        return int(units)

    async def count_what_was_sent(self) -> None:
        """Of the tables, what was sent and what came of it."""
        async with self.treasury.database.session() as session:
            paid = select(func.count()).select_from(TreasuryDeparture)
            self.done["withdrawals paid"] = await session.scalar(paid) or 0
            for kind in (OrderKind.PAYOUT_BATCH, OrderKind.SWEEP_BATCH):
                signed = select(ChainAttempt.order_id).where(ChainAttempt.order_id == ChainOrder.id).exists()
                sent = select(func.count()).select_from(ChainOrder).where(ChainOrder.kind == kind, signed)
                self.done[f"{kind} sent"] = await session.scalar(sent) or 0
        self.done["txs replaced by dearer ones"] = await self.replacements()


async def rage(treasury: Treasury, *, seed: int, reorgs: int, say: Say) -> Storm:
    """So many reorgs, and what comes after them; an assertion fails where the books differ."""
    officers = (OfficerDevice("may"), p256_officer("hla"))
    policy = SignerPolicy(caps=CAPS, officers=tuple(one.in_policy() for one in officers))
    node_url = treasury.contracts.node.url
    treasury = WaryTreasury(**{one.name: getattr(treasury, one.name) for one in fields(treasury)})
    with contextlib.ExitStack() as nodes, lying_node(node_url) as liar:
        treasury.check, through_liar = RPC(node_url), RPC(liar.url)
        async with signed_by(treasury, policy):
            storm = Storm(
                treasury,
                random.Random(seed),
                DEPTH_MAX,
                nodes=nodes,
                liar=liar,
                through_liar=through_liar,
                officers=officers,
            )
            try:
                await _rage(storm, reorgs, say)
            finally:
                await treasury.check.close()
                await through_liar.close()
    return storm


async def _rage(storm: Storm, reorgs: int, say: Say) -> None:
    await storm.begin()
    # Each kind once, so that a short run meets them too; then as it comes.
    for move in storm.draw.sample(list(storm.moves()), len(storm.moves())):
        await move()
    told = 0
    while storm.reorgs < reorgs:
        await storm.step()
        if storm.reorgs >= told + 50:
            told = storm.reorgs
            compared = storm.done["final blocks compared"]
            say(f"{told} reorgs, {compared} blocks compared, {storm.deaths} deaths")
    waited = await storm.end(DEPTH_MAX + 1)
    say(f"at the end withdrawals waited for: {dict(waited)}")
    await storm.look_at_the_books()
    await storm.check_against_the_chain()
    await storm.count_what_was_sent()


@asynccontextmanager
async def sea(home: Path, database_url: str) -> AsyncIterator[Treasury]:
    """A treasury on a chain, a ledger and a signer of its own."""
    clock = SettableClock()
    with running_anvil(home / "anvil.log", epoch_slots=EPOCH_SLOTS) as node:
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
    for kind, count in sorted((storm.done | {"deaths of the worker": storm.deaths}).items()):
        print(f"{count:6} {kind}")
    never = [kind for kind in KINDS if not storm.done[kind]]
    assert not never, f"these never happened: {never}"
    blocks, credited = storm.done["final blocks compared"], storm.done["deposits credited"]
    print(
        f"seed {seed}: {storm.reorgs} reorgs; both books equal at each of {blocks} final blocks, "
        f"{credited} deposits credited, each once, {storm.done['withdrawals paid']} withdrawals paid; "
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
