"""Weather of a treasury's life: what issuers, fee markets, nodes and clocks do to it.

Tokens are paused and addresses frozen and, some steps later, let go again; the base
fee jumps while a payment is in the pool; the pool forgets; the node is killed and
comes back with the chain as it was saved last; the machine's clock is set. Each kind
is counted, so that a long run can tell that it met them all.
"""

from __future__ import annotations

import contextlib
import gzip
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from chain.administration import AdministrationFailed
from chain.calldata import calldata, decoded, hexadecimal
from chain.errors import RPCUnavailable
from chain.models import ChainAttempt
from tests.fixtures.anvil import Anvil, running_anvil
from tests.treasury.life import Life
from tests.treasury.moves import administer

DEPTH_MAX = 64
"""Deepest reorg: what is below it is final."""
EPOCH_SLOTS = DEPTH_MAX // 2
"""anvil's final block is two epochs behind its head."""

GWEI = 10**9
STUCK_SECONDS = 130
"""A little more than the sender waits before it offers more."""


@dataclass
class Weather(Life):
    """A life in which more goes wrong than its own doing; ``done`` counts it by kind."""

    done: Counter[str] = field(default_factory=Counter)
    nodes: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """The nodes that came after the first one."""
    floor: int = 0
    """Where the node came up last: it has no states of earlier blocks to go back to."""

    async def step(self) -> None:
        if self.draw.random() < 0.2:
            await self.clear_up()
        await super().step()

    async def deposit(self) -> None:
        try:
            await super().deposit()
        except AdministrationFailed:
            self.done["deposits refused by the token"] += 1

    async def send_to_the_vault(self) -> None:
        with contextlib.suppress(AdministrationFailed):
            await super().send_to_the_vault()

    async def pause(self) -> None:
        """The issuer stops the token, or the guardian the vault."""
        contract = self.draw.choice([self.treasury.contracts.token(), self.treasury.custody.vault])
        if not self._says(contract, "paused()"):
            await administer(self.treasury, contract, "pause()")
            self.done["pauses"] += 1

    async def freeze(self) -> None:
        """The issuer freezes somebody who is paid, or a customer's deposit address."""
        address = self.draw.choice(await self._freezable())
        await administer(self.treasury, self.treasury.contracts.token(), "freeze(address)", address)
        self.done["freezes"] += 1

    async def clear_up(self) -> None:
        """Everything is let go that the chain says is paused or frozen, whatever reorgs made of it."""
        token = self.treasury.contracts.token()
        for contract in (token, self.treasury.custody.vault):
            if self._says(contract, "paused()"):
                await administer(self.treasury, contract, "unpause()")
                self.done["pauses ended"] += 1
        for address in await self._freezable():
            if self._says(token, "frozen(address)", address):
                await administer(self.treasury, token, "unfreeze(address)", address)
                self.done["freezes ended"] += 1

    async def _freezable(self) -> list[str]:
        return self.receivers + [await self.treasury.address(wallet_id) for wallet_id in self.wallets]

    def _says(self, contract: str, signature: str, *arguments: str) -> bool:
        call = {"to": contract, "data": hexadecimal(calldata(signature, *arguments))}
        return bool(decoded("bool", self.treasury.contracts.node.call("eth_call", call, "latest")))

    async def dear_gas(self) -> None:
        """The base fee jumps while payments are in the pool, which then forgets them: too cheap for it."""
        if await self._with_payments_in_the_pool():
            node = self.treasury.contracts.node
            node.call("anvil_setNextBlockBaseFeePerGas", hex(self.draw.choice([3, 30, 60]) * GWEI))
            node.mine(1)
            self.done["fee storms"] += 1
        self.treasury.contracts.node.set_automine(on=True)
        self.treasury.clock.advance(seconds=self.draw.choice([0, STUCK_SECONDS]))

    async def forget(self) -> None:
        """The pool forgets payments that it had taken."""
        for tx_hash in await self._with_payments_in_the_pool():
            self.treasury.contracts.node.drop(tx_hash)
            self.done["txs forgotten by the pool"] += 1
        self.treasury.contracts.node.set_automine(on=True)

    async def _with_payments_in_the_pool(self) -> list[str]:
        """Ask for a few and send what may be sent, while no block is made; what waits in the pool."""
        node = self.treasury.contracts.node
        await self.quiet()
        node.set_automine(on=False)
        for _ in range(self.draw.randint(1, 3)):
            await self.withdraw()
        await self.treasury.advance()
        waiting = node.call("txpool_content")["pending"]
        return [tx["hash"] for by_nonce in waiting.values() for tx in by_nonce.values()]

    async def jump(self) -> None:
        """The machine's clock is set, back as often as on."""
        self.treasury.clock.advance(seconds=self.draw.choice([-86_400, -600, -30, 600, 86_400]))
        self.done["jumps of the clock"] += 1

    async def restart(self) -> None:
        """The node is killed and comes back as it was saved some blocks before; the pool is gone too."""
        node, home = self.treasury.contracts.node, self.treasury.contracts.home
        await self.quiet()
        saved = node.block_number()
        genesis = int(node.call("eth_getBlockByNumber", "0x0", False)["timestamp"], 16)
        path = home / "saved.json"
        path.write_bytes(gzip.decompress(bytes.fromhex(node.call("anvil_dumpState")[2:])))
        for move in self.draw.choices([self.deposit, self.withdraw, self.work], k=self.draw.randint(0, 4)):
            await move()
        node.mine(self.draw.randint(1, 3))
        known = await self.treasury.follow()
        assert known.finalized <= saved, "what was final would not come back"
        node.process.kill()
        node.process.wait()
        if self.draw.random() < 0.3:
            await self._meet_no_node()
        node.process = self.nodes.enter_context(self._again(path, node.port, genesis)).process
        # It would go on at the time of block 0.
        node.call("evm_setTime", int(node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 1)
        assert node.block_number() == saved
        self.floor = saved
        await self.treasury.follow()
        # Saved without the states of older blocks, which take minutes in a long chain: what is final
        # then, and both books are compared at, is younger.
        node.mine(DEPTH_MAX + 1)
        self.done["node restarts"] += 1

    def _again(self, state: Path, port: int, genesis: int) -> AbstractContextManager[Anvil]:
        """The node once more. A state file has no block 0: it is made anew, the same if its time is."""
        arguments = ("--load-state", str(state), "--timestamp", str(genesis))
        log = state.with_name(f"node-{self.done['node restarts']}.log")
        return running_anvil(log, *arguments, port=port, epoch_slots=EPOCH_SLOTS)

    async def _meet_no_node(self) -> None:
        try:
            await self.treasury.follow()
        except RPCUnavailable:
            self.done["steps without a node"] += 1
        else:
            raise AssertionError("the node was killed and answers")

    def depth_of(self, deepest: int) -> int:
        """Every depth, and shallow ones more often, so that something becomes final in between."""
        deepest = min(deepest, max(1, self.treasury.contracts.node.block_number() - self.floor))
        return min(self.draw.randint(1, deepest) for _ in range(self.draw.choice([1, 2, 6])))

    async def replacements(self) -> int:
        """How often more was offered for a transaction than before."""
        async with self.treasury.database.session() as session:
            attempts = func.count() - func.count(ChainAttempt.order_id.distinct())
            return await session.scalar(select(attempts).select_from(ChainAttempt)) or 0
