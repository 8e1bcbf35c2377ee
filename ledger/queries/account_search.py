"""Account search: accounts by what they are and what they hold now.

Balances live in the engine's memory, so the engine looks through them: a stretch
of accounts at one instant, between two requests, and then the next stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.accounts import Accounts
from ledger.commands import Instant
from ledger.contract import AMOUNT_LIMIT, TIMESTAMP_MAX, Account, AccountFlags, InvalidFilter
from ledger.queries.criteria import check_alternatives, check_flags, check_values, pairs_among
from ledger.queries.questions import AccountCriteria, AccountSearch
from ledger.state import State

STRETCH_SLOTS = 65_536
"""So many accounts are looked at between two requests of others."""

Mask = npt.NDArray[np.bool_]

_WIDTHS = {"user_data_64": 64, "user_data_32": 32, "ledgers": 32, "codes": 16}
_COLUMN_OF = {"ledgers": "ledger", "codes": "code"}
COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


@dataclass(slots=True, frozen=True)
class Stretch:
    """What a stretch of accounts had, and the slot it came to; None where it was the last."""

    accounts: list[Account]
    reached: int | None


def check_account_criteria(any_of: Sequence[AccountCriteria]) -> None:
    """Raise ``InvalidFilter`` for alternatives that can mean nothing."""
    check_alternatives(any_of)
    for one in any_of:
        check_values("user_data_128", one.user_data_128, 0, 2**128 - 1)
        for name, bits in _WIDTHS.items():
            check_values(name, getattr(one, name), 0, 2**bits - 1)
        check_flags(one, sum(AccountFlags))
        _check_range(one, "balance", -AMOUNT_LIMIT)
        for name in COUNTERS:
            _check_range(one, name, 0)


def _check_range(one: AccountCriteria, name: str, lowest: int) -> None:
    low, high = getattr(one, f"{name}_min"), getattr(one, f"{name}_max")
    for bound, value in (("min", low), ("max", high)):
        if value is not None and not lowest <= value <= AMOUNT_LIMIT:
            raise InvalidFilter(f"{name}_{bound}", f"must be {lowest} to {AMOUNT_LIMIT}")
    if low is not None and high is not None and low > high:
        raise InvalidFilter(f"{name}_min", f"is more than {name}_max")


def search_stretch(
    state: State, _: Instant, *, search: AccountSearch, after: int | None, limit: int
) -> Stretch:
    """The accounts of the next stretch after a slot, in the order of the search; at most ``limit``."""
    accounts = state.accounts
    first, last = np.searchsorted(
        accounts.timestamp[: accounts.stored],
        # No account can have the highest timestamp.
        [search.timestamp_min, min(search.timestamp_max or TIMESTAMP_MAX, TIMESTAMP_MAX - 1) + 1],
    ).tolist()
    if search.newest_first:
        end = last if after is None else min(last, after)
        start = max(first, end - STRETCH_SLOTS)
    else:
        start = first if after is None else max(first, after + 1)
        end = min(last, start + STRETCH_SLOTS)
    if start >= end:
        return Stretch([], None)
    slots = start + np.flatnonzero(to_mask(accounts, start, end, search.any_of))
    if search.newest_first:
        slots = slots[::-1]
    found = [account_at(accounts, slot) for slot in slots[:limit].tolist()]
    if len(found) == limit:
        return Stretch(found, int(slots[limit - 1]))
    is_end = start == first if search.newest_first else end == last
    return Stretch(found, None if is_end else start if search.newest_first else end - 1)


def to_mask(accounts: Accounts, start: int, end: int, any_of: Sequence[AccountCriteria]) -> Mask:
    """Which accounts of these slots an alternative holds for."""
    if not any_of:
        return np.ones(end - start, bool)
    chosen = np.zeros(end - start, bool)
    for one in any_of:
        chosen |= _mask_of(accounts, slice(start, end), one)
    return chosen


def _mask_of(accounts: Accounts, part: slice, one: AccountCriteria) -> Mask:
    mask = np.ones(part.stop - part.start, bool)
    for name in _WIDTHS:
        wanted = getattr(one, name)
        if wanted:
            values = getattr(accounts, _COLUMN_OF.get(name, name))[part]
            mask &= np.isin(values, np.array(wanted, values.dtype))
    if one.user_data_128:
        mask &= pairs_among(accounts.user_data_128[part], one.user_data_128)
    flags = accounts.flags[part]
    if one.flags_all:
        mask &= flags & one.flags_all == one.flags_all
    if one.flags_any:
        mask &= flags & one.flags_any != 0
    if one.flags_none:
        mask &= flags & one.flags_none == 0
    counters = accounts.counters[part]
    for column, name in enumerate(COUNTERS):
        mask &= _between(counters[:, column], getattr(one, f"{name}_min"), getattr(one, f"{name}_max"))
    if one.balance_min is not None or one.balance_max is not None:
        # Both are at least 0, so that the difference fits.
        mask &= _between(counters[:, 3] - counters[:, 1], one.balance_min, one.balance_max)
    return mask


def _between(values: npt.NDArray[np.int64], low: int | None, high: int | None) -> Any:
    mask = np.ones(len(values), bool)
    if low is not None:
        mask &= values >= low
    if high is not None:
        mask &= values <= high
    return mask


def choose_slots(
    state: State, after: int, created_before: int, ledgers: Sequence[int], codes: Sequence[int]
) -> tuple[list[int], int | None]:
    """Accounts of the next stretch that existed at a time, and where it came to; None at the end."""
    accounts = state.accounts
    last = int(np.searchsorted(accounts.timestamp[: accounts.stored], created_before, "right"))
    start, end = after + 1, min(after + 1 + STRETCH_SLOTS, last)
    if start >= end:
        return [], None
    mask = np.ones(end - start, bool)
    for wanted, values in ((ledgers, accounts.ledger), (codes, accounts.code)):
        if wanted:
            mask &= np.isin(values[start:end], np.array(wanted, values.dtype))
    return (start + np.flatnonzero(mask)).tolist(), None if end == last else end - 1


def account_at(accounts: Accounts, slot: int) -> Account:
    """An account as the contract shows it, from its columns."""

    def wide(pair: npt.NDArray[np.uint64]) -> int:
        low, high = pair.tolist()
        return int(high) << 64 | int(low)

    debits_pending, debits_posted, credits_pending, credits_posted = accounts.counters[slot].tolist()
    return Account(
        wide(accounts.ids[slot]), debits_pending, debits_posted, credits_pending, credits_posted,
        wide(accounts.user_data_128[slot]),
        int(accounts.user_data_64[slot]), int(accounts.user_data_32[slot]), 0,
        int(accounts.ledger[slot]), int(accounts.code[slot]), int(accounts.flags[slot]),
        int(accounts.timestamp[slot]),
    )  # fmt: skip
