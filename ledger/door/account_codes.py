"""Account codes: what the accounts of a request are for, asked once and remembered.

Ledger and code of an account never change, and an account is never deleted, so
that an answer holds for ever. An account that is not there is not remembered: it
may be created the next moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import numpy.typing as npt

from ledger.contract import BATCH_MAX, Account
from ledger.slot_map import ABSENT, SlotMap

Lookup = Callable[[Sequence[int]], Awaitable[list[Account]]]
Ids = npt.NDArray[np.uint64]
"""128-bit ids as rows of a low and a high half."""
Codes = npt.NDArray[np.int32]

UNKNOWN = -1
"""Code of an account that the ledger does not hold."""

REMEMBERED_MAX = 1_000_000
"""Accounts whose code is remembered; one more, and all are forgotten and asked again."""


class AccountCodes:
    """Codes of accounts by id, a whole batch at a time."""

    def __init__(self, lookup: Lookup, *, remembered_max: int = REMEMBERED_MAX) -> None:
        self._lookup = lookup
        self._remembered_max = remembered_max
        self._forget()

    def _forget(self) -> None:
        self._ids = np.zeros((1024, 2), np.uint64)
        self._slots = SlotMap(self, lambda self: self._ids)
        self._codes = np.zeros(1024, np.int32)

    async def of(self, ids: Ids) -> Codes:
        """The code of each account, ``UNKNOWN`` where there is none."""
        slots = self._slots.get(ids[:, 0], ids[:, 1])
        codes = np.where(slots == ABSENT, UNKNOWN, self._codes[slots])
        unknown = slots == ABSENT
        if not unknown.any():
            return codes
        missing, places = np.unique(ids[unknown], axis=0, return_inverse=True)
        wanted = [high << 64 | low for low, high in missing.tolist()]
        found: dict[int, int] = {}
        for start in range(0, len(wanted), BATCH_MAX):
            accounts = await self._lookup(wanted[start : start + BATCH_MAX])
            found |= {account.id: account.code for account in accounts}
        asked = np.array([found.get(account_id, UNKNOWN) for account_id in wanted], np.int32)
        codes[unknown] = asked[places.reshape(-1)]
        self._remember(missing[asked != UNKNOWN], asked[asked != UNKNOWN])
        return codes

    def _remember(self, ids: Ids, codes: Codes) -> None:
        # Another request may have asked for the same accounts meanwhile.
        new = self._slots.get(ids[:, 0], ids[:, 1]) == ABSENT
        ids, codes = ids[new], codes[new]
        if self._slots.count + len(ids) > self._remembered_max:
            self._forget()
            ids, codes = ids[: self._remembered_max], codes[: self._remembered_max]
        first, last = self._slots.count, self._slots.count + len(ids)
        if last > len(self._codes):
            self._codes = np.concatenate([self._codes, np.zeros(last, np.int32)])
            self._ids = np.concatenate([self._ids, np.zeros((last, 2), np.uint64)])
        self._codes[first:last], self._ids[first:last] = codes, ids
        self._slots.insert(ids[:, 0], ids[:, 1], np.arange(first, last, dtype=np.int32))
