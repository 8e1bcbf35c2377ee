"""Criteria: one meaning, as SQL over sealed segments and as masks over columns.

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
_WIDTHS = {"user_data_64": 64, "user_data_32": 32, "ledgers": 32, "codes": 16}
_COLUMNS = {
    "user_data_64": ("coalesce(t.user_data_64, 0)", "bigint"),
    "user_data_32": ("coalesce(t.user_data_32, 0)", "integer"),
    "ledgers": ("t.ledger", "integer"),
    "codes": ("t.code", "smallint"),
}
_COLUMN_OF = {"ledgers": "ledger", "codes": "code"}
_SIDES = {
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
        for name in _SIDES:
            check_values(name, getattr(one, name), 1, ID_MAX - 1)
        check_values("user_data_128", one.user_data_128, 0, 2**128 - 1)
        for name, bits in _WIDTHS.items():
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
    return {i for one in any_of for name in _SIDES for i in getattr(one, name)}


def entry_accounts(any_of: Sequence[TransferCriteria]) -> set[int] | None:
    """Accounts whose histories hold all that can be found; None where an alternative names none."""
    entries: set[int] = set()
    for one in any_of:
        lists: list[tuple[int, ...]] = [values for name in _SIDES if (values := getattr(one, name))]
        if not lists:
            return None
        entries.update(min((len(ids), ids) for ids in lists)[1])
    return entries if any_of else None


def to_sql(any_of: Sequence[TransferCriteria], slots: Mapping[int, int]) -> tuple[str, dict[str, Any]]:
    """A condition on a row called t, and its values; true for all that the mask could choose."""
    values: dict[str, Any] = {}
    if not any_of:
        return "true", values

    def put(value: Any) -> str:
        name = f"v{len(values)}"
        values[name] = value
        return f"%({name})s"

    return "(" + " OR ".join(_sql_of(one, slots, put) for one in any_of) + ")", values


def _sql_of(one: TransferCriteria, slots: Mapping[int, int], put: Any) -> str:
    parts = ["true"]
    for name, sides in _SIDES.items():
        if getattr(one, name):
            known = put([slots[i] for i in getattr(one, name) if i in slots])
            parts.append(
                "(" + " OR ".join(f"t.{side}_account = ANY({known}::integer[])" for side in sides) + ")"
            )
    if one.amount_min:
        parts.append(f"t.amount >= {put(one.amount_min)}::bigint")
    if one.amount_max is not None:
        parts.append(f"t.amount <= {put(one.amount_max)}::bigint")
    for name, (column, kind) in _COLUMNS.items():
        wanted = getattr(one, name)
        if wanted:
            parts.append(f"{column} = ANY({put([signed(v, _WIDTHS[name]) for v in wanted])}::{kind}[])")
    if one.user_data_128:
        texts = put([f"{value:032x}" for value in one.user_data_128])
        nothing = "'00000000-0000-0000-0000-000000000000'"
        parts.append(f"coalesce(t.user_data_128, {nothing}) = ANY({texts}::uuid[])")
    if one.flags_all:
        parts.append(f"t.flags & {put(one.flags_all)}::smallint = {put(one.flags_all)}::smallint")
    if one.flags_any:
        parts.append(f"t.flags & {put(one.flags_any)}::smallint <> 0")
    if one.flags_none:
        parts.append(f"t.flags & {put(one.flags_none)}::smallint = 0")
    if one.pending_status:
        kinds = {status is not TransferPendingStatus.NONE for status in one.pending_status}
        if len(kinds) == 1:
            parts.append(f"t.flags & {_PENDING} {'<>' if kinds.pop() else '='} 0")
    return "(" + " AND ".join(parts) + ")"


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
    for name, sides in _SIDES.items():
        if getattr(one, name):
            known = np.array([slots[i] for i in getattr(one, name) if i in slots], np.int32)
            mask &= np.logical_or.reduce([np.isin(columns[f"{side}_account"], known) for side in sides])
    if one.amount_min:
        mask &= columns["amount"] >= one.amount_min
    if one.amount_max is not None:
        mask &= columns["amount"] <= one.amount_max
    for name, bits in _WIDTHS.items():
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
