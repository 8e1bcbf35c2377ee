"""Operations: the questions of :mod:`ledger.queries.questions` by name, as they travel.

A question is a JSON object (or a list of ids). The answer is JSON too, or, for
whoever accepts ``application/octet-stream``, a page in packed form: the length of
a head as four bytes, the head, which is the answer as JSON without its rows, and
the contract's records of the rows, end to end.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ledger import query_records as q
from ledger import records as r
from ledger.contract import InvalidRequest
from ledger.queries.json_forms import from_plain, question_to_plain, to_plain
from ledger.queries.questions import (
    AccountPage,
    AccountSearch,
    BalancesAsOf,
    BalancesPage,
    ChangesAfter,
    ChangesPage,
    PendingState,
    PeriodStatement,
    Snapshot,
    StatementPage,
    TransferPage,
    TransferSearch,
)

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Rows:
    """The field of an answer that is packed as records."""

    field: str
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class QueryOperation:
    """How one question and its answer travel."""

    name: str
    question: type[Any] | None
    """None for a list of ids."""
    answer: type[Any]
    rows: Rows | None = None
    answers_list: bool = False

    def read_question(self, body: Any) -> Any:
        """A question from JSON values. Raises ``InvalidRequest``."""
        if self.question is not None:
            return from_plain(self.question, body)
        if not isinstance(body, list):
            raise InvalidRequest("the body is a list of ids")
        return list(from_plain(_Ids, {"account_ids": body}).account_ids)

    def write_question(self, question: Any) -> bytes:
        """The body of a question."""
        plain = to_plain("id", question) if self.question is None else question_to_plain(question)
        return msgspec.json.encode(plain)

    def pack_answer(self, answer: Any) -> bytes:
        """The packed form of an answer."""
        rows = self.rows
        if rows is None:
            raise InvalidRequest(f"{self.name} has no packed form; ask for JSON")
        head = {
            f.name: to_plain(f.name, getattr(answer, f.name))
            for f in dataclasses.fields(answer)
            if f.name != rows.field
        }
        data = msgspec.json.encode(head)
        return _LENGTH.pack(len(data)) + data + rows.pack(getattr(answer, rows.field))

    def read_answer(self, body: bytes) -> Any:
        """An answer from the form that :meth:`accepts` names."""
        if self.rows is not None:
            (size,) = _LENGTH.unpack_from(body)
            at = _LENGTH.size + size
            head = msgspec.json.decode(body[_LENGTH.size : at])
            # The rows are put in where the head leaves them out.
            empty = from_plain(self.answer, head | {self.rows.field: []})
            return dataclasses.replace(empty, **{self.rows.field: self.rows.unpack(body[at:])})
        plain = msgspec.json.decode(body)
        if self.answers_list:
            return [from_plain(self.answer, item) for item in plain]
        return from_plain(self.answer, plain)


@dataclass(frozen=True, slots=True)
class _Ids:
    account_ids: tuple[int, ...] = ()


_TRANSFERS = Rows("transfers", r.pack_transfers, r.unpack_transfers)
_ACCOUNTS = Rows("accounts", r.pack_accounts, r.unpack_accounts)
_EVENTS = Rows("events", q.pack_change_events, q.unpack_change_events)

QUERY_OPERATIONS: dict[str, QueryOperation] = {
    operation.name: operation
    for operation in (
        QueryOperation("search_transfers", TransferSearch, TransferPage, _TRANSFERS),
        QueryOperation("search_accounts", AccountSearch, AccountPage, _ACCOUNTS),
        QueryOperation("get_balances_as_of", BalancesAsOf, BalancesPage, _ACCOUNTS),
        QueryOperation("get_snapshot", None, Snapshot, _ACCOUNTS),
        QueryOperation("get_pending_states", None, PendingState, answers_list=True),
        QueryOperation("get_period_statement", PeriodStatement, StatementPage),
        QueryOperation("get_changes", ChangesAfter, ChangesPage, _EVENTS),
    )
}
"""Every question of :mod:`ledger.queries.questions` by name."""
