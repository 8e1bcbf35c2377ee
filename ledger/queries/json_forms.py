"""JSON forms: questions and answers of :mod:`ledger.queries.questions` as plain JSON values, and back.

The forms are those of :mod:`ledger.operations`: ids are UUIDs, counts that may
pass 2^53 are strings of digits (with a minus where they may be negative), an
enum's member is its name in lower case.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast
from uuid import UUID

from ledger.contract import AMOUNT_LIMIT, AMOUNT_MAX, InvalidRequest
from ledger.queries.questions import CounterChange

UUID_FIELDS = frozenset(
    {
        "id", "account_id", "account_ids", "debit_account_id", "debit_account_ids", "credit_account_id",
        "credit_account_ids", "pending_id", "user_data_128", "resolved_by",
    }
)  # fmt: skip
"""Fields of 128 bits that are no amount, and lists of such."""
_COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
SIGNED_FIELDS = frozenset({"balance_min", "balance_max"})
"""Numbers that may be negative, beside the changes of a statement."""
TEXT_FIELDS = (
    frozenset(
        {
            "amount", "amount_min", "amount_max", "posted_amount", "timestamp", "timestamp_min",
            "timestamp_max", "user_data_64", "expires_at", "resolved_at",
        }
    )
    | frozenset(_COUNTERS)
    | {f"{name}_{bound}" for name in _COUNTERS for bound in ("min", "max")}
    | SIGNED_FIELDS
)  # fmt: skip
"""Numbers that may not fit a JSON reader's 53 bits, and lists of such."""

Record = TypeVar("Record")


def to_plain(name: str, value: Any) -> Any:
    """A field's value as JSON has it."""
    if isinstance(value, bool | None):
        return value
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, list | tuple):
        return [to_plain(name, item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)}
    if name in UUID_FIELDS:
        return str(UUID(int=value))
    return str(value) if name in TEXT_FIELDS else value


def question_to_plain(question: Any) -> dict[str, Any]:
    """A question as JSON, without what it leaves at its default."""
    plain = {}
    for field in dataclasses.fields(question):
        value = getattr(question, field.name)
        if value == field.default:
            continue
        nested = isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0])
        plain[field.name] = (
            [question_to_plain(item) for item in value] if nested else to_plain(field.name, value)
        )
    return plain


def from_plain(record: type[Record], body: Any) -> Record:
    """A record from JSON; ``InvalidRequest`` names a wrong field."""
    if not isinstance(body, dict):
        raise InvalidRequest("an object was expected")
    kinds = _kinds(cast(Any, record))
    unknown = set(body) - set(kinds)
    if unknown:
        raise InvalidRequest(f"unknown field {min(unknown)!r}")
    try:
        return record(**{name: _read(name, kinds[name], value) for name, value in body.items()})
    except TypeError:
        missing = sorted(set(kinds) - set(body))
        raise InvalidRequest(f"a field is missing, such as {missing[0]!r}") from None


@cache
def _kinds(record: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _read(name: str, kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _read(name, next(a for a in arguments if a is not types.NoneType), value)
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise InvalidRequest(f"{name} is a list")
        items = [_read(name, arguments[0], item) for item in value]
        return tuple(items) if origin is tuple else items
    if dataclasses.is_dataclass(kind):
        if kind is CounterChange and isinstance(value, dict):
            # The one record whose counters may be negative.
            return CounterChange(**{key: _read_number(key, item, signed=True) for key, item in value.items()})
        return from_plain(cast(type[Any], kind), value)
    if kind is bool:
        if not isinstance(value, bool):
            raise InvalidRequest(f"{name} is true or false")
        return value
    if kind is str:
        if not isinstance(value, str):
            raise InvalidRequest(f"{name} is a text")
        return value
    if issubclass(kind, Enum):
        return _read_member(name, kind, value)
    return _read_number(name, value, signed=name in SIGNED_FIELDS)


def _read_member(name: str, kind: type[Enum], value: Any) -> Enum:
    members = {member.name.lower(): member for member in kind}
    if not isinstance(value, str) or value not in members:
        raise InvalidRequest(f"{name} is one of {', '.join(members)}")
    return members[value]


def _read_number(name: str, value: Any, *, signed: bool) -> int:
    if name in UUID_FIELDS and isinstance(value, str):
        try:
            return UUID(value).int
        except ValueError:
            raise InvalidRequest(f"{name} is a UUID") from None
    if isinstance(value, str):
        digits = value.removeprefix("-") if signed else value
        if digits.isascii() and digits.isdigit() and len(digits) <= 39:
            value = int(value)
    lowest = -AMOUNT_LIMIT if signed else 0
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= AMOUNT_MAX:
        raise InvalidRequest(f"{name} is a whole number" + ("" if signed else " that is not negative"))
    return value
