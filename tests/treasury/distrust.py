"""A treasury that has two endpoints, one of which lies or lags now and then.

The worker's tasks run as they do in the worker, with the liar in the place of one
endpoint. Whatever it says, nothing is credited, returned or lost by it. A lie may trip the
breaker, as it should; what only lags or fails must not. Then two officers release it, once
the books agree at a new final block.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

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
from treasury.hot_balances import HotBounds, HotPolicy, watch_hot_balances
from treasury.tasks import TREASURY_TASKS, _guarded

HOT = HotPolicy({USDT: HotBounds(0, 1_000_000 * 10**6, 1_000_200 * 10**6)}, makes_moves=True)
"""What the vault has at first, and little more: what is swept is moved on to the cold."""

WORK = tuple(name.removeprefix("treasury.") for name in TREASURY_TASKS)
"""The worker's tasks, as they run in it."""


@dataclass
class Distrust(Weather):
    """A life in which no endpoint is believed alone."""

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
        assert (reason := await tripped(self.treasury)) is None, reason
        self.done["final blocks compared"] += bool(results)

    async def lie(self) -> None:
        """One of two endpoints lies or lags while the worker works: nothing is credited or lost by it."""
        node = self.treasury.contracts.node
        await self.quiet()
        node.mine(self.draw.randint(1, 3))
        kind = self.draw.choice(list(self._lies()))
        rule = await self._lies()[kind]()
        is_first = self.draw.random() < 0.7
        told = replace(self.treasury, rpc=self.through_liar) if is_first else self.treasury
        if is_first:
            told.sender = sender_of(told, self.treasury.sender._signer)
        else:
            told = replace(told, check=self.through_liar)
        self.liar.rule = rule
        for name in ["follow_chain", *self.draw.choices(WORK, k=self.draw.randint(2, 6))]:
            with contextlib.suppress(InvariantViolation):
                await _guarded(name, TREASURY_TASKS[f"treasury.{name}"])(replace(tools_of(told), hot=HOT))
        self.liar.rule = truth
        self.done[f"{kind} {'first' if is_first else 'second'} endpoint"] += 1
        if (reason := await tripped(self.treasury)) is not None:
            assert is_a_lie(rule), reason
            await self._be_released()
        await self.look_at_the_books()

    def _lies(self) -> dict[str, Callable[[], Any]]:
        return {
            "fork of the": self._fork,
            "false log of the": self._false_log,
            "false receipts of the": self._false_receipts,
            "false balances of the": self._false_balances,
            "lag of the": self._lag,
            "nonsense of the": self._nonsense,
        }

    async def _fork(self) -> Rule:
        node = self.treasury.contracts.node
        first = node.block_number() - self.draw.randrange(DEPTH_MAX + 4)
        return Fork(node, await self._false_transfer(first), says_final=self.draw.random() < 0.7)

    async def _false_log(self) -> Rule:
        node = self.treasury.contracts.node
        # In a block that the mirror has not heard of, so that it takes it with what is told of it.
        return FalseLog(node, await self._false_transfer(node.block_number()))

    async def _false_receipts(self) -> Rule:
        return FalseReceipts(self.treasury.contracts.node)

    async def _false_balances(self) -> Rule:
        return FalseBalances()

    async def _lag(self) -> Rule:
        node = self.treasury.contracts.node
        seen = node.block_number() - self.draw.randint(1, 20)
        return Lag(node, seen, max(0, seen - DEPTH_MAX))

    async def _nonsense(self) -> Rule:
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
