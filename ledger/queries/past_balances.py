"""Past balances: accounts as they stood at an instant.

An account's counters at a time are those of its last event up to it, in the order
of the books: the counters after a transfer stand in its row, those after an expiry
in the expiry's. Only an account that held something at its newest transfer can
have had an expiry since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ledger.accounts import Accounts
from ledger.contract import Account, TransferFlags
from ledger.queries.change_events import as_of
from ledger.queries.history import newest_postings, rows_at
from ledger.queries.storage import ReadSession
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED
from ledger.tail_view import TailRow, TailView

I64 = npt.NDArray[np.int64]
Counters = tuple[int, int, int, int]

NOTHING: Counters = (0, 0, 0, 0)
"""The counters before an account's first transfer."""

_IMPORTED = int(TransferFlags.IMPORTED)


@dataclass(slots=True, frozen=True)
class Standing:
    """An account's counters after its last event up to a time."""

    timestamp: int
    """Of that event; 0 where there was none."""
    counters: Counters
    is_closed: bool


async def standings(
    session: ReadSession, view: TailView, slots: Sequence[int], timestamp: int, *, held_only: bool = True
) -> dict[int, Standing]:
    """How accounts stood at a time; those that had moved nothing are left out.

    With ``held_only`` off also an expiry that released nothing counts as the last event.
    """
    wanted = np.array(slots, np.int64)
    newest = await newest_postings(session, view, wanted, timestamp)
    rows = await rows_at(session, view, sorted(set(newest.values())))
    found = {slot: _after(rows[at], slot) for slot, at in newest.items()}
    held = {
        slot: s for slot, s in found.items() if not held_only or s.counters[0] or s.counters[2] or s.is_closed
    }
    if held:
        imported = {slot for slot in held if _is_imported(rows[newest[slot]])}
        found |= await _after_expiries(session, held, imported, timestamp)
    return found


def accounts_at(accounts: Accounts, slots: Sequence[int], found: dict[int, Standing]) -> list[Account]:
    """Accounts with their standings, as the contract shows them."""
    return [
        as_of(accounts, slot, s.counters, closed=s.is_closed)
        if (s := found.get(slot)) is not None
        # Nothing has closed or opened it since it was created.
        else as_of(accounts, slot, NOTHING, closed=None)
        for slot in slots
    ]


def _after(row: TailRow, slot: int) -> Standing:
    flags = int(row.columns["flags"][row.index])
    closed = DEBIT_CLOSED if int(row.columns["debit_account"][row.index]) == slot else CREDIT_CLOSED
    return Standing(row.timestamp, row.counters(slot), bool(flags & closed))


def _is_imported(row: TailRow) -> bool:
    return bool(int(row.columns["flags"][row.index]) & _IMPORTED)


async def _after_expiries(
    session: ReadSession, held: dict[int, Standing], imported: set[int], timestamp: int
) -> dict[int, Standing]:
    """The accounts among ``held`` whose last event up to a time is an expiry."""
    oldest = min(s.timestamp for s in held.values())
    last: dict[int, Standing] = {}
    for expiry in await session.expiries_between(oldest + 1, timestamp, slots=held):
        for slot, counters, closed in expiry.sides:
            if slot in held and expiry.timestamp > held[slot].timestamp:
                last[slot] = Standing(expiry.timestamp, counters, closed)
    late = imported & last.keys()
    if late:
        written = {slot: await written_at(session, held[slot].timestamp) for slot in late}
        last = {slot: s for slot, s in last.items() if slot not in late or s.timestamp > written[slot]}
    return last


async def written_at(session: ReadSession, timestamp: int) -> int:
    """The timestamp of the batch that holds the transfer of a timestamp.

    An imported transfer is written long after its timestamp; what its batch's
    timestamp is not younger than had happened before. Transfers are in order, so
    the batch is found by halving.
    """
    low, high, found = 1, await session.newest_sequence(), 0
    while low <= high:
        middle = (low + high) // 2
        batch = await session.batch_from(middle)
        if batch is None or batch.transfer_last >= timestamp:
            high = middle - 1
            found = found if batch is None else batch.timestamp
        else:
            low = batch.sequence + 1
    return found
