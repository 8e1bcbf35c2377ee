"""Operations: the ledger's methods by name, with their packed and JSON forms.

One table serves the process and its client. Packed bodies are the contract's
records end to end; in JSON an id and ``user_data_128`` are UUIDs, counts that
may pass 2^53 (amounts, balances, timestamps, ``user_data_64``) are strings of
digits, and a status is its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any
from uuid import UUID

from ledger import query_records as q
from ledger import records as r
from ledger.contract import (
    AMOUNT_MAX,
    Account,
    AccountFilter,
    ChangeEventsFilter,
    InvalidRequest,
    QueryFilter,
    Transfer,
)

PACKED = "application/octet-stream"
"""Content type of packed records."""
JSON = "application/json"
"""Content type for people and other languages."""
BATCHES_HEADER = "nugpay-batches"
"""Header of a request that carries several callers' batches: their sizes, "3,1,8"."""

UUID_FIELDS = frozenset(
    {"id", "debit_account_id", "credit_account_id", "pending_id", "user_data_128", "account_id"}
)
"""Fields of 128 bits that are no amount."""
TEXT_FIELDS = frozenset(
    {
        "amount", "debits_pending", "debits_posted", "credits_pending", "credits_posted",
        "timestamp", "timestamp_min", "timestamp_max", "user_data_64",
    }
)  # fmt: skip
"""Numbers that may not fit a JSON reader's 53 bits."""


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """How one method's question and answer travel."""

    name: str
    unpack: Callable[[bytes], Any]
    pack_answer: Callable[[Any], bytes]
    from_json: Callable[[Any], Any]


def _records_of(record: type[Account | Transfer]) -> Callable[[Any], list[Any]]:
    def read(body: Any) -> list[Any]:
        if not isinstance(body, list):
            raise InvalidRequest("the body is a list of objects")
        return [from_json_object(record, item) for item in body]

    return read


def _ids(body: Any) -> list[int]:
    if not isinstance(body, list):
        raise InvalidRequest("the body is a list of ids")
    return [_read_number("id", item) for item in body]


def _filter_of(kind: type[Any]) -> Callable[[Any], Any]:
    return lambda body: from_json_object(kind, body)


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation("create_accounts", r.unpack_accounts, r.pack_results, _records_of(Account)),
        Operation("create_transfers", r.unpack_transfers, r.pack_results, _records_of(Transfer)),
        Operation("lookup_accounts", r.unpack_ids, r.pack_accounts, _ids),
        Operation("lookup_transfers", r.unpack_ids, r.pack_transfers, _ids),
        Operation(
            "get_account_transfers", q.unpack_account_filter, r.pack_transfers, _filter_of(AccountFilter)
        ),
        Operation(
            "get_account_balances", q.unpack_account_filter, q.pack_balances, _filter_of(AccountFilter)
        ),
        Operation("query_accounts", q.unpack_query_filter, r.pack_accounts, _filter_of(QueryFilter)),
        Operation("query_transfers", q.unpack_query_filter, r.pack_transfers, _filter_of(QueryFilter)),
        Operation(
            "get_change_events", q.unpack_change_filter, q.pack_change_events, _filter_of(ChangeEventsFilter)
        ),
        Operation("get_statement", q.unpack_account_filter, q.pack_statement, _filter_of(AccountFilter)),
    )
}
"""Every method of the ledger by name."""


def to_json(answer: Any) -> Any:
    """An answer as plain JSON values."""
    if isinstance(answer, list | tuple):
        return [to_json(item) for item in answer]
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return {f.name: _show(f.name, getattr(answer, f.name)) for f in dataclasses.fields(answer)}
    return answer


def from_json_object(record: type[Any], body: Any) -> Any:
    """A record from a JSON object; ``InvalidRequest`` names a wrong field."""
    if not isinstance(body, dict):
        raise InvalidRequest("an object was expected")
    names = {f.name for f in dataclasses.fields(record)}
    unknown = set(body) - names
    if unknown:
        raise InvalidRequest(f"unknown field {min(unknown)!r}")
    return record(**{name: _read_number(name, value) for name, value in body.items()})


def _show(name: str, value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name.lower()
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if name in UUID_FIELDS:
        return str(UUID(int=value))
    return str(value) if name in TEXT_FIELDS else value


def _read_number(name: str, value: Any) -> int:
    if name in UUID_FIELDS and isinstance(value, str):
        try:
            return UUID(value).int
        except ValueError:
            raise InvalidRequest(f"{name} is a UUID") from None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 39:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= AMOUNT_MAX:
        raise InvalidRequest(f"{name} is a whole number that is not negative")
    return value


def read_batches(header: str | None) -> list[int] | None:
    """The sizes that a header lists; None when there is none."""
    if header is None:
        return None
    try:
        return [int(part) for part in header.split(",")]
    except ValueError:
        raise InvalidRequest(f"{BATCHES_HEADER} lists sizes such as 3,1,8") from None


def split_batches(sizes: Sequence[int] | None, events: Sequence[Any]) -> list[Sequence[Any]]:
    """The batches of a request that carries several; all events are one where nobody divided them."""
    if sizes is None:
        return [events]
    if any(size < 0 for size in sizes) or sum(sizes) != len(events):
        raise InvalidRequest(f"the batches do not sum to the {len(events)} events sent")
    batches, at = [], 0
    for size in sizes:
        batches.append(events[at : at + size])
        at += size
    return batches
