"""Duels: the same stream for the model and for the pure state machine, every answer compared."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from foundation.clock import SettableClock
from ledger.contract import Transfer
from ledger.draft_rows import ExpiryRow, TransferRow
from ledger.state import CLOSED
from tests.ledger.books import Books
from tests.ledger.model import Answer, Model
from tests.ledger.model_books import Change
from tests.ledger.streams import Request, Stream

START_NS = 1_800_000_000 * 10**9


def names(results: Sequence[Any]) -> list[Answer]:
    """Results as the model gives them."""
    return [(r.timestamp, r.status.name.lower()) for r in results]


def check_answers(events: Sequence[Any], results: Sequence[Any], answers: Sequence[Answer]) -> None:
    """Fail with every event that got an answer unlike the model's."""
    lines = [
        f"{event}\n  ours: {ours}\n  the model's: {theirs}"
        for event, ours, theirs in zip(events, names(results), answers, strict=True)
        if ours != theirs
    ]
    assert not lines, "\n".join(lines)


class Duel:
    """A stream, the model, and our books; ``step`` raises at the first difference."""

    def __init__(
        self, random: Random, start_ns: int = START_NS, books: Callable[[SettableClock], Books] = Books
    ) -> None:
        self.model = Model()
        self.clock = SettableClock(start_ns)
        self.books = books(self.clock)
        self.stream = Stream(random, self.model, start_ns)
        self.reached: Counter[tuple[str, str]] = Counter()
        self.flag_pairs: Counter[tuple[int, int]] = Counter()
        """Pairs of flags that a created transfer had together."""
        self.created: dict[int, tuple[Transfer, int]] = {}
        """Transfers as they were asked for, and the timestamp that they got."""
        self.events = 0

    def step(self) -> list[Request]:
        """Ask both for what comes next; what it was."""
        requests = self.stream.step()
        self.clock.set_ns(self.stream.now)
        ours = self.books.decide(requests)
        for (kind, events), results in zip(requests, ours, strict=True):
            answers = ask_model(self.model, self.stream.now, (kind, events))
            check_answers(events, results, answers)
            self.reached.update((kind, status) for _, status in answers)
            self.events += len(answers)
            if kind == "transfers":
                self._note_created(events, answers)
        self.compare_balances()
        return requests

    def _note_created(self, events: Sequence[Any], answers: Sequence[Answer]) -> None:
        for event, (timestamp, status) in zip(events, answers, strict=True):
            if status == "created":
                self.created[event.id] = (event, timestamp)
                self.flag_pairs.update(pairs_of(event.flags))

    def compare_balances(self) -> None:
        accounts = {a.id: a.to_account() for a in self.books.state.accounts}
        assert accounts == {i: self.model.account(i) for i in self.model.books.accounts}

    def compare_rows(self) -> None:
        """Every journal row, in order, against the model's list of changes."""
        slots = {account.slot: account.id for account in self.books.state.accounts}
        assert len(self.books.rows) == len(self.model.books.changes)
        for row, change in zip(self.books.rows, self.model.books.changes, strict=True):
            compare_row(row, change, slots)
        assert self.books.transfers == self.model.books.transfers
        assert self.books.failed == self.model.failed
        fates = {i: s.name.lower() for i, s in self.books.statuses.items() if s.name != "NONE"}
        assert fates == self.model.books.fates


def pairs_of(flags: int) -> list[tuple[int, int]]:
    """Every two flags that are set together, lower one first."""
    return list(itertools.combinations([1 << bit for bit in range(16) if flags >> bit & 1], 2))


def ask_model(model: Model, now: int, request: Request) -> list[Answer]:
    kind, events = request
    ask: Any = model.create_accounts if kind == "accounts" else model.create_transfers
    answers: list[Answer] = ask(now, events)
    return answers


def compare_row(row: TransferRow | ExpiryRow, change: Change, slots: dict[int, int]) -> None:
    expired = isinstance(row, ExpiryRow)
    assert expired == (change.kind == "expired")
    transfer = row.pending if isinstance(row, ExpiryRow) else row.transfer
    timestamp = row.timestamp if isinstance(row, ExpiryRow) else row.transfer.timestamp
    assert (timestamp, transfer) == (change.timestamp, change.transfer)
    for slot, after, closed, account in (
        (row.debit_slot, row.debit_after, row.debit_closed, change.debit),
        (row.credit_slot, row.credit_after, row.credit_closed, change.credit),
    ):
        assert slots[slot] == account.id
        assert closed == bool(account.flags & CLOSED)
        assert after == (
            account.debits_pending, account.debits_posted, account.credits_pending, account.credits_posted
        )  # fmt: skip
