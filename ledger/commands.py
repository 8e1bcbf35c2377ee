"""Commands: what callers ask of the writer, and how the answer gets back.

A command is made in its caller's event loop and put on the writer's queue.
Creations are decided and stored; look-ups are answered from memory, after the
commit that precedes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.account_head import AccountHead
from ledger.answers import Answer
from ledger.contract import (
    Account,
    CreateAccountResult,
    InvalidRequest,
    Transfer,
)
from ledger.decisions import TransferRequest
from ledger.interface import SegmentArchived
from ledger.state import State
from ledger.tail_view import TailView

Outcome = npt.NDArray[np.void] | SegmentArchived
"""What became of a request to create transfers: a result record each, or why nothing was done."""


@dataclass(slots=True, eq=False)
class CreateAccounts:
    """Create accounts; the answer is one result each."""

    events: Sequence[Account]
    answer: Answer[list[CreateAccountResult]] = field(default_factory=Answer)


@dataclass(slots=True, eq=False)
class CreateTransfers:
    """Create transfers: requests that travelled together, each with a caller's own chains.

    The answer has of each request its results, a record each, or why it was not decided.
    """

    requests: Sequence[TransferRequest]
    answer: Answer[list[Outcome]] = field(default_factory=Answer)


@dataclass(slots=True, eq=False)
class LookupAccounts:
    """The accounts that exist, with their balances."""

    ids: Sequence[int]
    answer: Answer[list[Account]] = field(default_factory=Answer)


@dataclass(slots=True, eq=False)
class FindHead:
    """Where an account's history begins; None when there is no such account."""

    account_id: int
    answer: Answer[AccountHead | None] = field(default_factory=Answer)


@dataclass(slots=True, frozen=True)
class Newest:
    """The newest transfers, at a moment at which this engine was the writer."""

    view: TailView
    timestamp: int
    """Highest timestamp given out until then."""
    sequence: int
    """Newest batch."""


@dataclass(slots=True, eq=False)
class TakeView:
    """What is committed; the view has all that was answered before it was asked for."""

    answer: Answer[Newest] = field(default_factory=Answer)


@dataclass(slots=True, frozen=True)
class Instant:
    """A point of the order of everything."""

    timestamp: int
    """What is decided until then is dated up to it; what is decided later is younger, unless imported."""
    sequence: int
    """The batch that it lies in."""


@dataclass(slots=True, eq=False)
class Inspect:
    """A question to the whole state at one point of the order; it must be short, since everybody waits."""

    ask: Callable[[State, Instant], Any]
    """Gets the state with its columns up to date."""
    answer: Answer[Any] = field(default_factory=Answer)


Creation = CreateAccounts | CreateTransfers
Lookup = LookupAccounts | FindHead | TakeView | Inspect
Command = Creation | Lookup

_U128, _U64, _U32, _U16 = 2**128, 2**64, 2**32, 2**16


def check_transfers(events: Sequence[Transfer]) -> None:
    """Raise ``InvalidRequest`` for a field that its record could not hold."""
    for e in events:
        if not (
            0 <= e.id < _U128
            and 0 <= e.debit_account_id < _U128
            and 0 <= e.credit_account_id < _U128
            and 0 <= e.amount < _U128
            and 0 <= e.pending_id < _U128
            and 0 <= e.user_data_128 < _U128
            and 0 <= e.user_data_64 < _U64
            and 0 <= e.user_data_32 < _U32
            and 0 <= e.timeout < _U32
            and 0 <= e.ledger < _U32
            and 0 <= e.code < _U16
            and 0 <= e.flags < _U16
            and 0 <= e.timestamp < _U64
        ):
            raise InvalidRequest("a field of a transfer is negative or too large")


def check_accounts(events: Sequence[Account]) -> None:
    """Raise ``InvalidRequest`` for a field that its record could not hold."""
    for e in events:
        wide = (
            e.id, e.debits_pending, e.debits_posted, e.credits_pending, e.credits_posted, e.user_data_128
        )  # fmt: skip
        if not (
            all(0 <= value < _U128 for value in wide)
            and 0 <= e.user_data_64 < _U64
            and 0 <= e.user_data_32 < _U32
            and 0 <= e.reserved < _U32
            and 0 <= e.ledger < _U32
            and 0 <= e.code < _U16
            and 0 <= e.flags < _U16
            and 0 <= e.timestamp < _U64
        ):
            raise InvalidRequest("a field of an account is negative or too large")


def size_of(command: Command) -> int:
    """How much of a group a command fills, in events."""
    if isinstance(command, CreateTransfers):
        return max(sum(map(len, command.requests)), 1)
    return max(len(command.events), 1) if isinstance(command, CreateAccounts) else 1
