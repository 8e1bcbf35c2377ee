"""A life of a treasury: what its customers and its worker do in any order, and what must hold then."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, wallet_account_id
from ledger.contract import CreateTransferStatus, Transfer
from tests.treasury.conftest import Treasury
from tests.treasury.mortality import Died, Fate, MortalRPC
from tests.treasury.moves import mortal_treasury, tripped
from treasury.deposits import DepositState, list_deposits
from treasury.withdrawals import WithdrawalState, list_withdrawals

QUIET_SECONDS = 30.0
"""How long a busy machine may take to mine what is in the pool."""

ENDING_WAITS = ((10, 30), (50, 3_601), (60, 86_401))
"""Rounds in which everything comes to rest, and the seconds after each: a fee that is too low waits two
minutes, the signer's caps wait an hour and a day, and a clock that went back makes both longer."""

Task = Callable[[], Awaitable[Any]]


@dataclass
class Life:
    """One treasury, the draws that move it, and what its customers believe."""

    treasury: Treasury
    draw: random.Random
    depth: int
    """Deepest reorg; never beyond finality."""
    wallets: list[UUID] = field(default_factory=list)
    receivers: list[str] = field(default_factory=list)
    paid_between: dict[UUID, int] = field(default_factory=dict)
    reorgs: int = 0
    deaths: int = 0

    async def begin(self) -> None:
        self.treasury.contracts.node.mine(70)
        self.wallets = [await self.treasury.wallet() for _ in range(3)]
        self.receivers = [f"0x{self.draw.getrandbits(160):040x}" for _ in range(3)]
        self.paid_between = dict.fromkeys(self.wallets, 0)

    async def step(self) -> None:
        moves = self.moves()
        await self.draw.choices(list(moves), weights=list(moves.values()))[0]()
        self.treasury.clock.advance(seconds=self.draw.choice([0, 1, 5, 150]))

    def moves(self) -> dict[Any, int]:
        """What may happen, and how often beside the others."""
        return {
            self.deposit: 5,
            self.pay: 3,
            self.withdraw: 4,
            self.work: 8,
            self.die: 3,
            self.mine: 4,
            self.reorg: 3,
            self.send_to_the_vault: 1,
        }

    async def deposit(self) -> None:
        wallet_id = self.draw.choice(self.wallets)
        address = await self.treasury.address(wallet_id)
        await self.treasury.contracts.mint(address, self.draw.randrange(1, 200_000_000))

    async def send_to_the_vault(self) -> None:
        await self.treasury.contracts.mint(self.treasury.custody.vault, self.draw.randrange(1, 9_000_000))

    async def pay(self) -> None:
        payer, payee = self.draw.sample(self.wallets, 2)
        amount = self.draw.randrange(1, 50_000_000)
        (result,) = await self.treasury.ledger.create_transfers(
            [
                Transfer(
                    id=uuid7(self.treasury.clock).int,
                    debit_account_id=wallet_account_id(payer, USDT),
                    credit_account_id=wallet_account_id(payee, USDT),
                    amount=amount,
                    ledger=USDT.ledger,
                    code=int(TransferCode.PAYMENT),
                )
            ]
        )
        if result.status is CreateTransferStatus.CREATED:
            self.paid_between[payer] -= amount
            self.paid_between[payee] += amount

    async def withdraw(self) -> None:
        amount = self.draw.randrange(1, 60_000_000)
        # More than the wallet has, as often as not.
        with contextlib.suppress(Refusal):
            await self.treasury.request(
                self.draw.choice(self.wallets),
                f"{amount // 10**6}.{amount % 10**6:06}",
                to_address=self.draw.choice(self.receivers),
            )

    async def work(self, treasury: Treasury | None = None) -> None:
        """A few of the worker's tasks, in any order."""
        for task in self.draw.choices(self.tasks(treasury or self.treasury), k=self.draw.randint(1, 4)):
            await task()
        if self.draw.random() < 0.5:
            assert all(result.agrees for result in await self.treasury.reconcile())

    def tasks(self, worker: Treasury) -> list[Task]:
        """What the worker does."""
        return [worker.follow, worker.book, worker.advance, worker.sweep]

    async def die(self) -> None:
        """The same by a process that dies somewhere in it."""
        fate = Fate(self.draw.randint(1, 25))
        rpc = MortalRPC(self.treasury.contracts.node.url, fate)
        try:
            await self.work(mortal_treasury(self.treasury, fate, rpc))
        except Died:
            self.deaths += 1
        finally:
            await rpc.close()

    async def mine(self) -> None:
        self.treasury.contracts.node.mine(self.draw.randint(1, 3))

    async def reorg(self) -> None:
        """Blocks are replaced, after everything in the pool has been mined."""
        node = self.treasury.contracts.node
        await self.quiet()
        node.mine(1)
        head = node.block_number()
        known = await self.treasury.follow()
        # Never below what the mirror knows as final: that is another story.
        deepest = min(self.depth, head - known.finalized)
        depth = self.depth_of(max(1, deepest))
        node.reorg(depth, self.kept(depth))
        self.reorgs += 1

    async def quiet(self) -> None:
        """Wait until the node has mined what is in its pool: it does so a moment after it has answered."""
        deadline = time.monotonic() + QUIET_SECONDS
        while int(self.treasury.contracts.node.call("txpool_status")["pending"], 16):
            assert time.monotonic() < deadline, "the pool is never empty"
            await asyncio.sleep(0.002)

    def depth_of(self, deepest: int) -> int:
        """How many blocks a reorg replaces."""
        return self.draw.randint(1, deepest)

    def kept(self, depth: int) -> list[tuple[str, int]]:  # noqa: ARG002 - for those that keep some.
        """Transactions of the last blocks that are mined again at once: none of them."""
        return []

    async def end(self, finality: int) -> Counter[str]:
        """Let everything come to rest; what withdrawals waited for until then, and how often."""
        node = self.treasury.contracts.node
        waited: Counter[str] = Counter()
        for seconds in (seconds for rounds, seconds in ENDING_WAITS for _ in range(rounds)):
            node.mine(finality)
            await self.treasury.follow()
            await self.treasury.book()
            await self.treasury.sweep()
            report = await self.treasury.advance()
            waited.update(trouble.split(":")[0] for trouble in report.troubles)
            if report.sent == report.waiting == await self.others_under_way() == 0:
                break
            self.treasury.clock.advance(seconds=seconds)
        else:
            raise AssertionError(f"withdrawals never come to rest: {report}, {waited}")
        node.mine(finality)
        await self.treasury.follow()
        await self.treasury.book()
        return waited

    async def others_under_way(self) -> int:
        """How much else is on its way that must come to rest: nothing here."""
        return 0

    async def check(self) -> None:
        results = await self.treasury.reconcile()
        assert len(results) == 2
        assert all(result.agrees and result.items == () for result in results), results
        assert await tripped(self.treasury) is None
        paid_out = 0
        for wallet_id in self.wallets:
            deposits = await list_deposits(
                self.treasury.database, self.treasury.ledger, self.treasury.custody, wallet_id=wallet_id
            )
            withdrawals = await list_withdrawals(
                self.treasury.database, self.treasury.ledger, wallet_id=wallet_id
            )
            assert len(deposits) < 100
            assert {deposit.state for deposit in deposits} <= {DepositState.CREDITED, DepositState.ORPHANED}
            assert {one.state for one in withdrawals} <= {WithdrawalState.PAID, WithdrawalState.REFUSED}
            paid = [one for one in withdrawals if one.state is WithdrawalState.PAID]
            credited = sum(one.amount for one in deposits if one.state is DepositState.CREDITED)
            spent = sum(one.amount.minor + one.fee.minor for one in paid)
            assert await self.treasury.minor(wallet_id) == credited + self.paid_between[wallet_id] - spent
            paid_out += sum(one.amount.minor for one in paid)
        on_chain = sum(self.treasury.contracts.balance(receiver) for receiver in self.receivers)
        assert on_chain == paid_out
        assert (await self.treasury.system(AccountCode.WITHDRAWAL_IN_FLIGHT)).credits_pending == 0
