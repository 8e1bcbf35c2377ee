"""Change events: every change of balances in order of timestamp, expiries included.

Transfers come from the tail and from sealed segments, expiries from their table.
Nothing above ``newest`` is shown: a batch appears wholly or not at all, so that
whoever goes on after the last event that he has seen misses none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.accounts import Accounts
from ledger.contract import (
    TIMESTAMP_MAX,
    Account,
    ChangeEvent,
    ChangeEventsFilter,
    ChangeEventType,
    Transfer,
    TransferFlags,
)
from ledger.queries.archived import ArchivedLookups, refuse_archived, refuse_missing
from ledger.queries.storage import Expiry, ReadSession
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED
from ledger.state import CLOSED
from ledger.tail import rows_between
from ledger.tail_view import TailRow, TailView
from ledger.transfer_views import transfer_at


@dataclass(slots=True, frozen=True)
class Position:
    """Where a reader of changes stands: after these two.

    Transfers are in the order of the books by their timestamps, and so are
    expiries; but an imported transfer may be dated before an expiry that is in the
    books already, so that one timestamp for both could pass it by.
    """

    transfer: int
    expiry: int


async def get_change_events(
    session: ReadSession,
    view: TailView,
    archived: ArchivedLookups,
    filter: ChangeEventsFilter,
    newest: int,
) -> list[ChangeEvent]:
    """The events that a filter asks for, up to the timestamp ``newest``."""
    low, high = filter.timestamp_min, min(filter.timestamp_max or TIMESTAMP_MAX, newest)
    return await events_after(session, view, archived, Position(low - 1, low - 1), high, filter.limit)


async def events_after(
    session: ReadSession,
    view: TailView,
    archived: ArchivedLookups,
    after: Position,
    newest: int,
    limit: int,
) -> list[ChangeEvent]:
    """The next events of both kinds, in order of timestamp, up to the timestamp ``newest``."""
    low = after.transfer + 1
    rows: list[TailRow] = []
    if low < view.first_timestamp:
        await refuse_archived(session, low, min(newest, view.first_timestamp - 1))
        sealed = await session.transfers_between(
            low, min(newest, view.first_timestamp - 1), (), {}, newest_first=False, limit=limit
        )
        rows += [TailRow(sealed, index) for index in range(len(sealed))]
    for columns in view.segments:
        start, stop = rows_between(columns["timestamp"], low, newest)
        stop = min(stop, start + limit - len(rows))
        rows += [TailRow(columns, index) for index in range(start, stop)]
    events = [of_transfer(view.accounts, row) for row in rows]
    expiries = await session.expiries_between(after.expiry + 1, newest, limit=limit)
    events += await of_expiries(session, view, archived, expiries)
    # A transfer comes before an expiry of the same instant.
    events.sort(key=lambda event: (event.timestamp, event.type is ChangeEventType.TWO_PHASE_EXPIRED))
    return events[:limit]


def position_after(before: Position, events: Sequence[ChangeEvent]) -> Position:
    """Where a reader stands after these events."""
    expiries = [e.timestamp for e in events if e.type is ChangeEventType.TWO_PHASE_EXPIRED]
    transfers = [e.timestamp for e in events if e.type is not ChangeEventType.TWO_PHASE_EXPIRED]
    return Position(max(transfers, default=before.transfer), max(expiries, default=before.expiry))


async def of_expiries(
    session: ReadSession, view: TailView, archived: ArchivedLookups, expiries: Sequence[Expiry]
) -> list[ChangeEvent]:
    """Expiries as the changes that they made, with their pending transfers.

    An expiry may be new where its pending transfer is archived: that one is looked up in
    the file, so that whoever follows the changes does not stand still before it.
    """
    pending = {e.pending_timestamp: view.at(e.pending_timestamp) for e in expiries}
    sealed = await session.transfers_at([timestamp for timestamp, row in pending.items() if row is None])
    pending |= {int(t): TailRow(sealed, n) for n, t in enumerate(sealed["timestamp"].tolist())}
    pending |= await archived.at(session, [timestamp for timestamp, row in pending.items() if row is None])
    events = []
    for expiry in expiries:
        row = pending[expiry.pending_timestamp]
        if row is None:
            await refuse_missing(session, expiry.pending_timestamp, "an expiry has no pending transfer")
        assert row is not None, "refuse_missing always raises"
        transfer = transfer_at(row.columns, row.index, view.accounts.ids)
        sides = [
            as_of(view.accounts, slot, counters, closed=closed) for slot, counters, closed in expiry.sides
        ]
        events.append(ChangeEvent(ChangeEventType.TWO_PHASE_EXPIRED, expiry.timestamp, transfer, *sides))
    return events


def of_transfer(accounts: Accounts, row: TailRow) -> ChangeEvent:
    """A transfer as the change that it made."""
    transfer: Transfer = transfer_at(row.columns, row.index, accounts.ids)
    flags = int(row.columns["flags"][row.index])
    sides = []
    for side, closed in (("debit", DEBIT_CLOSED), ("credit", CREDIT_CLOSED)):
        slot = int(row.columns[f"{side}_account"][row.index])
        sides.append(as_of(accounts, slot, row.counters(slot), closed=bool(flags & closed)))
    return ChangeEvent(_type_of(transfer.flags), transfer.timestamp, transfer, *sides)


def as_of(accounts: Accounts, slot: int, counters: Sequence[int], *, closed: bool | None) -> Account:
    """An account as it stood with these counters; closed None means as it was created."""

    def wide(pair: Any) -> int:
        low, high = pair.tolist()
        return int(high) << 64 | int(low)

    created = int(accounts.created_flags[slot])
    debits_pending, debits_posted, credits_pending, credits_posted = counters
    return Account(
        wide(accounts.ids[slot]),
        debits_pending,
        debits_posted,
        credits_pending,
        credits_posted,
        wide(accounts.user_data_128[slot]),
        int(accounts.user_data_64[slot]),
        int(accounts.user_data_32[slot]),
        0,
        int(accounts.ledger[slot]),
        int(accounts.code[slot]),
        created if closed is None else created | CLOSED if closed else created & ~CLOSED,
        int(accounts.timestamp[slot]),
    )


def _type_of(flags: int) -> ChangeEventType:
    if flags & TransferFlags.PENDING:
        return ChangeEventType.TWO_PHASE_PENDING
    if flags & TransferFlags.POST_PENDING_TRANSFER:
        return ChangeEventType.TWO_PHASE_POSTED
    if flags & TransferFlags.VOID_PENDING_TRANSFER:
        return ChangeEventType.TWO_PHASE_VOIDED
    return ChangeEventType.SINGLE_PHASE
