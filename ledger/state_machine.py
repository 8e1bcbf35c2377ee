"""The state machine: the exact sequential function that decides every event.

This is the specification. A request is decided event by event: chains, imported
events and timestamps here, the rules of accounts and transfers in
``account_rules``, ``transfer_rules`` and ``pending_rules``. Each rule file is a
ladder of guards in the contract's order of precedence. Nothing here reads a
clock or a database: the same state and the same requests give the same answers
and the same rows, always.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ledger.account_rules import create_account
from ledger.contract import (
    BATCH_MAX,
    TIMESTAMP_MAX,
    Account,
    AccountFlags,
    CreateAccountResult,
    CreateAccountStatus,
    CreateTransferResult,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)
from ledger.draft import Draft
from ledger.pending_rules import expire
from ledger.state import State
from ledger.stored_transfer import StoredTransfer
from ledger.transfer_rules import create_transfer

_LINKED = int(TransferFlags.LINKED)
assert int(AccountFlags.LINKED) == _LINKED

Event = TypeVar("Event", Account, Transfer)

Outcome = tuple[int, int]
"""(timestamp, status) of one event."""


@dataclass(slots=True, frozen=True)
class Stretch:
    """Which part of a request is decided: where its events stand, and when."""

    first_timestamp: int
    """Timestamp of the first event of the stretch."""
    batch_timestamp: int
    """Timestamp of the request's last event."""
    is_imported: bool
    """Whether the request's first event is imported."""
    is_end: bool
    """Whether the stretch holds the request's last event."""


def create_accounts(
    state: State, draft: Draft, now_ns: int, events: Sequence[Account]
) -> list[CreateAccountResult]:
    """Decide one request to create accounts; at most 8,189 events."""
    if not events:
        return []
    imported = int(AccountFlags.IMPORTED)
    stretch = _whole_request(state, now_ns, len(events), is_imported=bool(events[0].flags & imported))
    outcomes = _decide(state, draft, events, stretch, imported, _ACCOUNT_CODES, _account_event)
    return [CreateAccountResult(timestamp, CreateAccountStatus(status)) for timestamp, status in outcomes]


def create_transfers(
    state: State, draft: Draft, now_ns: int, events: Sequence[Transfer]
) -> list[CreateTransferResult]:
    """Decide one request to create transfers; at most 8,189 events.

    ``draft.known``, ``draft.failed`` must cover the ids that the events name.
    """
    if not events:
        return []
    imported = bool(events[0].flags & TransferFlags.IMPORTED)
    stretch = _whole_request(state, now_ns, len(events), is_imported=imported)
    return [
        CreateTransferResult(timestamp, CreateTransferStatus(status))
        for timestamp, status in decide_transfers(state, draft, events, stretch)
    ]


def decide_transfers(
    state: State, draft: Draft, events: Sequence[Transfer], stretch: Stretch
) -> list[Outcome]:
    """Decide a stretch of a request's events; it must not cut a chain."""
    imported = int(TransferFlags.IMPORTED)
    return _decide(state, draft, events, stretch, imported, _TRANSFER_CODES, _transfer_event)


def _whole_request(state: State, now_ns: int, count: int, *, is_imported: bool) -> Stretch:
    batch_timestamp = state.take_timestamp(now_ns, count)
    return Stretch(batch_timestamp - count + 1, batch_timestamp, is_imported, is_end=True)


def sweep_expired(state: State, draft: Draft, now_ns: int) -> int:
    """Expire every pending transfer that is due, in order of expiry; how many.

    Each gets a timestamp of its own and a row in the journal, so that a replay
    does the same. Timestamps are given out in batches as the contract's pulse
    does: the last of a batch is the time of the sweep, or later.
    """
    due: list[StoredTransfer] = []
    while len(due) < BATCH_MAX and (stored := state.pendings.pop_due(now_ns)) is not None:
        due.append(stored)
    if due:
        first = state.take_timestamp(now_ns, len(due)) - len(due) + 1
        for index, stored in enumerate(due):
            expire(state, draft, stored, first + index)
    return len(due)


class _Codes:
    """The statuses that are decided before an event's own rules, by enum."""

    def __init__(self, statuses: type[CreateAccountStatus | CreateTransferStatus]) -> None:
        self.created = int(statuses.CREATED)
        self.linked_event_failed = int(statuses.LINKED_EVENT_FAILED)
        self.chain_open = int(statuses.LINKED_EVENT_CHAIN_OPEN)
        self.imported_expected = int(statuses.IMPORTED_EVENT_EXPECTED)
        self.imported_not_expected = int(statuses.IMPORTED_EVENT_NOT_EXPECTED)
        self.timestamp_must_be_zero = int(statuses.TIMESTAMP_MUST_BE_ZERO)
        self.out_of_range = int(statuses.IMPORTED_EVENT_TIMESTAMP_OUT_OF_RANGE)
        self.must_not_advance = int(statuses.IMPORTED_EVENT_TIMESTAMP_MUST_NOT_ADVANCE)


_ACCOUNT_CODES = _Codes(CreateAccountStatus)
_TRANSFER_CODES = _Codes(CreateTransferStatus)


def _account_event(state: State, draft: Draft, timestamp: int, event: Account) -> Outcome:
    return create_account(state, draft, timestamp, event)


def _transfer_event(state: State, draft: Draft, timestamp: int, event: Transfer) -> Outcome:
    outcome = create_transfer(state, draft, timestamp, event)
    status = CreateTransferStatus(outcome[1])
    if status.is_transient:
        # The id is burnt even when its chain is rolled back: otherwise a retry
        # that arrives after money came in could pay twice what the client had
        # been told had failed.
        draft.failed.add(event.id)
        draft.newly_failed.append((event.id, timestamp))
    return outcome


def _decide(
    state: State,
    draft: Draft,
    events: Sequence[Event],
    stretch: Stretch,
    imported_flag: int,
    codes: _Codes,
    apply: Callable[[State, Draft, int, Event], Outcome],
) -> list[Outcome]:
    """Chains, imported events and timestamps: what both kinds of request share."""
    last = len(events) - 1 if stretch.is_end else len(events)
    outcomes: list[Outcome] = []
    chain: int | None = None
    broken = False
    for index, event in enumerate(events):
        timestamp = stretch.first_timestamp + index
        linked = bool(event.flags & _LINKED)
        if linked and chain is None:
            chain, broken = index, False
            draft.open_scope(state)
        if linked and index == last:
            outcome = (timestamp, codes.chain_open)
        elif broken:
            outcome = (timestamp, codes.linked_event_failed)
        else:
            early = _check_time(event, imported_flag, stretch, codes)
            outcome = apply(state, draft, timestamp, event) if early is None else (timestamp, early)
        outcomes.append(outcome)
        if chain is not None:
            if outcome[1] != codes.created and not broken:
                broken = True
                draft.roll_back(state)
                for member in range(chain, index):
                    outcomes[member] = (outcomes[member][0], codes.linked_event_failed)
            if not linked or outcome[1] == codes.chain_open:
                if not broken:
                    draft.keep_scope()
                chain, broken = None, False
    return outcomes


def _check_time(event: Account | Transfer, imported_flag: int, stretch: Stretch, codes: _Codes) -> int | None:
    imported = bool(event.flags & imported_flag)
    if imported != stretch.is_imported:
        return codes.imported_not_expected if imported else codes.imported_expected
    if imported:
        if not 1 <= event.timestamp <= TIMESTAMP_MAX:
            return codes.out_of_range
        if event.timestamp >= stretch.batch_timestamp:
            return codes.must_not_advance
    elif event.timestamp != 0:
        return codes.timestamp_must_be_zero
    return None
