"""Statements: an account's history over a time, with balances that add up.

Lines are in the order of the books, expiries among them: an expiry changes what
is pending. Each line says what it adds to the four counters and what they are
then; the opening balance and all lines make the closing balance, to the unit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ledger.contract import AccountBalance, ChangeEvent, TransferFlags
from ledger.queries.archived import ArchivedLookups
from ledger.queries.change_events import Position, of_expiries, of_transfer, position_after
from ledger.queries.history import oldest_first, rows_at
from ledger.queries.past_balances import NOTHING, Counters, Standing, standings, written_at
from ledger.queries.questions import CounterChange, StatementEntry
from ledger.queries.storage import ReadSession
from ledger.tail_view import TailRow, TailView


async def balance_at(session: ReadSession, view: TailView, slot: int, timestamp: int) -> AccountBalance:
    """An account's counters as of a time; its ``timestamp`` is that of the last event."""
    found = await standings(session, view, [slot], timestamp, held_only=False) if timestamp > 0 else {}
    standing = found.get(slot, Standing(0, NOTHING, is_closed=False))
    return AccountBalance(*standing.counters, standing.timestamp)


async def begin_after(
    session: ReadSession, view: TailView, opening: AccountBalance, timestamp_min: int
) -> Position:
    """Where the lines of a statement begin that opens with a balance."""
    before = timestamp_min - 1
    found = await rows_at(session, view, [opening.timestamp] if opening.timestamp else [])
    imported = [r for r in found.values() if int(r.columns["flags"][r.index]) & TransferFlags.IMPORTED]
    if not imported:
        return Position(before, before)
    # What was written before an imported transfer is in its balance, whatever its own timestamp is.
    return Position(before, max(before, await written_at(session, opening.timestamp)))


async def entries_after(
    session: ReadSession,
    view: TailView,
    archived: ArchivedLookups,
    slot: int,
    after: Position,
    before: Counters,
    upto: int,
    limit: int,
) -> tuple[list[StatementEntry], Position]:
    """The next lines of an account up to a time, and where the reader stands then.

    ``before`` are its counters after the last line before these.
    """
    released = await session.expiries_between(after.expiry + 1, upto, slots=(slot,), limit=limit)
    expiries = await of_expiries(session, view, archived, released)
    transfers = oldest_first(session, view, slot, oldest=after.transfer + 1, newest=upto)
    events: list[ChangeEvent] = []
    async for event in _in_order_of_books(session, view, transfers, expiries):
        events.append(event)
        if len(events) == limit:
            break
    account_id = view.account_id(slot)
    return _entries(events, account_id, before), position_after(after, events)


async def _in_order_of_books(
    session: ReadSession,
    view: TailView,
    transfers: AsyncIterator[TailRow],
    expiries: Sequence[ChangeEvent],
) -> AsyncIterator[ChangeEvent]:
    """Transfers and expiries as they were written; expiries come first in their batch."""
    waiting = list(reversed(expiries))
    async for row in transfers:
        event = of_transfer(view.accounts, row)
        written = event.timestamp
        if waiting and event.transfer.flags & TransferFlags.IMPORTED:
            # It is younger than it says.
            written = await written_at(session, event.timestamp)
        while waiting and waiting[-1].timestamp <= written:
            yield waiting.pop()
        yield event
    while waiting:
        yield waiting.pop()


def _entries(events: Sequence[ChangeEvent], account_id: int, before: Counters) -> list[StatementEntry]:
    entries = []
    for event in events:
        side = event.debit_account if event.transfer.debit_account_id == account_id else event.credit_account
        after = (side.debits_pending, side.debits_posted, side.credits_pending, side.credits_posted)
        change = CounterChange(*(new - old for new, old in zip(after, before, strict=True)))
        balance = AccountBalance(*after, event.timestamp)
        entries.append(StatementEntry(event.type, event.timestamp, event.transfer, change, balance))
        before = after
    return entries
