"""Streams: random requests in which ids collide, chains break and timeouts run out all the time.

A stream looks at what is known of the ledger (a model of it, or its answers so far),
and then asks for it again, slightly differently, too late, twice, or in a chain that
will not hold. The same random numbers give the same stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Protocol, TypeVar

from ledger.contract import AMOUNT_LIMIT as TOP
from ledger.contract import ID_MAX as MAX
from ledger.contract import SECOND_NS as SECOND
from ledger.contract import Account, Transfer

LINKED, PENDING, POST, VOID = 1, 2, 4, 8
CLOSING_DEBIT, CLOSING_CREDIT, IMPORTED_TRANSFER = 64, 128, 256
BALANCING = 16 | 32
IMPORTED_ACCOUNT = 16

Event = TypeVar("Event", Account, Transfer)


class Books(Protocol):
    """What exists in the ledger."""

    @property
    def accounts(self) -> Mapping[int, Account]:
        """Accounts by id."""

    @property
    def balances(self) -> Mapping[int, tuple[int, int, int, int]]:
        """Debits pending, debits posted, credits pending, credits posted of each."""

    @property
    def transfers(self) -> Mapping[int, Transfer]:
        """Transfers by id, as stored, oldest first."""

    @property
    def fates(self) -> Mapping[int, str]:
        """What became of each pending transfer: pending, posted, voided or expired."""

    @property
    def account_times(self) -> AbstractSet[int]:
        """Timestamps of the accounts."""

    @property
    def transfer_times(self) -> AbstractSet[int]:
        """Timestamps of the transfers."""


class Known(Protocol):
    """What a stream knows of the ledger that it is for."""

    @property
    def books(self) -> Books:
        """What exists."""

    @property
    def last(self) -> int:
        """The last timestamp that was given out."""


Request = tuple[str, list[Account] | list[Transfer]]
"""("accounts" or "transfers", events)."""

ACCOUNT_IDS = range(1, 15)
AMOUNTS = [0, 1, 1, 2, 3, 5, 8, 13, 50]
HUGE_AMOUNTS = [2**62 - 1, 2**62, 2**62 + 1, TOP - 1, TOP, TOP + 1, MAX - 1, MAX]
ACCOUNT_FLAGS = [0, 0, 8, 8, 8, 2, 10, 4, 12]
STRANGE_ACCOUNT_FLAGS = [32, 6, 64, 1 << 15, 40]
TRANSFER_FLAGS = [0, 0, 0, 0, PENDING, PENDING, PENDING, 16, 32, 48, 16 | PENDING, 32 | PENDING]
STRANGE_TRANSFER_FLAGS = [
    PENDING | CLOSING_DEBIT, PENDING | CLOSING_CREDIT, PENDING | CLOSING_DEBIT | CLOSING_CREDIT,
    PENDING | CLOSING_DEBIT | 16, PENDING | CLOSING_DEBIT | 32,
    PENDING | CLOSING_CREDIT | 48, CLOSING_DEBIT, CLOSING_CREDIT, 512, 1 << 15,
]  # fmt: skip
FOREVER = 2**32 - 1
IMPORT_SPREAD_MAX = 40
"""Nanoseconds between imported events of a comparable stream: far less than between two requests."""
AMOUNT_PLAIN_MAX = 2**40
"""Amounts of a comparable stream stay below, so that no sum reaches 63 bits."""


def expires_at(transfer: Transfer) -> int | None:
    """When a pending transfer's time is over; None for never."""
    return transfer.timestamp + transfer.timeout * SECOND if transfer.timeout else None


OWN_ID = -1
"""Stands for the event's own id."""

Breakage = tuple[str, Callable[[int], int]]
"""A field's name, and what to make of its value."""


def to(value: int) -> Callable[[int], int]:
    """Makes any value this one."""
    return lambda _: value


def flip(bits: int) -> Callable[[int], int]:
    """Turns these bits over."""
    return lambda value: value ^ bits


def add(bits: int) -> Callable[[int], int]:
    """Sets these bits."""
    return lambda value: value | bits


ACCOUNT_BREAKAGES: list[Breakage] = [
    ("id", to(0)), ("id", to(MAX)), ("reserved", to(1)), ("timestamp", to(5)), ("debits_pending", to(1)),
    ("debits_posted", to(MAX)), ("credits_pending", to(TOP)), ("credits_posted", to(1)), ("ledger", to(0)),
    ("code", to(0)), ("flags", add(6)), ("flags", add(1 << 9)), ("flags", flip(8)),
    ("user_data_128", flip(1)), ("user_data_64", flip(1)), ("user_data_32", flip(1)), ("ledger", flip(3)),
    ("code", flip(3)),
]  # fmt: skip
TRANSFER_BREAKAGES: list[Breakage] = [
    ("id", to(0)), ("id", to(MAX)), ("timestamp", to(5)), ("flags", add(512)), ("flags", flip(16)),
    ("flags", flip(PENDING)), ("flags", flip(VOID)), ("flags", add(CLOSING_CREDIT)),
    ("debit_account_id", to(0)), ("debit_account_id", to(MAX)), ("debit_account_id", to(99)),
    ("credit_account_id", to(0)), ("credit_account_id", to(MAX)), ("credit_account_id", to(99)),
    ("debit_account_id", flip(1)), ("credit_account_id", flip(1)), ("pending_id", flip(1)),
    ("pending_id", to(MAX)), ("pending_id", to(OWN_ID)), ("pending_id", to(0)), ("timeout", flip(1)),
    ("ledger", to(0)), ("ledger", flip(3)), ("code", to(0)), ("code", flip(3)), ("amount", flip(1)),
    ("amount", to(MAX)), ("amount", to(TOP)), ("user_data_128", flip(1)), ("user_data_64", flip(1)),
    ("user_data_32", flip(1)),
]  # fmt: skip


@dataclass
class Stream:
    """One stream over what is known; ``now`` is the clock that its next requests are sent at."""

    random: Random
    model: Known
    now: int
    huge_percent: int = 6
    """How many amounts are at the edge of 63 bits; later ones then often overflow."""
    plain_percent: int = 0
    """How many requests are runs of plain transfers, with at most one other event among them."""
    accounts_percent: int = 8
    """How many requests open accounts."""
    requests_at_once: tuple[int, ...] = (1, 1, 2, 3)
    """How many requests a step may have."""
    timeouts: tuple[int, ...] = (0, 0, 1, 1, 2, 3, FOREVER)
    """Seconds that a pending transfer may have."""
    comparable: bool = False
    """Only what ledgers of 63 and of 128 bits, with clocks of their own, decide alike."""
    account_ids: range = ACCOUNT_IDS
    """Ids of the accounts that it opens."""
    next_id: int = 1000
    sent_accounts: list[Account] = field(default_factory=list)
    sent_transfers: list[Transfer] = field(default_factory=list)

    def step(self) -> list[Request]:
        """Move the clock and make requests that are sent at once."""
        self.now = self._next_time()
        return [self._request() for _ in range(self._pick(self.requests_at_once))]

    def request(self) -> Request:
        """Make one request, at the clock as it is set."""
        return self._request()

    def _pick(self, options: Any) -> Any:
        return options[self.random.randrange(len(options))]

    def _chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def _next_time(self) -> int:
        if self._chance(15):
            # Right before, at, or after the next timeout: where expiry and post race.
            ends = [
                e
                for e in map(expires_at, self._alive())
                if e is not None and self.now < e < self.now + 10 * SECOND
            ]
            if ends:
                return int(min(ends) + self._pick([-2, -1, 0, 1]))
        return self.now + int(
            self._pick([0, 0, 1, 7, 1000, 1000, 10**6, 10**6, SECOND // 2, SECOND, -3, -SECOND])
        )

    def _alive(self) -> list[Transfer]:
        books = self.model.books
        return [books.transfers[i] for i, fate in books.fates.items() if fate == "pending"]

    def _request(self) -> Request:
        opened = len(self.model.books.accounts)
        if opened < 4 or self._chance(self.accounts_percent):
            return "accounts", self._accounts()
        return "transfers", self._transfers()

    def _accounts(self) -> list[Account]:
        events = [self._account() for _ in range(self._pick([1, 2, 3, 5]))]
        if self._chance(25):
            self._import(events, IMPORTED_ACCOUNT, 10**4)
        self._link(events)
        self.sent_accounts += [replace(e) for e in events]
        return events

    def _account(self) -> Account:
        if self.sent_accounts and self._chance(30):
            event: Account = replace(self._pick(self.sent_accounts), timestamp=0)
            event.flags &= ~(LINKED | IMPORTED_ACCOUNT)
            return self._broken(event, ACCOUNT_BREAKAGES) if self._chance(50) else event
        flags = STRANGE_ACCOUNT_FLAGS if self._chance(8) else ACCOUNT_FLAGS
        event = Account(
            id=self._pick(self.account_ids), user_data_128=self._pick([0, 0, 7]),
            user_data_64=self._pick([0, 2**64 - 1]), user_data_32=self._pick([0, 2**31]),
            ledger=self._pick([1, 1, 1, 2]), code=self._pick([1, 2]), flags=self._pick(flags),
        )  # fmt: skip
        return self._broken(event, ACCOUNT_BREAKAGES) if self._chance(10) else event

    def _transfers(self) -> list[Transfer]:
        if self._chance(self.plain_percent):
            events = [self._plain() for _ in range(self._pick([2, 5, 20, 40]))]
            events.insert(self.random.randrange(len(events) + 1), self._transfer())
        else:
            count = 0 if self._chance(1) else self._pick([1, 1, 2, 3, 4, 6, 9])
            events = [self._transfer() for _ in range(count or int(self.comparable))]
        if events and self._chance(12):
            self._import(events, IMPORTED_TRANSFER, 10**3)
        elif events and self._chance(25):
            # The same id twice in one request, exactly or almost.
            again = replace(self._pick(events))
            events.append(self._broken(again, TRANSFER_BREAKAGES) if self._chance(40) else again)
        self._link(events)
        self.sent_transfers += [replace(e) for e in events]
        return events

    def _transfer(self) -> Transfer:
        choice = self.random.randrange(100)
        if self.sent_transfers and choice < 22:
            event: Transfer = replace(self._pick(self.sent_transfers[-40:]), timestamp=0)
            event.flags &= ~(LINKED | IMPORTED_TRANSFER)
            return self._broken(event, TRANSFER_BREAKAGES) if self._chance(50) else event
        event = self._resolution() if choice < 45 else self._ordinary()
        return self._broken(event, TRANSFER_BREAKAGES) if self._chance(8) else event

    def _plain(self) -> Transfer:
        """A transfer that most likely breaks no rule."""
        event = self._ordinary()
        return replace(event, id=self._fresh_id(), amount=self._pick(AMOUNTS), flags=0, timeout=0)

    def _fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    def _new_id(self) -> int:
        fresh = self._fresh_id()
        return fresh if self._chance(90) else self._pick(range(1000, fresh + 1))

    def _ordinary(self) -> Transfer:
        accounts = list(self.model.books.accounts.values())
        debit, credit = self._pick(accounts), self._pick(accounts)
        partners = [a for a in accounts if a.ledger == debit.ledger and a.id != debit.id]
        if partners and self._chance(92):
            credit = self._pick(partners)
        flags = self._pick(STRANGE_TRANSFER_FLAGS if self._chance(8) else TRANSFER_FLAGS)
        huge = self._chance(self.huge_percent) or (flags & BALANCING and self._chance(50))
        amount = self._pick(HUGE_AMOUNTS if huge else AMOUNTS)
        if self._chance(self.huge_percent):
            amount = self._edge_amount(debit, credit)
        timeout = self._pick(self.timeouts) if flags & PENDING else 0
        return Transfer(
            self._new_id(), debit.id, credit.id, amount, 0, self._pick([0, 0, 9]), self._pick([0, 2**64 - 1]),
            self._pick([0, 2**32 - 1]), timeout, debit.ledger, self._pick([1, 1, 2]), flags,
        )  # fmt: skip

    def _edge_amount(self, debit: Account, credit: Account) -> int:
        """An amount at which something is just full, or one more."""
        debits_pending, debits_posted, _, funds = self.model.books.balances[debit.id]
        _, owed, credits_pending, credits_posted = self.model.books.balances[credit.id]
        rests = [
            TOP - debits_pending - debits_posted, TOP - credits_pending - credits_posted,
            funds - debits_pending - debits_posted, owed - credits_pending - credits_posted,
        ]  # fmt: skip
        # A sum that is full at 63 bits is not at 128; a limit is full for both.
        rests = rests[2:] if self.comparable else rests
        return max(0, int(self._pick(rests))) + int(self._pick([0, 0, 1]))

    def _resolution(self) -> Transfer:
        books = self.model.books
        alive, everything = self._alive(), list(books.transfers.values())
        if not everything:
            return self._ordinary()
        pending = self._pick(alive) if alive and self._chance(75) else self._pick(everything[-30:])
        if self.comparable and self._chance(15):
            # Timeouts are few in such a stream; what comes after one is asked for all the same.
            expired = [books.transfers[i] for i, fate in books.fates.items() if fate == "expired"]
            pending = self._pick(expired) if expired else pending
        same = [0, 0, 0, pending.amount, pending.amount, max(pending.amount - 1, 0), pending.amount + 1, MAX]
        explicit = self._chance(40)
        return Transfer(
            self._new_id(),
            pending.debit_account_id if explicit else 0,
            pending.credit_account_id if explicit else 0,
            self._pick(same),
            pending.id if self._chance(97) else 999,
            self._pick([0, 0, 3]), self._pick([0, 0, 4]), self._pick([0, 0, 5]), 0,
            pending.ledger if explicit else 0,
            pending.code if explicit else 0,
            self._pick([POST, POST, VOID]),
        )  # fmt: skip

    def _broken(self, event: Event, breakages: list[Breakage]) -> Event:
        name, change = self._pick(breakages)
        value = change(getattr(event, name))
        setattr(event, name, event.id if value == OWN_ID else value)
        return event

    def _tame(self, event: Account | Transfer) -> None:
        """Take out of a comparable stream what only one of the two ledgers could refuse."""
        if isinstance(event, Account):
            # TigerBeetle's client has no name for it.
            event.reserved = 0
        elif not event.flags & (POST | VOID | BALANCING) and event.amount >= AMOUNT_PLAIN_MAX:
            event.amount %= 1000

    def _import(self, events: list[Any], flag: int, spread: int) -> None:
        """Make a request an imported one, mostly with timestamps that rise from the last ones."""
        books = self.model.books
        known = sorted(books.account_times | books.transfer_times)
        newest = max(books.transfer_times if flag == IMPORTED_TRANSFER else books.account_times, default=0)
        if self.comparable:
            spread = IMPORT_SPREAD_MAX
        at = min(newest, self.now - spread) if self._chance(10) and not self.comparable else newest
        for event in events:
            at += 1 + self.random.randrange(spread)
            strange = [0, TOP, TOP + 1, self.now, self.model.last + len(events), 1]
            # Where a request stands on another ledger's clock is not known before it is answered.
            strange = [0, TOP, TOP + 1, 1] if self.comparable else strange
            event.timestamp = self._pick(strange) if self._chance(6) else at
            if known and self._chance(15):
                event.timestamp = max(0, self._pick(known[-12:]) - self._pick([0, 0, 1]))
            if isinstance(event, Transfer):
                event.timeout = 0 if self._chance(80) else event.timeout
                self._meet_the_youngest(event, newest)
            if self._chance(95):
                event.flags |= flag

    def _meet_the_youngest(self, event: Transfer, newest: int) -> None:
        """Date an imported transfer right before one of its accounts was opened."""
        youngest = max(self.model.books.accounts.values(), key=lambda a: a.timestamp)
        if youngest.timestamp > newest + 1 and self._chance(40):
            event.timestamp = youngest.timestamp - 1
            side = self._pick(["debit_account_id", "credit_account_id"])
            setattr(event, side, youngest.id)

    def _link(self, events: list[Any]) -> None:
        if self.comparable:
            for event in events:
                self._tame(event)
        if not self._chance(45):
            return
        for event in events[:-1]:
            if self._chance(65):
                event.flags |= LINKED
        if events and self._chance(8):
            events[-1].flags |= LINKED
