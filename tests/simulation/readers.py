"""Readers: they ask an engine all that can be asked, and compare with the plain ledger.

The questions go through the engine's own code down to its storage, which is in
memory here. They are asked while the engine is at rest; but a follower's cursor and
that of a search live on while others write, engines die and segments are sealed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any, TypeVar

from ledger.contract import AccountFilter, ChangeEventsFilter, QueryFilter
from ledger.pipeline import Pipeline
from ledger.queries.archived import ArchivedLookups
from ledger.queries.asking import Queries
from ledger.queries.questions import (
    AccountSearch,
    BalancesAsOf,
    ChangesAfter,
    PeriodStatement,
    TransferSearch,
)
from ledger.queries.reader import Reader
from ledger.queries.wakeups import Wakeups
from tests.simulation import plain_queries
from tests.simulation.draws import Draws, named
from tests.simulation.memory_server import MemoryServer, Violation
from tests.simulation.plain_ledger import Event, PlainLedger
from tests.simulation.plain_refusals import TOP
from tests.simulation.resting_books import RestingBooks

Answer = TypeVar("Answer")

PAGES_MAX = 5000
"""So many pages of one answer, and its cursor leads nowhere."""
LAG_MAX = 300
"""A follower that is further behind gives up."""
PATIENCE_SECONDS = 10.0**9
"""Time for a page that is never over: what is found must not depend on this machine."""
HURRY_SECONDS = -1.0
"""Time that is over when the page begins."""

QUERIES = (
    "lookup_transfers", "account_transfers", "account_balances", "statement", "query_transfers",
    "query_accounts", "search_transfers", "search that is gone on with", "search_accounts",
    "balances_as_of", "snapshot", "pending_states", "period_statement", "change_events", "changes",
)  # fmt: skip
"""Everything that is asked, counted under ``query``."""
FILTERS = (
    "debits only", "credits only", "reversed", "timestamp_min", "timestamp_max", "limit reached",
    "user_data_128", "user_data_64", "user_data_32", "code", "ledger", "account_ids", "debit_account_ids",
    "credit_account_ids", "amount_min", "amount_max", "ledgers", "codes", "flags_all", "flags_any",
    "flags_none", "pending_status", "balance_min", "balance_max", "debits_posted_min",
    "credits_pending_max", "several alternatives", "newest_first", "several pages", "page cut by time",
    "nothing is found", "something is found",
)  # fmt: skip
"""Ways to ask, and what came of it, counted under ``filter``."""


class Readers:
    """All of them; one question at a time."""

    def __init__(
        self, random: Random, ledger: PlainLedger, server: MemoryServer, counts: Counter[str]
    ) -> None:
        self._ledger = ledger
        self._server = server
        self._counts = counts
        self._draws = Draws(random, ledger, server)
        self._follower: tuple[str | None, int, int] = None, 0, 0
        """Cursor of one who follows all changes, and how many transfers and expiries it has seen."""
        self._paused: tuple[TransferSearch, int] | None = None
        """A search that is gone on with now and then, and the last timestamp that it has shown."""
        self._questions: tuple[Callable[[], object], ...] = (
            self._ask_history, self._ask_history, self._ask_statement, self._ask_query, self._ask_search,
            self._ask_search, self._go_on, self._ask_accounts, self._ask_balances, self._ask_snapshot,
            self._ask_states, self._ask_period, self._ask_events, self._follow, self._look_up,
        )  # fmt: skip

    def ask(self, pipeline: Pipeline) -> None:
        """Ask a question."""
        self._listen_to(pipeline)
        if self._ledger.rows:
            self._draws.pick(self._questions)()
        else:
            self._follow()

    def ask_everything(self, pipeline: Pipeline) -> None:
        """Ask each kind of question, and let a follower come to have seen everything."""
        self._listen_to(pipeline)
        if self._ledger.rows:
            for question in self._questions:
                question()
        while self._follow():
            pass
        seen = self._follower[1:]
        self._compare("changes seen", seen, (len(self._ledger.rows), len(self._ledger.expiry_rows)), None)

    def _listen_to(self, pipeline: Pipeline) -> None:
        books = RestingBooks(pipeline, self._server)
        archived = ArchivedLookups(None)
        self._reader = Reader(books, archived)
        self._queries = Queries(books, Wakeups(), archived)

    def _ask_history(self) -> None:
        draws = self._draws
        low, high = draws.times()
        example = draws.transfer(low)
        account_id = example[draws.pick((1, 2))] if draws.chance(60) else draws.account_id()
        asked = AccountFilter(
            account_id, timestamp_min=low, timestamp_max=high, limit=draws.pick((1, 3, 40, 8189)),
            flags=draws.pick((1, 2, 3, 3, 5, 6, 7, 7)), **(named(example, draws) if draws.chance(30) else {}),
        )  # fmt: skip
        sides = {1: "debits only", 2: "credits only"}.get(asked.flags & 3)
        self._count(sides, "reversed" if asked.flags & 4 else None)
        if draws.chance(50):
            ours = finish(self._reader.get_account_transfers(asked))
            theirs: Any = [e for e, _ in plain_queries.history(self._ledger, asked)]
            self._told("account_transfers", asked, ours, theirs)
        else:
            balances = finish(self._reader.get_account_balances(asked))
            self._told("account_balances", asked, balances, plain_queries.balances(self._ledger, asked))

    def _ask_statement(self) -> None:
        account_id, before = self._draws.account_id(), self._draws.edge() if self._draws.chance(60) else None
        limit = self._draws.pick((1, 2, 50, 8189))
        ours = finish(self._reader.get_statement(account_id, before, limit))
        asked = AccountFilter(account_id, timestamp_max=(before or TOP) - 1, limit=limit, flags=7)
        theirs = [] if before == 1 else plain_queries.history(self._ledger, asked)
        self._told("statement", asked, ours, theirs)

    def _ask_query(self) -> None:
        draws = self._draws
        low, high = draws.times()
        of_accounts = draws.chance(30)
        example = draws.pick(self._ledger.slots).record() if of_accounts else draws.transfer(low)
        asked = QueryFilter(
            timestamp_min=low, timestamp_max=high, ledger=example[9] if draws.chance(20) else 0,
            limit=draws.pick((1, 3, 40, 8189)), flags=draws.pick((0, 1)), **named(example, draws),
        )  # fmt: skip
        self._count("reversed" if asked.flags else None)
        if of_accounts:
            accounts = finish(self._queries.query_accounts(asked))
            self._told("query_accounts", asked, accounts, plain_queries.queried_accounts(self._ledger, asked))
        else:
            transfers = finish(self._reader.query_transfers(asked))
            self._told("query_transfers", asked, transfers, plain_queries.queried(self._ledger, asked))

    def _ask_search(self) -> None:
        low, high = self._draws.times()
        any_of = self._draws.criteria(low)
        newest_first = self._draws.chance(50)
        theirs = list(plain_queries.searched(self._ledger, any_of, low, high, newest_first=newest_first))
        search = TransferSearch(any_of, low, high, newest_first, self._draws.limit(len(theirs)))
        self._count_criteria(search)
        self._queries.budget_seconds = self._draws.pick((HURRY_SECONDS, *3 * (PATIENCE_SECONDS,)))
        pages = self._pages(search, self._queries.search_transfers, "transfers")
        self._told("search_transfers", search, [t for page in pages for t in page.transfers], theirs)
        for page in pages:
            if page.complete and page.cursor and len(page.transfers) != search.limit:
                raise Violation(f"a page that says it is full is not: {search}")
            self._count(None if page.complete else "page cut by time")

    def _go_on(self) -> None:
        """Begin a search, or go on with one that was begun long ago, perhaps with another engine."""
        if self._paused is None:
            low, high = self._draws.times()
            criteria = self._draws.criteria(low)
            if any(one.pending_status for one in criteria):
                return
            newest_first = self._draws.chance(50)
            search = TransferSearch(criteria, low, high, newest_first, self._draws.pick((5, 60, 300)))
            # Backwards, what comes later is younger than all that will be looked at.
            newest = min(high or TOP, self._ledger.newest_transfer)
            reached = newest + 1 if newest_first else low - 1
        else:
            search, reached = self._paused
        self._queries.budget_seconds = self._draws.pick((HURRY_SECONDS, PATIENCE_SECONDS))
        page = finish(self._queries.search_transfers(search))
        low, high = (
            (search.timestamp_min, reached - 1)
            if search.newest_first
            else (reached + 1, search.timestamp_max)
        )
        rest = plain_queries.searched(
            self._ledger, search.any_of, low, high, newest_first=search.newest_first
        )
        theirs = list(islice(rest, search.limit)) if high or not search.newest_first else []
        if not page.complete:
            theirs = theirs[: len(page.transfers)]
        self._told("search that is gone on with", search, page.transfers, theirs)
        if page.cursor is None:
            self._paused = None
        else:
            self._paused = replace(search, cursor=page.cursor), theirs[-1][12] if theirs else reached

    def _ask_accounts(self) -> None:
        low, high = self._draws.times() if self._draws.chance(40) else (0, 0)
        any_of = self._draws.account_criteria()
        theirs = plain_queries.searched_accounts(self._ledger, any_of, low, high)
        search = AccountSearch(any_of, low, high, self._draws.chance(50), self._draws.limit(len(theirs)))
        self._count_criteria(search)
        self._queries.budget_seconds = PATIENCE_SECONDS
        pages = self._pages(search, self._queries.search_accounts, "accounts")
        ours = [account for page in pages for account in page.accounts]
        self._told("search_accounts", search, ours, theirs[:: -1 if search.newest_first else 1])

    def _ask_balances(self) -> None:
        draws, slots = self._draws, self._ledger.slots
        timestamp = draws.edge() if draws.chance(85) else 0
        upto = min(timestamp or TOP, self._server.head.timestamp)
        if draws.chance(50):
            ids = tuple(draws.account_id() for _ in range(draws.pick((1, 3, 12))))
            accounts = [self._ledger.accounts[i] for i in ids if i in self._ledger.accounts]
            question = BalancesAsOf(timestamp, ids)
        else:
            ledgers, codes = draws.pick(((), (1,), (1, 3))), draws.pick(((), (), (1,), (2, 7)))
            accounts = [
                a for a in slots
                if (not ledgers or a.ledger in ledgers) and (not codes or a.code in codes)
            ]  # fmt: skip
            limit = draws.limit(len(accounts))
            question = BalancesAsOf(timestamp, ledgers=ledgers, codes=codes, limit=limit)
        theirs = plain_queries.accounts_as_of(self._ledger, accounts, upto)
        pages = self._pages(question, self._queries.get_balances_as_of, "accounts")
        self._told("balances_as_of", question, [a for page in pages for a in page.accounts], theirs)
        self._compare(
            "the time of balances", [page.timestamp for page in pages], [upto] * len(pages), question
        )

    def _ask_snapshot(self) -> None:
        ids = [self._draws.account_id() for _ in range(self._draws.pick((1, 5, 30)))]
        snapshot = finish(self._queries.get_snapshot(ids))
        accounts = [self._ledger.accounts[i] for i in ids if i in self._ledger.accounts]
        self._told("snapshot", ids, snapshot.accounts, [account.record() for account in accounts])
        head = self._server.head
        instant = snapshot.timestamp, snapshot.sequence
        self._compare("the instant of a snapshot", instant, (head.timestamp, head.sequence), ids)

    def _ask_states(self) -> None:
        ids = self._draws.transfer_ids()
        states = finish(self._queries.get_pending_states(ids))
        known = [self._ledger.transfers[i] for i in ids if i in self._ledger.transfers]
        theirs = [plain_queries.pending_state(self._ledger, e) for e in known]
        self._told("pending_states", ids, states, theirs)

    def _ask_period(self) -> None:
        low, high = self._draws.times()
        example = self._draws.transfer(low)
        account = self._ledger.accounts[example[self._draws.pick((1, 2))]]
        opening, closing, theirs = plain_queries.statement(self._ledger, account.slot, low, high)
        question = PeriodStatement(account.id, low, high, self._draws.limit(len(theirs)))
        pages = self._pages(question, self._queries.get_period_statement, "entries")
        ours = [
            (entry.type, entry.timestamp, entry.transfer, entry.change, entry.balance)
            for page in pages
            for entry in page.entries
        ]
        self._told("period_statement", question, ours, theirs)
        for page in pages:
            shown = plain((page.opening, page.closing))
            self._compare("opening and closing balance", shown, (opening, closing), question)

    def _ask_events(self) -> None:
        ledger = self._ledger
        low, high = self._draws.times()
        limit = 2730 if self._draws.chance(4) else self._draws.pick((1, 5, 60))
        asked = ChangeEventsFilter(low, high, limit)
        rows, expiries = (
            [kept[number] for number in islice(plain_queries.between(kept, low, high), asked.limit)]
            for kept in (ledger.rows, ledger.expiry_rows)
        )
        theirs = plain_queries.changes(ledger, rows, expiries, asked.limit)
        self._told("change_events", asked, finish(self._reader.get_change_events(asked)), theirs)

    def _follow(self) -> bool:
        """The next changes of one who follows all of them; whether there were any."""
        ledger = self._ledger
        cursor, rows, expiries = self._follower
        begin = 0
        if len(ledger.rows) - rows > LAG_MAX:
            # Everything would take too long: somebody else begins, nearer to the end.
            begin = ledger.rows[-self._draws.pick((1, 50, LAG_MAX))][0] + self._draws.pick((-1, 0, 1))
            cursor = None
            rows, expiries = (
                bisect_left(kept, begin, key=plain_queries.first_of)
                for kept in (ledger.rows, ledger.expiry_rows)
            )
        limit = self._draws.pick((1, 10, 100, 300))
        page = finish(self._queries.get_changes(ChangesAfter(cursor, begin, limit=limit)))
        theirs = plain_queries.changes(
            ledger, ledger.rows[rows : rows + limit], ledger.expiry_rows[expiries : expiries + limit], limit
        )
        self._told("changes", (limit, rows, expiries), page.events, theirs)
        expired = sum(change[0] == 4 for change in theirs)
        self._follower = page.cursor, rows + len(theirs) - expired, expiries + expired
        return bool(theirs)

    def _look_up(self) -> None:
        ids = self._draws.transfer_ids()
        theirs: list[Event] = [self._ledger.transfers[i] for i in ids if i in self._ledger.transfers]
        self._told("lookup_transfers", ids, finish(self._reader.lookup_transfers(ids)), theirs)

    def _pages(self, question: Any, ask: Callable[[Any], Coroutine[Any, Any, Any]], rows: str) -> list[Any]:
        """All pages of an answer."""
        pages = [finish(ask(question))]
        while pages[-1].cursor is not None:
            if len(pages) == PAGES_MAX:
                raise Violation(f"pages without end: {question}")
            pages.append(finish(ask(replace(question, cursor=pages[-1].cursor))))
            self._count("several pages")
        if any(len(getattr(page, rows)) > question.limit for page in pages):
            raise Violation(f"a page is longer than was asked: {question}")
        return pages

    def _told(self, name: str, question: Any, ours: Sequence[Any], theirs: Sequence[Any]) -> None:
        self._counts[f"query: {name}"] += 1
        self._count("something is found" if theirs else "nothing is found")
        if hasattr(question, "__dataclass_fields__"):
            for field in ("timestamp_min", "timestamp_max", "code", "ledger", *plain_queries.DATA):
                self._count(
                    field
                    if isinstance(getattr(question, field, ()), int) and getattr(question, field)
                    else None
                )
            self._count("limit reached" if len(theirs) >= getattr(question, "limit", 8190) else None)
        self._compare(name, plain(ours), list(theirs), question)

    def _compare(self, name: str, ours: Any, theirs: Any, question: Any) -> None:
        if ours == theirs:
            return
        where = ""
        if isinstance(ours, list):
            at = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
            at = min(len(ours), len(theirs)) if at is None else at
            where = f", item {at} of {len(ours)} and {len(theirs)}"
            ours, theirs = ours[at : at + 1], theirs[at : at + 1]
        raise Violation(
            f"query: {name}{where}\n  asked:            {question}\n"
            f"  ours:             {ours}\n  the plain ledger: {theirs}"
        )

    def _count_criteria(self, search: TransferSearch | AccountSearch) -> None:
        self._count("newest_first" if search.newest_first else None)
        self._count("several alternatives" if len(search.any_of) > 1 else None)
        for one in search.any_of:
            for name in one.__dataclass_fields__:
                self._count(name if getattr(one, name) not in {None, (), 0} else None)

    def _count(self, *names: str | None) -> None:
        for name in names:
            if name is not None:
                self._counts[f"filter: {name}"] += 1


def finish(question: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer to a question that has nothing to wait for."""
    try:
        question.send(None)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    raise Violation("a question waits for something")


def plain(answer: Any) -> Any:
    """An answer as tuples and lists of numbers, as the plain ledger's are."""
    if hasattr(answer, "__dataclass_fields__"):
        return tuple(plain(getattr(answer, name)) for name in answer.__dataclass_fields__)
    if isinstance(answer, list):
        return [plain(item) for item in answer]
    return tuple(plain(item) for item in answer) if isinstance(answer, tuple) else answer
