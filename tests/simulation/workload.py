"""Workload: what the simulated clients ask for, from a seed.

Most events come in large requests that the vectorised step can take; a few strange
ones stand among them, and many small requests are made of nothing else: ids that
collide, fields that lie, chains that break, amounts at the edge of 63 bits, posts at
the very nanosecond of an expiry. Clients know what is durable (the plain ledger).
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.simulation.plain_ledger import Event, PlainAccount, PlainLedger
from tests.simulation.plain_refusals import (
    CLOSED,
    CLOSING_CREDIT,
    CLOSING_DEBIT,
    CREDIT_LIMIT,
    DEBIT_LIMIT,
    HISTORY,
    IMPORTED_ACCOUNT,
    IMPORTED_TRANSFER,
    LINKED,
    MAX,
    PENDING,
    POST,
    TOP,
    VOID,
)

FOREVER = 2**32 - 1
SIZES = ((1, 3, 34), (4, 12, 26), (13, 63, 8), (64, 300, 12), (301, 1100, 14), (1101, 5000, 6))
"""Smallest and largest size of a request, and how many of a hundred are of that kind."""
LARGE = 300
"""A request of so many events mostly means well."""
WHALE_LEDGER = 3
"""Amounts of this ledger are at the edge of 63 bits."""
UNUSUAL = DEBIT_LIMIT | CREDIT_LIMIT | CLOSED
"""Accounts with these flags refuse much."""
HUGE = (2**62 - 1, 2**62, 2**62 + 1, TOP - 1, TOP, TOP + 1, MAX - 1, MAX)
ODD_FLAGS = (
    PENDING | CLOSING_DEBIT, PENDING | CLOSING_CREDIT, PENDING | CLOSING_DEBIT | CLOSING_CREDIT,
    PENDING | CLOSING_DEBIT | 16, PENDING | CLOSING_DEBIT | 32, PENDING | CLOSING_CREDIT | 48,
    PENDING | CLOSING_CREDIT | 16, CLOSING_DEBIT, CLOSING_CREDIT, 512, 1 << 15,
)  # fmt: skip
FLAGS = (0, 0, 0, PENDING, PENDING, PENDING, 16, 32, 48, 16 | PENDING, 32 | PENDING, 48 | PENDING)
ACCOUNT_FLAGS = (0, 0, 0, 8, 8, 2, 10, 4, 12, 2, 4)
ODD_ACCOUNT_FLAGS = (32, 6, 64, 1 << 15, 40)

BREAKAGES: tuple[tuple[int, Any], ...] = (
    (0, 0), (0, MAX), (12, 5), (11, lambda f: f | 512), (11, lambda f: f ^ 16), (11, lambda f: f ^ PENDING),
    (11, lambda f: f ^ VOID), (11, lambda f: f | CLOSING_CREDIT), (1, 0), (1, MAX), (1, 99), (2, 0), (2, MAX),
    (2, 99), (1, lambda i: i ^ 1), (2, lambda i: i ^ 1), (4, lambda i: i ^ 1), (4, MAX), (4, 0),
    (8, lambda t: t ^ 1), (9, 0), (9, lambda n: n ^ 3), (10, 0), (10, lambda n: n ^ 3), (3, lambda a: a ^ 1),
    (3, MAX), (3, TOP), (5, lambda d: d ^ 1), (6, lambda d: d ^ 1), (7, lambda d: d ^ 1),
    (4, "own"), (2, "debit"),
)  # fmt: skip
"""Which number of a transfer is replaced, and with what."""
ACCOUNT_BREAKAGES: tuple[tuple[int, Any], ...] = (
    (0, 0), (0, MAX), (8, 1), (12, 5), (1, 1), (2, MAX), (3, TOP), (4, 1), (9, 0), (10, 0),
    (11, lambda f: f | 6), (11, lambda f: f | 512), (11, lambda f: f ^ 8), (5, lambda d: d ^ 1),
    (6, lambda d: d ^ 1),
    (7, lambda d: d ^ 1), (9, lambda n: n ^ 3), (10, lambda n: n ^ 3),
)  # fmt: skip


class Workload:
    """Makes requests; the same random numbers make the same."""

    def __init__(self, random: Random, ledger: PlainLedger) -> None:
        self.target: int | None = None
        """A pending transfer whose end is now: whoever comes next tries to post it."""
        self.now = 0
        self._random = random
        self._ledger = ledger
        self._pools: dict[int, list[PlainAccount]] = {}
        self._pooled = 0
        self._counter = 1000
        self._id_kind = random.choice((0, 1, 1, 2))
        self._sent: list[Event] = []
        self._sent_accounts: list[Event] = []
        self._pendings: list[Event] = []

    def request(self) -> tuple[str, list[Event]]:
        """("accounts" or "transfers", events)."""
        slots = self._ledger.slots
        for account in slots[self._pooled :]:
            self._pools.setdefault(account.ledger, []).append(account)
        self._pooled = len(slots)
        if len(self._pools.get(1, ())) < 2 or self._chance(11):
            return "accounts", self._accounts()
        events = self._transfers()
        return "transfers", events

    def reads(self) -> list[int]:
        """Ids of accounts to look up."""
        slots = self._ledger.slots
        known = [self._pick(slots).id for _ in range(self._pick((1, 1, 3, 10)))] if slots else []
        return [*known, self._pick((0, 99, MAX, *known))]

    def again(self, events: list[Event]) -> list[Event]:
        """The same ids with other content."""
        percent = 40 if len(events) < LARGE else 1
        return [self._broken(event, BREAKAGES) if self._chance(percent) else event for event in events]

    def _pick(self, options: Any) -> Any:
        return options[int(self._random.random() * len(options))]

    def _chance(self, percent: float) -> bool:
        return self._random.random() * 100 < percent

    def _size(self) -> int:
        at = self._random.random() * 100
        kind = 0
        while at >= SIZES[kind][2]:
            at -= SIZES[kind][2]
            kind += 1
        low, high, _ = SIZES[kind]
        return low + int(self._random.random() * (high - low + 1))

    def _fresh_id(self) -> int:
        self._counter += 1
        if self._id_kind == 0:
            return self._counter
        if self._id_kind == 1:
            # As clients make them: the upper half rises with time.
            return (self.now // 10**6) << 64 | self._random.getrandbits(40) << 24 | self._counter
        return self._random.getrandbits(128) >> 1 | 1

    def _accounts(self) -> list[Event]:
        if not self._ledger.slots:
            return [self._open_account(1) for _ in range(24)]
        events = [self._account() for _ in range(self._pick((1, 2, 3, 8, 30)))]
        if self._chance(40):
            self._import(events, IMPORTED_ACCOUNT, self._ledger.newest_account)
        self._link(events)
        self._sent_accounts += events
        return events

    def _open_account(self, ledger: int) -> Event:
        flags = HISTORY if self._chance(30) else 0
        return (self._fresh_id(), 0, 0, 0, 0, 0, 0, 0, 0, ledger, 1, flags, 0)

    def _account(self) -> Event:
        if self._sent_accounts and self._chance(40):
            event: Event = self._pick(self._sent_accounts[-60:])
            event = (*event[:11], event[11] & ~(LINKED | IMPORTED_ACCOUNT), 0)
            return self._broken(event, ACCOUNT_BREAKAGES) if self._chance(60) else event
        flags = self._pick(ODD_ACCOUNT_FLAGS if self._chance(6) else ACCOUNT_FLAGS)
        own_id = self._fresh_id() if self._chance(70) else int(self._random.random() * 40) + 1
        event = (
            own_id, 0, 0, 0, 0, self._pick((0, 0, 7)), self._pick((0, 2**64 - 1)), self._pick((0, 2**31)), 0,
            self._pick((1, 1, 1, 1, 2, WHALE_LEDGER)), self._pick((1, 2, 2**16 - 1)), flags, 0,
        )  # fmt: skip
        return self._broken(event, ACCOUNT_BREAKAGES) if self._chance(8) else event

    def _transfers(self) -> list[Event]:
        size = self._size()
        if self._chance(0.5):
            return []
        strange = (
            70
            if size < 13 and self._chance(60)
            else self._pick((0, 0, 0, 0, 0, 0.1, 0.2))
            if size > 63
            else 8
        )
        events = self._usual(size) if size > 3 else []
        if not events:
            events = [self._strange() if self._chance(strange) else self._ordinary() for _ in range(size)]
        elif strange:
            for index in range(len(events)):
                if self._chance(strange):
                    events[index] = self._strange()
        if self.target is not None:
            self._race(events)
        is_youngest = self._ledger.slots[-1].timestamp > self._ledger.newest_transfer + 1
        if size < 64 and self._chance(60 if is_youngest else 10):
            if self._chance(25):
                events = [self._one_unit() for _ in range(self._pick((1, 2, 3)))]
            self._import(events, IMPORTED_TRANSFER, self._ledger.newest_transfer)
        elif self._chance(12):
            # The same id twice in one request, exactly or almost.
            again = self._pick(events)
            events.append(self._broken(again, BREAKAGES) if self._chance(40) else again)
        self._link(events)
        self._sent += events if size < 64 else events[:40]
        del self._sent[:-1500]
        return events

    def _race(self, events: list[Event]) -> None:
        pending = self._ledger.transfers.get(self.target or 0)
        self.target = None
        if pending is not None:
            flags = self._pick((POST, POST, VOID))
            everything = 0 if flags == VOID else MAX
            event = (self._fresh_id(), 0, 0, everything, pending[0], 0, 0, 0, 0, 0, 0, flags, 0)
            events.insert(self._pick((0, len(events), len(events))), event)

    def _usual(self, size: int) -> list[Event]:
        """Events that most likely break no rule: plain, pending, posts and voids."""
        is_large = size >= LARGE
        pool = self._pools[self._pick((1, 1, 1, 2)) if 2 in self._pools and not is_large else 1]
        if self._chance(97 if is_large else 75):
            pool = [account for account in pool if not account.flags & UNUSUAL]
        count = len(pool)
        if count < 2:
            return []
        random = self._random.random
        with_pending = random() * 0.5 if random() < 0.6 else 0.0
        resolving = random() * 0.5 if random() < (0.3 if is_large else 0.5) else 0.0
        busy = int(random() * count) if random() < 0.2 else None
        data = random() < 0.3
        events: list[Event] = []
        made: list[Event] = []
        pendings = self._pendings
        if is_large:
            # What is alive as far as anybody knows; and what this request makes itself.
            fates = self._ledger.fates
            pendings = [pending for pending in pendings[-600:] if fates.get(pending[0]) == "pending"]
        for _ in range(size):
            at = random()
            if at < resolving and pendings:
                events.append(self._resolution(pendings, usual=True))
                continue
            first = int(random() * count) if busy is None else busy
            second = (first + 1 + int(random() * (count - 1))) % count
            flags = timeout = 0
            if at > 1 - with_pending:
                flags, timeout = PENDING, (0, 0, 1, 2, 5, 60)[int(random() * 6)]
            event = (
                self._fresh_id(), pool[first].id, pool[second].id, int(random() * 50), 0, 9 if data else 0,
                2**64 - 1 if data else 0, 5 if data else 0, timeout, pool[first].ledger, 1, flags, 0,
            )  # fmt: skip
            events.append(event)
            if flags:
                pendings.append(event)
                made.append(event)
        if is_large:
            self._pendings += made
        del self._pendings[:-3000]
        return events

    def _one_unit(self) -> Event:
        """A plain transfer, to be imported: little can be wrong with it."""
        debit, credit = self._random.sample(self._pools[1][:24], 2)
        return (self._fresh_id(), debit.id, credit.id, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0)

    def _strange(self) -> Event:
        at = self._random.random()
        if at < 0.3 and self._sent:
            event: Event = self._pick(self._sent)
            event = (*event[:11], event[11] & ~(LINKED | IMPORTED_TRANSFER), 0)
            return self._broken(event, BREAKAGES) if self._chance(50) else event
        if at < 0.6 and self._pendings:
            event = self._resolution(self._pendings, usual=False)
        else:
            event = self._ordinary()
        return self._broken(event, BREAKAGES) if self._chance(25) else event

    def _ordinary(self) -> Event:
        ledger = self._pick(list(self._pools)) if self._chance(35) else 1
        pool = self._pools[ledger]
        debit, credit = self._pick(pool), self._pick(pool)
        if self._chance(3):
            credit = self._pick(self._ledger.slots)
        elif credit is debit and len(pool) > 1:
            credit = pool[pool.index(debit) - 1]
        flags = self._pick(ODD_FLAGS if self._chance(10) else FLAGS)
        amount = int(self._random.random() * 50)
        if debit.ledger == WHALE_LEDGER and self._chance(60):
            amount = self._pick(HUGE) if self._chance(40) else self._edge(debit, credit)
        elif self._chance(8):
            amount = self._edge(debit, credit) if self._chance(70) else self._pick(HUGE[-4:])
        timeout = self._pick((0, 1, 1, 2, 3, FOREVER)) if flags & PENDING else 0
        if flags & (CLOSING_DEBIT | CLOSING_CREDIT) and flags & PENDING and self._chance(80):
            # What closes for ever leaves nothing to do.
            timeout = 1
        event = (
            self._fresh_id(), debit.id, credit.id, amount, 0,
            self._pick((0, 0, 9)), self._pick((0, 2**64 - 1)), self._pick((0, 2**32 - 1)), timeout,
            debit.ledger, self._pick((1, 1, 2)), flags, 0,
        )  # fmt: skip
        if flags & PENDING:
            self._pendings.append(event)
        return event

    def _edge(self, debit: PlainAccount, credit: PlainAccount) -> int:
        """An amount at which something is just full, or one more."""
        used = debit.debits_pending + debit.debits_posted
        owed = credit.credits_pending + credit.credits_posted
        rests = (
            TOP - used, TOP - owed, TOP - debit.debits_posted, TOP - credit.credits_posted,
            TOP - debit.debits_pending, TOP - credit.credits_pending,
            debit.credits_posted - used, credit.debits_posted - owed,
        )  # fmt: skip
        return max(0, int(self._pick(rests))) + int(self._pick((0, 0, 1)))

    def _resolution(self, pendings: list[Event], *, usual: bool) -> Event:
        # Whoever means well posts what is young, before its time is over.
        at = len(pendings) - 1 - int(self._random.random() * min(len(pendings), 200 if usual else 3000))
        pending = pendings[at]
        if usual or self._chance(30):
            pendings[at] = pendings[-1]
            pendings.pop()
        flags = POST if self._random.random() < 0.6 else VOID
        everything = 0 if flags == VOID else MAX
        if usual:
            # Who balances takes what is there: how much was reserved is not known.
            return (self._fresh_id(), 0, 0, everything, pending[0], 0, 0, 0, 0, 0, 0, flags, 0)
        amount = self._pick(
            (everything, everything, pending[3], 0, max(0, pending[3] - 1), min(pending[3] + 1, MAX))
        )
        explicit = self._chance(40)
        named = pending[0]
        if self._sent and self._chance(5):
            named = self._pick((999, self._pick(self._sent)[0]))
        return (
            self._fresh_id(), pending[1] if explicit else 0, pending[2] if explicit else 0, amount,
            named, self._pick((0, 0, 3)), self._pick((0, 0, 4)), self._pick((0, 0, 5)), 0,
            pending[9] if explicit else 0, pending[10] if explicit else 0, flags, 0,
        )  # fmt: skip

    def _broken(self, event: Event, breakages: tuple[tuple[int, Any], ...]) -> Event:
        at, change = self._pick(breakages)
        value = {"own": event[0], "debit": event[1]}[change] if isinstance(change, str) else change
        value = value(event[at]) if callable(value) else value
        return (*event[:at], value, *event[at + 1 :])

    def _import(self, events: list[Event], flag: int, newest: int) -> None:
        """Make a request an imported one, mostly with timestamps that rise from the last ones."""
        at = newest if self._chance(90) else newest - 5
        slots = self._ledger.slots
        room = max(2, (self.now - newest) // (len(events) + 1)) if self._chance(50) else 1000
        for index, asked in enumerate(events):
            event = asked
            at += 1 + int(self._random.random() * min(room, 10**9))
            if self.now <= newest + 1000 * len(events):
                # Between the newest transfer and the end of this very request.
                at = newest + 1 + index
            if flag == IMPORTED_TRANSFER and self._pendings and self._chance(18):
                event = self._resolution(self._pendings, usual=True)
            timestamp, debit_id = max(at, 1), event[1]
            if self._chance(6):
                timestamp = self._pick((0, TOP, TOP + 1, self.now, self._ledger.last + len(events), 1))
            elif flag == IMPORTED_TRANSFER and index == 0 and slots[-1].timestamp > newest + 1:
                events[index] = self._before_the_youngest(event[0], slots[-1])
                continue
            elif slots and self._chance(15):
                youngest = slots[-1] if self._chance(60) else self._pick(slots)
                timestamp = max(1, youngest.timestamp - self._pick((0, 0, 1)))
                if flag == IMPORTED_TRANSFER and self._chance(50):
                    debit_id = youngest.id
            elif self._ledger.rows and self._chance(6):
                timestamp = self._pick(self._ledger.rows[-12:])[0]
            timeout = event[8] if flag == IMPORTED_ACCOUNT or self._chance(20) else 0
            flags = event[11] | (flag if self._chance(85) else 0)
            if flag == IMPORTED_TRANSFER and not flags & (POST | VOID) and self._chance(10):
                flags |= PENDING | self._pick((CLOSING_DEBIT, CLOSING_CREDIT))
                timeout = 0
            events[index] = (
                event[0],
                debit_id,
                event[2],
                *event[3:8],
                timeout,
                *event[9:11],
                flags,
                timestamp,
            )

    def _before_the_youngest(self, own_id: int, youngest: PlainAccount) -> Event:
        """After every transfer, and before one of its accounts was opened."""
        sides = (youngest.id, self._pick(self._pools.get(youngest.ledger, self._ledger.slots)).id)
        if self._chance(50):
            sides = (sides[1], sides[0])
        timestamp = youngest.timestamp - self._pick((0, 1))
        return (own_id, *sides, 1, 0, 0, 0, 0, 0, youngest.ledger, 1, IMPORTED_TRANSFER, timestamp)

    def _link(self, events: list[Event]) -> None:
        if len(events) < 2 or not self._chance(35):
            if events and self._chance(1):
                events[-1] = with_flags(events[-1], LINKED)
            return
        share = self._pick((0.1, 0.5, 0.65, 0.95)) if len(events) < 64 else self._pick((0.02, 0.3, 0.6))
        for index in range(len(events) - 1):
            if self._random.random() < share:
                events[index] = with_flags(events[index], LINKED)
        if self._chance(6):
            events[-1] = with_flags(events[-1], LINKED)


def with_flags(event: Event, flags: int) -> Event:
    """The event with these flags too."""
    return (*event[:11], event[11] | flags, event[12])
