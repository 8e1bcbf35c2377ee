"""Ledgers that are wrong on purpose, one way each: what a conformance run must find.

Each stands around a real engine and lies in one place only. The first lies come
late, so that a run has to go on for a while before it meets one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ledger.contract import (
    Account,
    AccountFilter,
    ChangeEvent,
    ChangeEventsFilter,
    ChangeEventType,
    CreateTransferStatus,
    QueryFilter,
    Transfer,
)
from ledger.engine import LedgerEngine

LIMITS = 2 | 4


class Honest:
    """An engine as it is."""

    def __init__(self, engine: LedgerEngine) -> None:
        self.engine = engine
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def is_late(self, turns: int = 20) -> bool:
        self.asked += 1
        return self.asked > turns


class SkipsLimits(Honest):
    """Holds nobody to a limit, but says that it does."""

    def __init__(self, engine: LedgerEngine) -> None:
        super().__init__(engine)
        self.limits: dict[int, int] = {}

    async def create_accounts(self, accounts: Sequence[Account]) -> Any:
        results = await self.engine.create_accounts(
            [replace(a, flags=a.flags & ~LIMITS) if a.flags & LIMITS != LIMITS else a for a in accounts]
        )
        for account, result in zip(accounts, results, strict=True):
            if result.status.name == "CREATED":
                self.limits[account.id] = account.flags & LIMITS
        return results

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        return self._limited(await self.engine.lookup_accounts(ids))

    async def query_accounts(self, asked: QueryFilter) -> list[Account]:
        return self._limited(await self.engine.query_accounts(asked))

    def _limited(self, accounts: list[Account]) -> list[Account]:
        return [replace(a, flags=a.flags | self.limits.get(a.id, 0)) for a in accounts]


class WrongStatus(Honest):
    """Takes a repeated id for the same event, whatever is in it."""

    async def create_transfers(self, transfers: Sequence[Transfer]) -> Any:
        results = await self.engine.create_transfers(transfers)
        other = CreateTransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT
        return [replace(r, status=CreateTransferStatus.EXISTS) if r.status is other else r for r in results]


class WrongBalance(Honest):
    """Shows one unit too much."""

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        accounts = await self.engine.lookup_accounts(ids)
        if self.is_late() and accounts:
            accounts[-1] = replace(accounts[-1], credits_posted=accounts[-1].credits_posted + 1)
        return accounts


class LosesAnEvent(Honest):
    """Says that it has created what it has not."""

    def __init__(self, engine: LedgerEngine) -> None:
        super().__init__(engine)
        self.sent: set[int] = set()

    async def create_transfers(self, transfers: Sequence[Transfer]) -> Any:
        known = self.sent.intersection(t.id for t in transfers)
        self.sent.update(t.id for t in transfers)
        if len(transfers) != 1 or transfers[0].flags or known or not self.is_late(3):
            return await self.engine.create_transfers(transfers)
        # With a bad one after it in a chain it is decided, and taken back.
        chain = [replace(transfers[0], flags=1), Transfer()]
        result, _ = await self.engine.create_transfers(chain)
        if result.status is CreateTransferStatus.LINKED_EVENT_FAILED:
            return [replace(result, status=CreateTransferStatus.CREATED)]
        return [result]


class WrongOrder(Honest):
    """Answers oldest first, also when it was asked for newest first."""

    async def get_account_transfers(self, asked: AccountFilter) -> list[Transfer]:
        found = await self.engine.get_account_transfers(asked)
        return sorted(found, key=lambda transfer: transfer.timestamp)


class LosesALine(Honest):
    """Leaves out the last line of a full page."""

    async def query_transfers(self, asked: QueryFilter) -> list[Transfer]:
        found = await self.engine.query_transfers(asked)
        return found[:-1] if len(found) == asked.limit and self.is_late(3) else found


class WrongTime(Honest):
    """Tells the time of a transfer differently, a nanosecond only, when it is looked up."""

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        found = await self.engine.lookup_transfers(ids)
        if found and self.is_late():
            found[0] = replace(found[0], timestamp=found[0].timestamp + 1)
        return found


class ForgetsUserData(Honest):
    """Shows no user data of what a post inherited it from."""

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        found = await self.engine.lookup_transfers(ids)
        return [replace(t, user_data_64=0) if t.pending_id else t for t in found]


class IgnoresABound(Honest):
    """Takes an upper bound of time for an open one."""

    async def get_account_balances(self, asked: AccountFilter) -> Any:
        return await self.engine.get_account_balances(replace(asked, timestamp_max=0))


class NeverExpires(Honest):
    """Lets a timeout pass, but shows it."""

    def __init__(self, engine: LedgerEngine) -> None:
        super().__init__(engine)
        self.timeouts: dict[int, int] = {}

    async def create_transfers(self, transfers: Sequence[Transfer]) -> Any:
        results = await self.engine.create_transfers(
            [replace(t, timeout=0) if t.flags & 2 and t.timeout == 1 else t for t in transfers]
        )
        for transfer, result in zip(transfers, results, strict=True):
            if result.status.name == "CREATED":
                self.timeouts[transfer.id] = transfer.timeout
        return results

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        return self._timed(await self.engine.lookup_transfers(ids))

    async def query_transfers(self, asked: QueryFilter) -> list[Transfer]:
        return self._timed(await self.engine.query_transfers(asked))

    async def get_account_transfers(self, asked: AccountFilter) -> list[Transfer]:
        return self._timed(await self.engine.get_account_transfers(asked))

    def _timed(self, transfers: list[Transfer]) -> list[Transfer]:
        return [t if t.pending_id else replace(t, timeout=self.timeouts.get(t.id, 0)) for t in transfers]

    async def get_change_events(self, asked: ChangeEventsFilter) -> list[ChangeEvent]:
        found = await self.engine.get_change_events(asked)
        return [replace(change, transfer=self._timed([change.transfer])[0]) for change in found]


class HidesExpiries(Honest):
    """Leaves expiries out of the changes."""

    async def get_change_events(self, asked: ChangeEventsFilter) -> list[ChangeEvent]:
        found = await self.engine.get_change_events(asked)
        return [change for change in found if change.type is not ChangeEventType.TWO_PHASE_EXPIRED]


WRONG: list[tuple[Callable[[LedgerEngine], Honest], str]] = [
    (SkipsLimits, "create_transfers"),
    (WrongStatus, "create_transfers"),
    (WrongBalance, "lookup_accounts"),
    (LosesAnEvent, "lookup_accounts lookup_transfers"),
    (WrongOrder, "get_account_transfers"),
    (LosesALine, "query_transfers"),
    (WrongTime, "lookup_transfers"),
    (ForgetsUserData, "lookup_transfers"),
    (IgnoresABound, "get_account_balances"),
    (NeverExpires, "create_transfers lookup_accounts get_change_events"),
    (HidesExpiries, "get_change_events"),
]
"""Each with the operations in which it can be found."""
