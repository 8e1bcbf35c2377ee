"""Draws: what is asked about, from the seed: mostly what exists, and times at the edges of things.

A question that nothing answers shows little. So values are taken from a transfer or
an account that is there, and bounds of time from first and last rows of segments,
from transfers, expiries and accounts, or one nanosecond beside them.
"""

from __future__ import annotations

from bisect import bisect_left
from random import Random
from typing import Any

from ledger.contract import TransferPendingStatus
from ledger.queries.questions import AccountCriteria, TransferCriteria
from tests.simulation.memory_server import MemoryServer
from tests.simulation.plain_ledger import Event, PlainLedger
from tests.simulation.plain_queries import COUNTERS, STATUSES, first_of
from tests.simulation.plain_refusals import MAX, TOP

ROWS_MAX = 800
"""Most questions are about so many rows at most: their plain answers look at each."""
UNKNOWN_ID = 99
PLACES = {"user_data_128": 5, "user_data_64": 6, "user_data_32": 7, "ledgers": 9, "codes": 10}
"""Where fields of several values stand in a record, of a transfer or an account."""


class Draws:
    """Takes what is asked about from what is there; needs some transfers."""

    def __init__(self, random: Random, ledger: PlainLedger, server: MemoryServer) -> None:
        self._random = random
        self._ledger = ledger
        self._server = server

    def pick(self, options: Any) -> Any:
        """One of these."""
        return options[int(self._random.random() * len(options))]

    def chance(self, percent: float) -> bool:
        """Whether something happens that happens so often."""
        return self._random.random() * 100 < percent

    def transfer(self, low: int = 0) -> Event:
        """A transfer; one of the first from a time on, where there is any."""
        rows = self._ledger.rows
        at = min(bisect_left(rows, low, key=first_of), len(rows) - 1)
        number = at + int(self._random.random() * min(len(rows) - at, 500)) if low else self._anywhere()
        return self._ledger.transfers[rows[number][13]]

    def transfer_ids(self) -> list[int]:
        """Ids of transfers, those that expired or were resolved among them, and of none."""
        rows = [self.transfer() for _ in range(self.pick((1, 5, 20)))]
        ids = [e[0] for e in rows] + [e[4] for e in rows if e[4]]
        for row in self._random.choices(self._ledger.expiry_rows, k=3) if self._ledger.expiry_rows else ():
            number = bisect_left(self._ledger.rows, row[1], key=first_of)
            ids.append(self._ledger.rows[number][13])
        return [*ids, self.pick((UNKNOWN_ID, ids[0]))]

    def account_id(self) -> int:
        """An account that a transfer has moved, any one, or none."""
        if self.chance(4):
            return UNKNOWN_ID
        if self.chance(15):
            return int(self.pick(self._ledger.slots).id)
        return self.transfer()[1 + self.chance(50)]

    def times(self) -> tuple[int, int]:
        """First and last instant, 0 for open."""
        low = self.edge() if self.chance(60) else 0
        high = self.edge() if self.chance(60) else 0
        if low and high and low > high:
            low, high = high, low
        rows = self._ledger.rows
        at = bisect_left(rows, low, key=first_of)
        rest = len(rows) - at
        if rest > 10 * ROWS_MAX or (rest > ROWS_MAX and self.chance(95)):
            limit = rows[at + int(self._random.random() * ROWS_MAX)][0] + self.pick((-1, 0, 1))
            high = max(low, min(high or TOP, limit))
        return low, high

    def edge(self) -> int:
        """An instant at which something begins or ends, or right beside it."""
        at = self._random.random()
        segments = self._server.sealed()
        if at < 0.4 and segments:
            seal = self.pick(segments).seal
            instant = self.pick((seal.first_timestamp, seal.last_timestamp))
        elif at < 0.5:
            instant = self.pick(self._ledger.slots).timestamp
        elif at < 0.6 and self._ledger.expiry_rows:
            instant = self.pick(self._ledger.expiry_rows)[self.pick((0, 1))]
        elif at < 0.65:
            instant = self.pick((1, self._ledger.last, TOP - 1))
        else:
            instant = self._ledger.rows[self._anywhere()][0]
        return max(1, int(instant) + int(self.pick((-1, 0, 0, 0, 1))))

    def limit(self, expected: int) -> int:
        """A page's size, for about a dozen pages at most."""
        limit = int(self.pick((1, 2, 3, 7, 50, max(expected, 1), expected + 1, 8189)))
        return min(max(limit, expected // 12 + 1), 8189)

    def criteria(self, low: int) -> tuple[TransferCriteria, ...]:
        """Alternatives of a search; the first of them mean some transfer near the lower bound."""
        count = self.pick((0, 1, 1, 1, 1, 2, 2, 3))
        return tuple(self._one(self.transfer(low)) for _ in range(count))

    def account_criteria(self) -> tuple[AccountCriteria, ...]:
        """Alternatives of a search for accounts."""
        slots = self._ledger.slots
        return tuple(self._one_account(self.pick(slots).record()) for _ in range(self.pick((0, 1, 1, 2, 3))))

    def some(self, value: int, others: tuple[int, ...]) -> tuple[int, ...]:
        """A value among others, or hardly ever without it."""
        values = [other for other in others if self.chance(30)]
        return tuple(values) if values and self.chance(10) else (*values, value)

    def _anywhere(self) -> int:
        """A row's number; the newest ones more often."""
        count = len(self._ledger.rows)
        newest = min(count, self.pick((20, 500, count, count)))
        return count - 1 - int(self._random.random() * newest)

    def _one(self, e: Event) -> TransferCriteria:
        asked: dict[str, Any] = {}
        other = self.transfer()
        if self.chance(30):
            asked["account_ids"] = self.some(e[self.pick((1, 2))], (other[1], UNKNOWN_ID))
        if self.chance(20):
            asked["debit_account_ids"] = self.some(e[1], (other[1], other[2]))
        if self.chance(20):
            asked["credit_account_ids"] = self.some(e[2], (other[1], other[2]))
        if self.chance(25):
            asked["amount_min"] = max(0, e[3] - self.pick((0, 0, 1, 5)))
        if self.chance(25):
            asked["amount_max"] = min(TOP, max(e[3], asked.get("amount_min", 0)) + self.pick((0, 0, 1, 20)))
        for name, place in PLACES.items():
            if self.chance(15):
                asked[name] = self.some(e[place], (other[place], 0 if place < 9 else 1))
        self._flags(asked, e[11], (1, 2, 4, 8, 16, 256))
        if self.chance(20):
            status = STATUSES.index(self._ledger.fates.get(e[0], "none"))
            asked["pending_status"] = tuple(
                TransferPendingStatus(value) for value in self.some(status, (0, 1, 4))
            )
        return TransferCriteria(**asked)

    def _one_account(self, record: Event) -> AccountCriteria:
        asked: dict[str, Any] = {}
        for name, place in PLACES.items():
            if self.chance(15):
                asked[name] = self.some(record[place], (0, 7) if place < 9 else (1, 2))
        self._flags(asked, record[11], (2, 4, 8, 32))
        held = {name: record[at] for at, name in enumerate(COUNTERS, 1)}
        held["balance"] = record[4] - record[2]
        for name, value in held.items():
            slack = self.pick((0, 0, 3))
            if self.chance(12):
                asked[f"{name}_min"] = max(value - slack, -TOP if name == "balance" else 0)
            if self.chance(12):
                asked[f"{name}_max"] = min(value + slack, TOP)
        return AccountCriteria(**asked)

    def _flags(self, asked: dict[str, Any], flags: int, known: tuple[int, ...]) -> None:
        bit = self.pick(known)
        if self.chance(15) and flags & bit:
            asked["flags_all"] = bit
        if self.chance(15):
            asked["flags_any"] = bit | self.pick(known)
        if self.chance(15) and not flags & bit:
            asked["flags_none"] = bit


def named(event: Event, draws: Draws) -> dict[str, int]:
    """Fields of the contract's filters, some of them as this record has them."""
    places = {"user_data_128": 5, "user_data_64": 6, "user_data_32": 7, "code": 10}
    return {name: event[at] for name, at in places.items() if draws.chance(20) and event[at] < MAX}
