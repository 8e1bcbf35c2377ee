"""Pending transfers of a check: each is posted, voided or expired at most once, and by rows that fit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.checks.findings import Mask, Verdict
from ledger.checks.stretch import Rows, Stretch, uuid_zero
from ledger.columns import TransferColumns, empty_column
from ledger.contract import SECOND_NS, TransferFlags

I64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

PENDING = int(TransferFlags.PENDING)
POST = int(TransferFlags.POST_PENDING_TRANSFER)
VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
IMPORTED = int(TransferFlags.IMPORTED)

COMPACT_MIN = 65_536
"""Fewer resolved ones are not worth moving the others."""

HELD = (
    "timestamp", "amount", "debit_account", "credit_account", "ledger", "code", "flags", "id",
    "user_data_128", "user_data_64", "user_data_32", "timeout",
)  # fmt: skip
"""What is kept of a pending transfer."""


@dataclass(slots=True)
class Resolved:
    """What rows that end a pending transfer say about it, row by row."""

    rows: I64
    """Which rows of their table."""
    amount: I64
    """The pending transfers' amounts."""
    flags: Array
    """The pending transfers' flags."""


class Pendings:
    """Pending transfers by timestamp, and which of them are resolved."""

    def __init__(self) -> None:
        self._count = 0
        self._columns: dict[str, Array] = {name: empty_column(name, 1024) for name in HELD}
        self._sequence = np.zeros(1024, np.int64)
        """Number of the batch that created each."""
        self._open = np.zeros(1024, bool)

    def add(self, stretch: Stretch) -> None:
        """Hold those that the stretch creates."""
        rows = stretch.transfers
        created = np.flatnonzero(rows["flags"] & PENDING)
        if not len(created):
            return
        self._make_room(len(created))
        first, self._count = self._count, self._count + len(created)
        for name in HELD:
            self._columns[name][first : self._count] = rows[name][created]
        # A timestamp that fell back is found elsewhere; here it must not hide those before it.
        times = self._columns["timestamp"]
        np.maximum.accumulate(
            times[max(first - 1, 0) : self._count], out=times[max(first - 1, 0) : self._count]
        )
        self._sequence[first : self._count] = rows.since(stretch.sequences)[created]
        self._open[first : self._count] = True

    def resolve(self, stretch: Stretch, verdict: Verdict) -> tuple[Resolved, Resolved]:
        """End what the stretch's transfers post and void, and what its expiries release."""
        transfers, expiries = stretch.transfers, stretch.expiries
        ending = np.flatnonzero(transfers["flags"] & (POST | VOID))
        at_transfers = self._find(transfers, ending, transfers.since(stretch.sequences), verdict)
        at_expiries = self._find(
            expiries, np.arange(len(expiries)), expiries.since(stretch.sequences) - 1, verdict
        )
        self._check_once(transfers, ending, at_transfers, expiries, at_expiries, verdict)
        if len(ending):
            self._check_resolutions(transfers, ending, at_transfers, verdict)
        if len(expiries):
            self._check_expiries(stretch, at_expiries, verdict)
        amount, flags = self._columns["amount"], self._columns["flags"]
        return (
            Resolved(ending, amount[at_transfers], flags[at_transfers]),
            Resolved(np.arange(len(expiries)), amount[at_expiries], flags[at_expiries]),
        )

    def live(self) -> TransferColumns:
        """Those that nothing has resolved, by timestamp."""
        alive = np.flatnonzero(self._open[: self._count])
        return TransferColumns(len(alive), {name: values[alive] for name, values in self._columns.items()})

    def _find(self, rows: Rows, chosen: I64, latest: I64, verdict: Verdict) -> I64:
        """Where the named pending transfers are held; 0 for those that are not there.

        ``latest`` is, for each row, the number of the last batch that may have created it.
        """
        wanted = rows["pending_timestamp"][chosen].astype(np.int64)
        at = np.searchsorted(self._columns["timestamp"][: self._count], wanted)
        at = np.minimum(at, max(self._count - 1, 0))
        right = (self._columns["timestamp"][at] == wanted) & (self._sequence[at] <= latest[chosen])
        right &= (wanted < rows["timestamp"][chosen]) & bool(self._count)
        wrong = np.zeros(len(rows), bool)
        wrong[chosen] = ~right
        rows.expect(verdict, wrong, "pending_timestamp", "that of an earlier pending transfer")
        return np.where(right, at, 0)

    def _check_once(
        self,
        transfers: Rows,
        ending: I64,
        at_transfers: I64,
        expiries: Rows,
        at_expiries: I64,
        verdict: Verdict,
    ) -> None:
        """Nothing is resolved that is resolved already, by rows before or in this stretch."""
        # In the order of the journal: by batch, expiries before transfers.
        at = np.concatenate([at_expiries, at_transfers])
        if not len(at):
            return
        batch = np.concatenate([expiries.batch, transfers.batch[ending]])
        order = np.argsort(batch, kind="stable")
        first = np.zeros(len(at), bool)
        first[order[np.unique(at[order], return_index=True)[1]]] = True
        again = ~first | ~self._open[at]
        self._open[at] = False
        column, text = "pending_timestamp", "that of a pending transfer that nothing has resolved"
        expiries.expect(verdict, again[: len(at_expiries)], column, text)
        wrong = np.zeros(len(transfers), bool)
        wrong[ending] = again[len(at_expiries) :]
        transfers.expect(verdict, wrong, column, text)

    def _check_resolutions(self, rows: Rows, ending: I64, at: I64, verdict: Verdict) -> None:
        held = {name: values[at] for name, values in self._columns.items()}
        is_void = rows["flags"][ending] & VOID != 0
        imported = rows["flags"][ending] & IMPORTED != 0

        def expect(wrong: Mask, column: str, expected: Array | str) -> None:
            marked = np.zeros(len(rows), bool)
            marked[ending] = wrong
            if isinstance(expected, str):
                rows.expect(verdict, marked, column, expected)
                return
            values = np.zeros((len(rows), *expected.shape[1:]), expected.dtype)
            values[ending] = expected
            rows.expect(verdict, marked, column, values)

        expect((rows["pending_id"][ending] != held["id"]).any(axis=1), "pending_id", held["id"])
        for name in ("debit_account", "credit_account", "ledger", "code"):
            expect(rows[name][ending] != held[name], name, held[name])
        amount = rows["amount"][ending]
        expect(is_void & (amount != held["amount"]), "amount", held["amount"])
        expect(amount > held["amount"], "amount", "no more than was pending")
        for name in ("user_data_128", "user_data_64", "user_data_32"):
            mine, theirs = rows[name][ending], held[name]
            expect(_is_zero(mine) & ~_is_zero(theirs), name, theirs)
        # An imported one was decided later than its own timestamp says.
        late = rows["timestamp"][ending] >= _expires_at(held)
        expect(late & ~imported, "timestamp", "one before the pending transfer expires")

    def _check_expiries(self, stretch: Stretch, at: I64, verdict: Verdict) -> None:
        rows = stretch.expiries
        held = {name: values[at] for name, values in self._columns.items()}
        for name in ("debit_account", "credit_account"):
            rows.expect(verdict, rows[name] != held[name], name, held[name])
        expires_at = _expires_at(held)
        early = expires_at > rows.since(stretch.ends)
        rows.expect(verdict, early, "pending_timestamp", "that of a transfer whose time is over")
        same_batch = rows.batch[1:] == rows.batch[:-1]
        unordered = (expires_at[1:] < expires_at[:-1]) | (
            (expires_at[1:] == expires_at[:-1]) & (held["timestamp"][1:] <= held["timestamp"][:-1])
        )
        wrong = np.append(False, same_batch & unordered)
        rows.expect(verdict, wrong, "pending_timestamp", "one that expires after that of the row before")

    def _make_room(self, count: int) -> None:
        dead = self._count - int(np.count_nonzero(self._open[: self._count]))
        if dead > max(COMPACT_MIN, self._count // 2):
            alive = np.flatnonzero(self._open[: self._count])
            self._move(alive, max(len(alive) + count, 1024))
        elif self._count + count > len(self._open):
            self._move(np.arange(self._count), 2 * (self._count + count))

    def _move(self, kept: I64, room: int) -> None:
        """Keep these rows, in arrays with that much room."""
        for name, values in self._columns.items():
            moved = empty_column(name, room)
            moved[: len(kept)] = values[kept]
            self._columns[name] = moved
        sequence, still_open = np.zeros(room, np.int64), np.zeros(room, bool)
        sequence[: len(kept)], still_open[: len(kept)] = self._sequence[kept], self._open[kept]
        self._sequence, self._open, self._count = sequence, still_open, len(kept)


def _is_zero(values: Array) -> Mask:
    zero: Mask = values == 0 if values.ndim == 1 else uuid_zero(values)
    return zero


def _expires_at(held: dict[str, Array]) -> I64:
    """When each ends; the end of time for those that never do."""
    timeout = held["timeout"].astype(np.int32).view(np.uint32).astype(np.int64)
    expires_at: I64 = held["timestamp"] + timeout * SECOND_NS
    return np.where(timeout == 0, np.iinfo(np.int64).max, expires_at)
