"""A treasury that has two endpoints, one of which lies or lags now and then.

The worker's tasks run as they do in the worker, with the liar in the place of one
endpoint. Whatever it says, nothing is credited, returned or lost by it. A lie may trip the
breaker, as it should; what only lags or fails must not. Then two officers release it, once
the books agree at a new final block.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

from chain.errors import FollowerStopCode, FollowerStopped
from chain.follower import FollowReport
from chain.rpc import RPC
from foundation.assets import USDT
from foundation.errors import InvariantViolation, Refusal
from foundation.ids import uuid7
from tests.fixtures.lying_node import LyingNode, Rule, truth
from tests.fixtures.officers import OfficerDevice
from tests.treasury.cold import carry
from tests.treasury.conftest import Treasury
from tests.treasury.lies import (
    FalseBalances,
    FalseLog,
    FalseReceipts,
    FalseTransfer,
    Fork,
    Lag,
    Nonsense,
    is_a_lie,
)
from tests.treasury.life import Task
from tests.treasury.moves import release, sender_of, tools_of, tripped
from tests.treasury.weather import DEPTH_MAX, Weather
from treasury.breaker import trip_breaker
from treasury.hot_balances import HotBounds, HotPolicy, watch_hot_balances
from treasury.tasks import TREASURY_TASKS, _guarded

HOT = HotPolicy({USDT: HotBounds(0, 1_000_000 * 10**6, 1_000_200 * 10**6)}, makes_moves=True)
"""What the vault has at first, and little more: what is swept is moved on to the cold."""

DISAGREE = FollowerStopCode.ENDPOINTS_DISAGREE.value

WORK = tuple(name.removeprefix("treasury.") for name in TREASURY_TASKS)
"""The worker's tasks, as they run in it."""

BELIEVED_BY = {"false receipts of the": "advance_withdrawals", "false balances of the": "reconcile"}
"""The task that a lie is told to, where it is not the follower."""


@dataclass
class WaryTreasury(Treasury):
    """A treasury whose follower may find a lie of before; then it trips the breaker, as in the worker."""

    false_blocks: set[int] = field(default_factory=set)
    """Blocks in which a false transfer was told. The mirror may hold it until the block is to be final."""

    def explains(self, reason: str) -> bool:
        """Whether the breaker has tripped for such a lie."""
        return any(f"{DISAGREE}: in block {number} " in reason for number in self.false_blocks)

    async def follow(self) -> FollowReport:
        while True:
            try:
                return await super().follow()
            except FollowerStopped as stop:
                if not self.explains(str(stop)):
                    raise
                async with self.database.session() as session:
                    await trip_breaker(session, self.clock, self.custody.chain_id, reason=str(stop))


@dataclass
class Distrust(Weather):
    """A life in which no endpoint is believed alone."""

    treasury: WaryTreasury
    liar: LyingNode = field(kw_only=True)
    """Stands before the node; honest but for the length of one lie."""
    through_liar: RPC = field(kw_only=True)
    officers: tuple[OfficerDevice, OfficerDevice] = field(kw_only=True)

    def tasks(self, worker: Treasury) -> list[Task]:
        hot = partial(watch_hot_balances, worker.database, worker.rpc, worker.clock, worker.custody, HOT)
        return [*super().tasks(worker), partial(carry, worker), hot]

    async def look_at_the_books(self) -> None:
        await self.treasury.follow()
        await self.treasury.book()
        results = await self.treasury.reconcile()
        assert all(result.agrees for result in results), results
        if (reason := await tripped(self.treasury)) is not None:
            assert self.treasury.explains(reason), reason
            self.done["false transfers found later"] += 1
            await self._be_released()
        self.done["final blocks compared"] += bool(results)

    async def lie(self) -> None:
        """One of two endpoints lies or lags while the worker works: nothing is credited or lost by it."""
        node = self.treasury.contracts.node
        await self.quiet()
        node.mine(self.draw.randint(1, 3))
        kind, is_first = self.draw.choice(list(self._lies())), self.draw.random() < 0.7
        rule = await self._lies()[kind](is_first)
        told = replace(self.treasury)
        if is_first:
            told.rpc = self.through_liar
        else:
            told.check = self.through_liar
        told.sender = sender_of(told, self.treasury.sender._signer)
        self.liar.rule = rule
        names = ["follow_chain", "book_deposits", *self.draw.choices(WORK, k=self.draw.randint(1, 5))]
        for name in [*names, BELIEVED_BY.get(kind, "follow_chain")]:
            with contextlib.suppress(InvariantViolation):
                await _guarded(name, TREASURY_TASKS[f"treasury.{name}"])(replace(tools_of(told), hot=HOT))
        self.liar.rule = truth
        self.done[f"{kind} {'first' if is_first else 'second'} endpoint"] += 1
        if (reason := await tripped(self.treasury)) is not None:
            assert is_a_lie(rule) or self.treasury.explains(reason), reason
            await self._be_released()
        await self.look_at_the_books()

    def _lies(self) -> dict[str, Callable[[bool], Awaitable[Rule]]]:
        return {
            "fork of the": self._fork,
            "false log of the": self._false_log,
            "false receipts of the": self._false_receipts,
            "false balances of the": self._false_balances,
            "lag of the": self._lag,
            "nonsense of the": self._nonsense,
        }

    async def _fork(self, _is_first: bool) -> Rule:
        node = self.treasury.contracts.node
        first = node.block_number() - self.draw.randrange(DEPTH_MAX + 4)
        return Fork(node, await self._false_transfer(first), says_final=self.draw.random() < 0.7)

    async def _false_log(self, is_first: bool) -> Rule:
        # The first endpoint tells it in a block that the mirror has not heard of, so that it takes
        # it with the block; the second is asked about transfers when they are to be final.
        node = self.treasury.contracts.node
        number = node.block_number() - (0 if is_first else DEPTH_MAX)
        self.treasury.false_blocks.add(number)
        return FalseLog(node, await self._false_transfer(number))

    async def _false_receipts(self, _is_first: bool) -> Rule:
        return FalseReceipts(self.treasury.contracts.node)

    async def _false_balances(self, _is_first: bool) -> Rule:
        return FalseBalances()

    async def _lag(self, _is_first: bool) -> Rule:
        node = self.treasury.contracts.node
        seen = node.block_number() - self.draw.randint(1, 20)
        return Lag(node, seen, max(0, seen - DEPTH_MAX))

    async def _nonsense(self, _is_first: bool) -> Rule:
        return Nonsense(random.Random(self.draw.random()))

    async def _false_transfer(self, number: int) -> FalseTransfer:
        address = await self.treasury.address(self.draw.choice(self.wallets))
        return FalseTransfer(self.treasury.contracts.token(), address, self.draw.randrange(1, 10**9), number)

    async def _be_released(self) -> None:
        """The lie is over: at a new final block the books agree, and two officers sign."""
        self.done["trips released by officers"] += 1
        self.treasury.clock.advance(seconds=1)
        await self.treasury.follow()
        self.treasury.contracts.node.mine(DEPTH_MAX + 1)
        await self.treasury.follow()
        await self.treasury.book()
        assert all(result.agrees for result in await self.treasury.reconcile())
        while await tripped(self.treasury) is not None:
            await release(self.treasury, *self.officers)
        # The signer counts the signatures while they live: at the next question, whatever it is.
        with contextlib.suppress(Refusal):
            await self.treasury.sender.check(uuid7(self.treasury.clock))
