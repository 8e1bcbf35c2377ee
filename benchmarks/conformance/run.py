"""A run: the stream is sent to both ledgers, request by request, and every answer is compared.

After each request the accounts and what it created are read from both; now and then
come random questions, and at the end everything that there is. Statuses, fields,
order and number must be the same; timestamps must tell the same moments
(:mod:`benchmarks.conformance.timestamps`).

A timeout that runs out is the one thing that happens by itself. Nothing is asked
while it may have happened on one side only: the run waits until it is over on both.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any, Protocol, cast, runtime_checkable

from benchmarks.conformance.knowledge import Knowledge
from benchmarks.conformance.questions import Questions
from benchmarks.conformance.streams import (
    ACCOUNT_IDS,
    FOREVER,
    IMPORTED_ACCOUNT,
    IMPORTED_TRANSFER,
    Request,
    Stream,
    expires_at,
)
from benchmarks.conformance.timestamps import TimestampPairs
from foundation.clock import SECOND_NS, Clock
from ledger.contract import (
    BATCH_MAX,
    Account,
    AccountBalance,
    AccountFilter,
    ChangeEvent,
    ChangeEventsFilter,
    CreateAccountResult,
    CreateTransferResult,
    QueryFilter,
    Transfer,
)

QUESTIONS_EVERY = 10
"""Requests between two rounds of random questions."""
QUESTIONS_A_ROUND = 4
"""Filters of each kind in a round."""
ACCOUNTS_EVERY = 40
"""Requests until the stream leaves its oldest account for a new one: most are closed sooner or later."""
WAIT_SECONDS_MAX = 60
"""A timeout that ends later is not waited for."""
PAGE = 500
"""Lines of a page of what is read at the end."""
EXPIRIES_EVERY = 50
"""Requests until the run waits for all timeouts to run out: most are resolved before."""
PLAIN_PERCENT = 10
"""How many requests are long runs of plain transfers, as bulk callers send them."""
ACCOUNTS_PERCENT = 16
"""How many requests open accounts."""
TIMEOUTS = (0,) * 8 + (1, FOREVER)
"""Mostly none, since each that runs out is waited for; all of one length, since two that end at nearly the
same moment may end in either order."""


class OtherLedger(Protocol):
    """What a ledger must be able to do to be compared: TigerBeetle's part of ours."""

    async def create_accounts(self, accounts: Sequence[Account]) -> list[CreateAccountResult]:
        """One result each, in order."""

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]:
        """One result each, in order."""

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        """The accounts that exist, in the order asked."""

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        """The transfers that exist, in the order asked."""

    async def get_account_transfers(self, filter: AccountFilter) -> list[Transfer]:
        """Transfers of one account."""

    async def get_account_balances(self, filter: AccountFilter) -> list[AccountBalance]:
        """Counters after each of those transfers."""

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        """Accounts by their fields."""

    async def query_transfers(self, filter: QueryFilter) -> list[Transfer]:
        """Transfers by their fields."""


@runtime_checkable
class TellsChanges(Protocol):
    """A ledger that also tells every change; TigerBeetle's Python client does not."""

    async def get_change_events(self, filter: ChangeEventsFilter) -> list[ChangeEvent]:
        """Every change of balances, in order."""


@dataclass(frozen=True)
class Guard:
    """How long around the end of a timeout nothing is asked."""

    before_seconds: float = 0.3
    """Before its earliest end, so that a slow answer is not overtaken by it."""
    after_seconds: float = 0.7
    """After its latest end, so that both have noticed."""


class Difference(Exception):  # a finding, not an error
    """The first thing that the two ledgers do not agree on."""

    def __init__(self, operation: str, asked: Any, ours: Any, theirs: Any) -> None:
        super().__init__(f"{operation}\n  asked:  {asked}\n  ours:   {ours}\n  theirs: {theirs}")
        self.operation = operation
        self.asked = asked
        self.ours = ours
        self.theirs = theirs


@dataclass
class Conformance:
    """One stream, two ledgers; ``run`` raises the first :class:`Difference`."""

    seed: int
    ours: OtherLedger
    theirs: OtherLedger
    clock: Clock
    guard: Guard = field(default_factory=Guard)
    report: Callable[[str], None] = lambda _progress: None
    events: int = 0
    """Events that were sent."""
    requests: int = 0
    reads: int = 0
    """Answers of reads that were compared."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How often each status was given, by kind and name."""

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # repeatable from the seed
        self._known = Knowledge()
        self._pairs = TimestampPairs()
        self._stream = Stream(
            self._random,
            self._known,
            0,
            plain_percent=PLAIN_PERCENT,
            accounts_percent=ACCOUNTS_PERCENT,
            timeouts=TIMEOUTS,
            comparable=True,
        )
        self._questions = Questions(self._random, self._known.books)

    async def run(self, events: int) -> None:
        """Send so many events; raises the first difference."""
        await self.read_all()
        while self.events < events:
            await self._wait_for_timeouts(all_of_them=self.requests % EXPIRIES_EVERY == EXPIRIES_EVERY - 1)
            if self.requests % ACCOUNTS_EVERY == ACCOUNTS_EVERY - 1:
                self._move_on()
            self._stream.now = self.clock.now_ns()
            await self._send(self._stream.request())
            self.requests += 1
            if self.requests % QUESTIONS_EVERY == 0:
                await self._wait_for_timeouts()
                await self._ask()
                self.report(f"{self.events:,} of {events:,} events, {self.reads:,} reads: no difference")
        await self._wait_for_timeouts()
        await self.read_all()

    def _move_on(self) -> None:
        first = self._stream.account_ids.start + 1
        self._stream.account_ids = self._questions.around = range(first, first + len(ACCOUNT_IDS))
        self._known.forget_accounts(first)

    async def _send(self, request: Request) -> None:
        kind, events = request
        create = "create_accounts" if kind == "accounts" else "create_transfers"
        imported = IMPORTED_ACCOUNT if kind == "accounts" else IMPORTED_TRANSFER
        translated = [replace(e, timestamp=self._translated(e, imported)) for e in events]
        ours, theirs = await self._both(create, events, translated)
        self.events += len(events)
        self._compare_results(create, events, ours, theirs, imported)
        self.statuses.update(f"{kind} {result.status.name}" for result in ours)
        await self._read("lookup_accounts", list(self._stream.account_ids))
        if kind == "transfers":
            found = await self._read("lookup_transfers", list(dict.fromkeys(e.id for e in events)))
            self._known.learn_transfers(sorted(found, key=lambda t: t.timestamp))

    def _translated(self, event: Account | Transfer, imported: int) -> int:
        """An imported event's timestamp on their clock; what stands for no moment stays."""
        first = event.timestamp
        if not event.flags & imported or first <= 1 or first >= 2**63 - 1:
            return first
        return self._pairs.to_theirs(first)

    def _compare_results(
        self, create: str, events: Sequence[Any], ours: Sequence[Any], theirs: Sequence[Any], imported: int
    ) -> None:
        if len(ours) != len(theirs):
            raise Difference(create, events, ours, theirs)
        validated: set[tuple[int, int]] = set()
        for number, (event, our, their) in enumerate(zip(events, ours, theirs, strict=True)):
            agree = our.status == their.status
            if agree and our.status.name in {"CREATED", "EXISTS"}:
                agree = self._pairs.agree(our.timestamp, their.timestamp)
            if our.status.name != "EXISTS" and not events[0].flags & imported:
                # Given out by the ledger, one after the other; an imported event has its own.
                validated.add((our.timestamp - number, their.timestamp - number))
                agree = agree and len(validated) == 1
            if not agree:
                raise Difference(f"{create}, event {number + 1} of {len(events)}", event, our, their)

    async def _ask(self) -> None:
        """A round of random questions."""
        await self._read("lookup_accounts", self._questions.account_ids())
        await self._read("lookup_transfers", self._questions.transfer_ids())
        for _ in range(QUESTIONS_A_ROUND):
            history, query = self._questions.account_filter(), self._questions.query_filter()
            await self._read("get_account_transfers", history)
            await self._read("get_account_balances", history)
            await self._read("query_transfers", query)
            await self._read("query_accounts", query)
            if self._tell_changes:
                await self._read("get_change_events", self._questions.changes_filter())

    async def read_all(self) -> None:
        """Everything that both hold, a page after the other."""
        accounts = await self._read("query_accounts", QueryFilter())
        await self._pages("query_transfers", QueryFilter(limit=PAGE))
        if self._tell_changes:
            await self._pages("get_change_events", ChangeEventsFilter(limit=PAGE))
        for account in accounts:
            history = AccountFilter(account_id=account.id, limit=PAGE)
            await self._pages("get_account_transfers", history)
            await self._pages("get_account_balances", history)
            await self._read("get_account_transfers", replace(history, limit=BATCH_MAX, flags=7))

    @property
    def _tell_changes(self) -> bool:
        return isinstance(self.ours, TellsChanges) and isinstance(self.theirs, TellsChanges)

    async def _pages(self, operation: str, asked: Any) -> None:
        while page := await self._read(operation, asked):
            if page[0].timestamp < asked.timestamp_min:
                # Two ledgers that are wrong in the same way would turn in circles here.
                raise Difference(f"{operation}, both before what was asked for", asked, page[0], page[0])
            asked = replace(asked, timestamp_min=page[-1].timestamp + 1)
            self.report(f"reading all that there is: {operation}, {self.reads:,} reads")

    async def _read(self, operation: str, asked: Any) -> list[Any]:
        """Ask both and compare; what ours answered."""
        translated = asked
        if not isinstance(asked, list):
            low, high = (
                bound and self._pairs.to_theirs(bound) for bound in (asked.timestamp_min, asked.timestamp_max)
            )
            translated = replace(asked, timestamp_min=low, timestamp_max=high)
        ours, theirs = await self._both(operation, asked, translated)
        self.reads += 1
        if len(ours) != len(theirs):
            raise Difference(operation, asked, _shortened(ours, theirs), _shortened(theirs, ours))
        for our, their in zip(ours, theirs, strict=True):
            if not self._same(our, their):
                raise Difference(operation, asked, our, their)
        if operation in {"lookup_accounts", "query_accounts"}:
            self._known.learn_accounts([a for a in ours if a.id in self._stream.account_ids])
        return ours

    def _same(self, ours: Any, theirs: Any) -> bool:
        """Whether two records are the same, field by field."""
        for each in fields(ours):
            our, their = getattr(ours, each.name), getattr(theirs, each.name)
            if each.name == "timestamp":
                # The time of something that is asked for before it was ever shown is learned here.
                same = self._pairs.agree(our, their)
            elif isinstance(our, Account | Transfer):
                same = self._same(our, their)
            else:
                same = our == their
            if not same:
                return False
        return True

    async def _both(self, operation: str, ours: Any, theirs: Any) -> tuple[list[Any], list[Any]]:
        """Ask both at the same time, so that their clocks see the same moments."""
        calls = [
            cast(Callable[[Any], Awaitable[list[Any]]], getattr(ledger, operation))(asked)
            for ledger, asked in ((self.ours, ours), (self.theirs, theirs))
        ]
        first, second = await asyncio.gather(*calls)
        return first, second

    async def _wait_for_timeouts(self, *, all_of_them: bool = False) -> None:
        """Ask nothing while a timeout may be over for one of the two alone, or until all of them are over."""
        before, after = (
            round(seconds * SECOND_NS) for seconds in (self.guard.before_seconds, self.guard.after_seconds)
        )
        while True:
            now = self.clock.now_ns()
            windows = [(start - before, end + after) for start, end in self._timeout_ends()]
            awaited = [end for start, end in windows if now <= end and (start <= now or all_of_them)]
            soon = now + WAIT_SECONDS_MAX * SECOND_NS
            over_at = max((end for end in awaited if end < soon), default=None)
            if over_at is None:
                break
            await self.clock.sleep((over_at - now + 1) / SECOND_NS)
        self._known.expire(now)

    def _timeout_ends(self) -> list[tuple[int, int]]:
        """When each timeout is over, by the earlier and by the later of the two clocks."""
        found = []
        for transfer in self._known.timeouts():
            ours = expires_at(transfer)
            theirs = expires_at(replace(transfer, timestamp=self._pairs.to_theirs(transfer.timestamp)))
            assert ours is not None
            assert theirs is not None
            found.append((min(ours, theirs), max(ours, theirs)))
        return found


def _shortened(records: Sequence[Any], others: Sequence[Any]) -> str:
    """How many there are, and the first of those that the other side has not."""
    known = {getattr(each, "id", 0) for each in others}
    missing = [each for each in records if getattr(each, "id", 0) not in known]
    return f"{len(records)} records" + (f", among them {missing[0]}" if missing else "")
