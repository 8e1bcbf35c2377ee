"""Criteria: one meaning, as masks over columns here, as SQL in ``criteria_sql``.

Both renderings are compared with a third, in plain Python, by a property test.
Numbers are compared as the journal holds them: unsigned ones by their bits.
What has become of a pending transfer is not in its row: SQL asks only whether it
is a pending one, and the mask, which is told the statuses, decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.columns import TransferColumns
from ledger.contract import AMOUNT_LIMIT, ID_MAX, InvalidFilter, TransferFlags, TransferPendingStatus
from ledger.queries.questions import ALTERNATIVES_MAX, VALUES_MAX, TransferCriteria
from ledger.rows import signed

Mask = npt.NDArray[np.bool_]

_PENDING = int(TransferFlags.PENDING)
_ALL_FLAGS = sum(TransferFlags)
WIDTHS = {"user_data_64": 64, "user_data_32": 32, "ledgers": 32, "codes": 16}
"""Fields of several values that fit a machine's number, and their bits."""
_COLUMN_OF = {"ledgers": "ledger", "codes": "code"}
SIDES = {
    "debit_account_ids": ("debit",),
    "credit_account_ids": ("credit",),
    "account_ids": ("debit", "credit"),
}
"""Which sides of a transfer each list of accounts looks at."""
_MASK64 = 2**64 - 1


def check_criteria(any_of: Sequence[TransferCriteria]) -> None:
    """Raise ``InvalidFilter`` for alternatives that can mean nothing."""
    check_alternatives(any_of)
    for one in any_of:
        for name in SIDES:
            check_values(name, getattr(one, name), 1, ID_MAX - 1)
        check_values("user_data_128", one.user_data_128, 0, 2**128 - 1)
        for name, bits in WIDTHS.items():
            check_values(name, getattr(one, name), 0, 2**bits - 1)
        check_flags(one, _ALL_FLAGS)
        if not 0 <= one.amount_min <= AMOUNT_LIMIT:
            raise InvalidFilter("amount_min", "must be 0 to 2^63-1")
        if one.amount_max is not None and not one.amount_min <= one.amount_max <= AMOUNT_LIMIT:
            raise InvalidFilter("amount_max", "must be amount_min to 2^63-1")
        if len(one.pending_status) > len(TransferPendingStatus):
            raise InvalidFilter("pending_status", "names a status twice")


def check_alternatives(any_of: Sequence[Any]) -> None:
    """Raise ``InvalidFilter`` for too many alternatives."""
    if len(any_of) > ALTERNATIVES_MAX:
        raise InvalidFilter("any_of", f"holds at most {ALTERNATIVES_MAX} alternatives")


def check_values(name: str, values: Sequence[int], low: int, high: int) -> None:
    """Raise ``InvalidFilter`` for too many values of a field, or one that it cannot have."""
    if len(values) > VALUES_MAX:
        raise InvalidFilter(name, f"holds at most {VALUES_MAX} values")
    if any(not low <= value <= high for value in values):
        raise InvalidFilter(name, "has a value that the field cannot have")


def check_flags(one: Any, known: int) -> None:
    """Raise ``InvalidFilter`` for unknown flags, or flags that must and must not be set."""
    for name in ("flags_all", "flags_any", "flags_none"):
        if not 0 <= getattr(one, name) <= known or getattr(one, name) & ~known:
            raise InvalidFilter(name, "an unknown flag is set")
    if one.flags_all & one.flags_none:
        raise InvalidFilter("flags_none", "has a flag that flags_all has too")


def named_accounts(any_of: Iterable[TransferCriteria]) -> set[int]:
    """The ids of all accounts that the alternatives name."""
    return {i for one in any_of for name in SIDES for i in getattr(one, name)}


def entry_accounts(any_of: Sequence[TransferCriteria]) -> set[int] | None:
    """Accounts whose histories hold all that can be found; None where an alternative names none."""
    entries: set[int] = set()
    for one in any_of:
        lists: list[tuple[int, ...]] = [values for name in SIDES if (values := getattr(one, name))]
        if not lists:
            return None
        entries.update(min((len(ids), ids) for ids in lists)[1])
    return entries if any_of else None


def needs_statuses(any_of: Iterable[TransferCriteria]) -> bool:
    """Whether anything depends on what has become of pending transfers."""
    return any(one.pending_status for one in any_of)


def to_mask(
    columns: TransferColumns,
    any_of: Sequence[TransferCriteria],
    slots: Mapping[int, int],
    statuses: npt.NDArray[np.int8] | None = None,
) -> Mask:
    """The rows that an alternative holds for; without ``statuses`` a pending one may have any."""
    if not any_of:
        return np.ones(len(columns), bool)
    chosen = np.zeros(len(columns), bool)
    for one in any_of:
        chosen |= _mask_of(columns, one, slots, statuses)
    return chosen


def _mask_of(
    columns: TransferColumns,
    one: TransferCriteria,
    slots: Mapping[int, int],
    statuses: npt.NDArray[np.int8] | None,
) -> Mask:
    mask = np.ones(len(columns), bool)
    for name, sides in SIDES.items():
        if getattr(one, name):
            known = np.array([slots[i] for i in getattr(one, name) if i in slots], np.int32)
            mask &= np.logical_or.reduce([np.isin(columns[f"{side}_account"], known) for side in sides])
    if one.amount_min:
        mask &= columns["amount"] >= one.amount_min
    if one.amount_max is not None:
        mask &= columns["amount"] <= one.amount_max
    for name, bits in WIDTHS.items():
        wanted = getattr(one, name)
        if wanted:
            values = columns[_COLUMN_OF.get(name, name)]
            mask &= np.isin(values, np.array([signed(v, bits) for v in wanted], values.dtype))
    if one.user_data_128:
        mask &= pairs_among(columns["user_data_128"], one.user_data_128)
    flags = columns["flags"]
    if one.flags_all:
        mask &= flags & one.flags_all == one.flags_all
    if one.flags_any:
        mask &= flags & one.flags_any != 0
    if one.flags_none:
        mask &= flags & one.flags_none == 0
    if one.pending_status:
        mask &= _status_mask(flags, one.pending_status, statuses)
    return mask


def _status_mask(
    flags: npt.NDArray[Any],
    wanted: Sequence[TransferPendingStatus],
    statuses: npt.NDArray[np.int8] | None,
) -> Mask:
    if statuses is not None:
        return np.isin(statuses, np.array([int(status) for status in wanted], np.int8))
    is_pending: Mask = flags & _PENDING != 0
    mask = np.zeros(len(flags), bool)
    if TransferPendingStatus.NONE in wanted:
        mask |= ~is_pending
    if set(wanted) - {TransferPendingStatus.NONE}:
        mask |= is_pending
    return mask


def pairs_among(pairs: npt.NDArray[np.uint64], wanted: Sequence[int]) -> Mask:
    """Which 128-bit numbers, as (low, high) pairs, are among these."""
    mask = np.zeros(len(pairs), bool)
    for value in wanted:
        mask |= (pairs[:, 0] == np.uint64(value & _MASK64)) & (pairs[:, 1] == np.uint64(value >> 64))
    return mask
