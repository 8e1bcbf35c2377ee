"""Filters: what a query may ask for; anything else is a clear error.

TigerBeetle answers an invalid filter with an empty list, which hides mistakes.
Here it is ``InvalidFilter`` with the field's name; ``is_valid`` serves the
compatibility mode.
"""

from __future__ import annotations

from ledger.contract import (
    BATCH_MAX,
    CHANGE_EVENTS_MAX,
    ID_MAX,
    TIMESTAMP_MAX,
    AccountFilter,
    AccountFilterFlags,
    ChangeEventsFilter,
    InvalidFilter,
    QueryFilter,
    QueryFilterFlags,
)

Filter = AccountFilter | QueryFilter | ChangeEventsFilter

_SIDES = int(AccountFilterFlags.DEBITS | AccountFilterFlags.CREDITS)
_ACCOUNT_FLAGS = sum(AccountFilterFlags)
_QUERY_FLAGS = sum(QueryFilterFlags)
_WIDTHS = {"user_data_128": 128, "user_data_64": 64, "user_data_32": 32, "ledger": 32, "code": 16}


def check_filter(filter: Filter) -> None:
    """Raise ``InvalidFilter`` when the filter can mean nothing."""
    if isinstance(filter, AccountFilter):
        if not 0 < filter.account_id < ID_MAX:
            raise InvalidFilter("account_id", "names no account")
        if not filter.flags & _SIDES:
            raise InvalidFilter("flags", "choose debits, credits or both")
        if filter.flags & ~_ACCOUNT_FLAGS:
            raise InvalidFilter("flags", "an unknown flag is set")
    elif isinstance(filter, QueryFilter) and filter.flags & ~_QUERY_FLAGS:
        raise InvalidFilter("flags", "an unknown flag is set")
    for name, bits in _WIDTHS.items():
        if not 0 <= getattr(filter, name, 0) < 1 << bits:
            raise InvalidFilter(name, "has a value that the field cannot have")
    if filter.reserved:
        raise InvalidFilter("reserved", "must be 0")
    _check_bounds(filter)


def is_valid(filter: Filter) -> bool:
    """Whether the compatibility mode would look at all."""
    try:
        check_filter(filter)
    except InvalidFilter:
        return False
    return True


def _check_bounds(filter: Filter) -> None:
    limit_max = CHANGE_EVENTS_MAX if isinstance(filter, ChangeEventsFilter) else BATCH_MAX
    if not 1 <= filter.limit <= limit_max:
        raise InvalidFilter("limit", f"must be 1 to {limit_max}")
    for name in ("timestamp_min", "timestamp_max"):
        if not 0 <= getattr(filter, name) <= TIMESTAMP_MAX:
            raise InvalidFilter(name, "must be 0 (open) or 1 to 2^63-1")
    if filter.timestamp_max and filter.timestamp_min > filter.timestamp_max:
        raise InvalidFilter("timestamp_min", "is later than timestamp_max")
