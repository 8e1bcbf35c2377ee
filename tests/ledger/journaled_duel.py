"""Duels with a journal: the same stream for the model and for an engine on a real PostgreSQL."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from foundation.clock import SettableClock
from ledger.contract import (
    AccountFilter,
    ChangeEventsFilter,
    InvalidFilter,
    QueryFilter,
    StatementLine,
)
from ledger.engine import LedgerEngine
from ledger.interface import Ledger
from ledger.state import State
from ledger.stored_transfer import StoredTransfer
from tests.ledger import model_reads
from tests.ledger.duel import START_NS, ask_model, check_answers
from tests.ledger.model import Model
from tests.ledger.model_books import HISTORY, TOP
from tests.ledger.streams import ACCOUNT_IDS, Stream


class JournaledDuel:
    """A stream, the model, and a ledger behind its interface."""

    def __init__(self, random: Random, clock: SettableClock, start_ns: int = START_NS) -> None:
        self.random = random
        self.model = Model()
        self.clock = clock
        self.clock.set_ns(start_ns)
        self.stream = Stream(random, self.model, start_ns)
        self.read = Counter[str]()
        """How many things each kind of read gave back."""

    async def step(self, ledger: Ledger, *, at_once: bool = True) -> None:
        """Send a step's requests, at once: an engine may group them as it likes."""
        requests = self.stream.step()
        self.clock.set_ns(self.stream.now)
        calls: list[Any] = []
        for kind, events in requests:
            create: Any = ledger.create_accounts if kind == "accounts" else ledger.create_transfers
            # Whoever asks after a request sees what it did, and nothing of the next one.
            calls += [create(events), ledger.lookup_accounts(ACCOUNT_IDS)]
        answers = await asyncio.gather(*calls) if at_once else [await call for call in calls]
        for request, results, accounts in zip(requests, answers[::2], answers[1::2], strict=True):
            check_answers(request[1], results, ask_model(self.model, self.stream.now, request))
            assert accounts == model_reads.lookup_accounts(self.model, ACCOUNT_IDS)

    async def read_everything(self, ledger: Ledger) -> None:
        """Ask all kinds of questions and compare each answer."""
        accounts = [*ACCOUNT_IDS, 99, 3, 3]
        self.model.sweep(self.stream.now)
        assert await ledger.lookup_accounts(accounts) == model_reads.lookup_accounts(self.model, accounts)
        known = [*self.model.books.transfers, *self.model.failed, 1, 2**128 - 1]
        ids = self.random.choices(known, k=40)
        assert await ledger.lookup_transfers(ids) == model_reads.lookup_transfers(self.model, ids)
        for _ in range(6):
            await self._compare_histories(ledger, self._account_filter())
            await self._compare_queries(ledger, self._query_filter())
            await self._compare_changes(ledger, self._change_filter())
        await self._compare_statement(ledger, self.random.choice(ACCOUNT_IDS))

    async def _compare_histories(self, ledger: Ledger, asked: AccountFilter) -> None:
        if not model_reads.is_valid(asked):
            for read in (ledger.get_account_transfers, ledger.get_account_balances):
                with pytest.raises(InvalidFilter):
                    await read(asked)
            self.read["invalid account filter"] += 1
            return
        transfers = await ledger.get_account_transfers(asked)
        assert transfers == model_reads.get_account_transfers(self.model, asked), asked
        balances = await ledger.get_account_balances(asked)
        assert balances == model_reads.get_account_balances(self.model, asked), asked
        self.read["account transfers"] += len(transfers)
        self.read["account balances"] += len(balances)

    async def _compare_queries(self, ledger: Ledger, asked: QueryFilter) -> None:
        if not model_reads.is_valid(asked):
            for read in (ledger.query_transfers, ledger.query_accounts):
                with pytest.raises(InvalidFilter):
                    await read(asked)
            self.read["invalid query filter"] += 1
            return
        transfers = await ledger.query_transfers(asked)
        assert transfers == model_reads.query_transfers(self.model, asked), asked
        accounts = await ledger.query_accounts(asked)
        assert accounts == model_reads.query_accounts(self.model, asked), asked
        self.read["queried transfers"] += len(transfers)
        self.read["queried accounts"] += len(accounts)

    async def _compare_changes(self, ledger: Ledger, asked: ChangeEventsFilter) -> None:
        if not model_reads.is_valid(asked):
            with pytest.raises(InvalidFilter):
                await ledger.get_change_events(asked)
            self.read["invalid change filter"] += 1
            return
        changes = await ledger.get_change_events(asked)
        assert changes == model_reads.get_change_events(self.model, asked), asked
        self.read.update(change.type.name.lower() for change in changes)

    async def _compare_statement(self, ledger: Ledger, account_id: int) -> None:
        """Page through all of it, three lines at a time."""
        lines: list[StatementLine] = []
        before: int | None = None
        while page := await ledger.get_statement(account_id, before=before, limit=3):
            lines += page
            before = page[-1].transfer.timestamp
        assert lines == model_reads.get_statement(self.model, account_id, None, 10**6)
        self.read["statement lines"] += len(lines)

    def _times(self) -> dict[str, int]:
        books = self.model.books
        times = sorted(books.account_times | books.transfer_times)
        low, high = (self.random.choice(times) + self.random.choice([-1, 0, 0, 1]) for _ in range(2))
        if self.random.random() < 0.9:
            low, high = min(low, high), max(low, high)
        options = [(0, 0), (0, 0), (low, 0), (0, high), (low, high), (TOP + 1, 0), (0, TOP + 1)]
        chosen = self.random.choices(options, weights=[6, 6, 6, 6, 6, 1, 1])[0]
        return {"timestamp_min": chosen[0], "timestamp_max": chosen[1]}

    def _fields(self) -> dict[str, int]:
        pick = self.random.choice
        return {
            "user_data_128": pick([0, 0, 0, 9, 3]),
            "user_data_64": pick([0, 0, 0, 2**64 - 1, 4]),
            "user_data_32": pick([0, 0, 0, 2**32 - 1, 5]),
            "code": pick([0, 0, 1, 2]),
            "limit": pick([1, 2, 3, 5, 10, 100, 8189, 8189, 0, 8190]),
            "reserved": int(self.random.random() < 0.03),
        }

    def _account_filter(self) -> AccountFilter:
        flags = self.random.choice([1, 2, 3, 3, 3, 5, 6, 7, 7, 0, 8, 4])
        with_history = [a.id for a in self.model.books.accounts.values() if a.flags & HISTORY]
        account_id = self.random.choice([*ACCOUNT_IDS, *with_history, *with_history, 99, 0, 2**128 - 1])
        return AccountFilter(account_id=account_id, flags=flags, **self._times(), **self._fields())

    def _query_filter(self) -> QueryFilter:
        flags = self.random.choice([0, 0, 0, 1, 1, 1, 2])
        ledger = self.random.choice([0, 0, 1, 2, 3])
        return QueryFilter(flags=flags, ledger=ledger, **self._times(), **self._fields())

    def _change_filter(self) -> ChangeEventsFilter:
        limit = self.random.choice([1, 2, 7, 100, 2730, 2730, 0, 2731])
        return ChangeEventsFilter(**self._times(), limit=limit, reserved=int(self.random.random() < 0.03))


def state_of(engine: LedgerEngine) -> State:
    return engine._writer.state


def compare_states(recovered: State, before: State) -> None:
    """A state that was replayed from the journal is the one that was in memory."""
    assert list(recovered.accounts) == list(before.accounts)
    assert live_pendings(recovered) == live_pendings(before)
    assert recovered.last_account_timestamp == before.last_account_timestamp
    assert recovered.last_transfer_timestamp == before.last_transfer_timestamp
    # Timestamps of requests that left no trace were given out for nothing.
    stored = max(recovered.last_account_timestamp, recovered.last_transfer_timestamp)
    assert stored <= recovered.last_timestamp <= before.last_timestamp


def live_pendings(state: State) -> dict[int, StoredTransfer]:
    """The pending transfers that are alive; each with a timeout must be found by its expiry."""
    live = {i: stored for i in state.pendings if (stored := state.pendings.get(i)) is not None}
    expiries = {(stored.expires_at, stored.transfer.timestamp, i) for i, stored in live.items()}
    queued = state.pendings.expiries.entries()
    assert {entry for entry in expiries if entry[0]} <= set(queued)
    return live
