"""Questions: random look-ups and queries that both ledgers can answer, with valid filters only.

What an invalid filter gets is where the two differ by design: TigerBeetle answers
with nothing, ours with an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.conformance.streams import ACCOUNT_IDS, Books
from ledger.contract import BATCH_MAX, AccountFilter, ChangeEventsFilter, QueryFilter

HISTORY = 8
"""Flag of accounts whose balances are kept."""


@dataclass
class Questions:
    """Asks about what exists, and a little beside it."""

    random: Random
    books: Books
    around: range = ACCOUNT_IDS
    """Accounts that it asks for most."""

    def transfer_ids(self) -> list[int]:
        """Ids to look up: known ones, some twice, and some that nothing has."""
        known = [*self.books.transfers, 1, 999, 2**128 - 1]
        return self.random.choices(known, k=40)

    def account_ids(self) -> list[int]:
        """The same for accounts."""
        return [*self.around, 999, 3, 3]

    def account_filter(self) -> AccountFilter:
        """A page of an account's history."""
        kept = [a.id for a in self.books.accounts.values() if a.flags & HISTORY]
        return AccountFilter(
            account_id=self.random.choice([*self.around, *kept, *kept, 3, 999]),
            flags=self.random.choice([1, 2, 3, 3, 3, 5, 6, 7, 7]),
            **self._fields(),
        )

    def query_filter(self) -> QueryFilter:
        """A page of a query."""
        ledger = self.random.choice([0, 0, 1, 2, 3])
        return QueryFilter(flags=self.random.choice([0, 1]), ledger=ledger, **self._fields())

    def changes_filter(self) -> ChangeEventsFilter:
        """A page of the changes."""
        low, high = self._bounds()
        limit = self.random.choice([1, 2, 7, 100, 2730])
        return ChangeEventsFilter(timestamp_min=low, timestamp_max=high, limit=limit)

    def _fields(self) -> dict[str, Any]:
        pick = self.random.choice
        low, high = self._bounds()
        return {
            "user_data_128": pick([0, 0, 0, 9, 3]),
            "user_data_64": pick([0, 0, 0, 2**64 - 1, 4]),
            "user_data_32": pick([0, 0, 0, 2**32 - 1, 5]),
            "code": pick([0, 0, 1, 2]),
            "limit": pick([1, 2, 3, 5, 10, 100, BATCH_MAX, BATCH_MAX]),
            "timestamp_min": low,
            "timestamp_max": high,
        }

    def _bounds(self) -> tuple[int, int]:
        times = sorted(self.books.account_times | self.books.transfer_times)
        if not times:
            return 0, 0
        first, second = (self.random.choice(times) + self.random.choice([-1, 0, 0, 1]) for _ in range(2))
        low, high = min(first, second), max(first, second)
        return self.random.choice([(0, 0), (0, 0), (low, 0), (0, high), (low, high)])
