"""Criteria in SQL: the meaning of ``criteria`` as a condition on rows of sealed segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.contract import TransferFlags, TransferPendingStatus
from ledger.queries.criteria import SIDES, WIDTHS
from ledger.queries.questions import TransferCriteria
from ledger.rows import signed

_PENDING = int(TransferFlags.PENDING)
_COLUMNS = {
    "user_data_64": ("coalesce(t.user_data_64, 0)", "bigint"),
    "user_data_32": ("coalesce(t.user_data_32, 0)", "integer"),
    "ledgers": ("t.ledger", "integer"),
    "codes": ("t.code", "smallint"),
}


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
    for name, sides in SIDES.items():
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
            parts.append(f"{column} = ANY({put([signed(v, WIDTHS[name]) for v in wanted])}::{kind}[])")
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
