"""Past balances: accounts as they stood at an instant.

An account's counters at a time are those of its last event up to it, in the order
of the books: the counters after a transfer stand in its row, those after an expiry
in the expiry's. Only an account that held something at its newest transfer can
have had an expiry since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ledger.accounts import Accounts
from ledger.contract import Account, TransferFlags
from ledger.queries.change_events import as_of
from ledger.queries.history import newest_postings, rows_at
from ledger.queries.sealed_columns import ReadConnection
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED
from ledger.tail_view import TailRow, TailView

I64 = npt.NDArray[np.int64]
Counters = tuple[int, int, int, int]

NOTHING: Counters = (0, 0, 0, 0)
"""The counters before an account's first transfer."""

_COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
_IMPORTED = int(TransferFlags.IMPORTED)


@dataclass(slots=True, frozen=True)
class Standing:
    """An account's counters after its last event up to a time."""

    timestamp: int
    """Of that event; 0 where there was none."""
    counters: Counters
    is_closed: bool


async def standings(
    connection: ReadConnection, view: TailView, slots: Sequence[int], timestamp: int
) -> dict[int, Standing]:
    """How accounts stood at a time; those that had moved nothing are left out."""
    wanted = np.array(slots, np.int64)
    newest = await newest_postings(connection, view, wanted, timestamp)
    rows = await rows_at(connection, view, sorted(set(newest.values())))
    found = {slot: _after(rows[at], slot) for slot, at in newest.items()}
    held = {slot: s for slot, s in found.items() if s.counters[0] or s.counters[2] or s.is_closed}
    if held:
        imported = {slot for slot in held if _is_imported(rows[newest[slot]])}
        found |= await _after_expiries(connection, held, imported, timestamp)
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


async def slots_of(connection: ReadConnection, ids: Sequence[int]) -> dict[int, int]:
    """The slots of the accounts that exist, by id."""
    cursor = await connection.execute(
        "SELECT id, slot FROM ledger_account WHERE id = ANY(%s)",
        ([UUID(int=i) for i in set(ids)],),
        binary=True,
        prepare=True,
    )
    return {row[0].int: row[1] for row in await cursor.fetchall()}


def _after(row: TailRow, slot: int) -> Standing:
    flags = int(row.columns["flags"][row.index])
    closed = DEBIT_CLOSED if int(row.columns["debit_account"][row.index]) == slot else CREDIT_CLOSED
    return Standing(row.timestamp, row.counters(slot), bool(flags & closed))


def _is_imported(row: TailRow) -> bool:
    return bool(int(row.columns["flags"][row.index]) & _IMPORTED)


async def _after_expiries(
    connection: ReadConnection, held: dict[int, Standing], imported: set[int], timestamp: int
) -> dict[int, Standing]:
    """The accounts among ``held`` whose last event up to a time is an expiry."""
    cursor = await connection.execute(
        f"SELECT timestamp, debit_account, credit_account, flags,"
        f" {', '.join(f'debit_{name}' for name in _COUNTERS)},"
        f" {', '.join(f'credit_{name}' for name in _COUNTERS)}"
        " FROM ledger_expiry WHERE timestamp > %(after)s AND timestamp <= %(upto)s"
        " AND (debit_account = ANY(%(slots)s) OR credit_account = ANY(%(slots)s)) ORDER BY timestamp",
        {"after": min(s.timestamp for s in held.values()), "upto": timestamp, "slots": list(held)},
        binary=True,
        prepare=True,
    )
    last: dict[int, Standing] = {}
    for row in await cursor.fetchall():
        for slot, closed, counters in ((row[1], DEBIT_CLOSED, row[4:8]), (row[2], CREDIT_CLOSED, row[8:12])):
            if slot in held and row[0] > held[slot].timestamp:
                last[slot] = Standing(row[0], counters, bool(row[3] & closed))
    late = imported & last.keys()
    if late:
        written = {slot: await written_at(connection, held[slot].timestamp) for slot in late}
        last = {slot: s for slot, s in last.items() if slot not in late or s.timestamp > written[slot]}
    return last


async def written_at(connection: ReadConnection, timestamp: int) -> int:
    """The timestamp of the batch that holds the transfer of a timestamp.

    An imported transfer is written long after its timestamp; what its batch's
    timestamp is not younger than had happened before. Transfers are in order, so
    the batch is found by halving.
    """
    cursor = await connection.execute("SELECT coalesce(max(sequence), 0) FROM ledger_batch", binary=True)
    row: Any = await cursor.fetchone()
    low, high, found = 1, row[0], 0
    while low <= high:
        middle = (low + high) // 2
        cursor = await connection.execute(
            "SELECT sequence, transfer_last, timestamp FROM ledger_batch"
            " WHERE sequence >= %s AND transfer_last IS NOT NULL ORDER BY sequence LIMIT 1",
            (middle,),
            binary=True,
            prepare=True,
        )
        batch = await cursor.fetchone()
        if batch is None or batch[1] >= timestamp:
            high = middle - 1
            found = found if batch is None else batch[2]
        else:
            low = batch[0] + 1
    return found
