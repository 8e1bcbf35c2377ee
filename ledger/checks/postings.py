"""Postings of a check: every counter after every row follows from the one before, and every back pointer.

Each transfer and expiry has two postings, one an account. They are sorted by
account, in order of the journal, so that each stands behind the one that it must
follow from: an account's counters after it are those before, moved by what the
row's kind and amount say. The first posting of an account follows from the
account's state, which the last one leaves behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.checks.accounts import COUNTERS, Accounts
from ledger.checks.findings import Finding, Mask, Place, Verdict
from ledger.checks.pendings import PENDING, VOID, Resolved
from ledger.checks.stretch import Rows, Stretch
from ledger.contract import AccountFlags, TransferFlags
from ledger.rows import CREDIT_CLOSED, DEBIT_CLOSED

I64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

_SIDES = (
    ("debit", int(TransferFlags.CLOSING_DEBIT), DEBIT_CLOSED),
    ("credit", int(TransferFlags.CLOSING_CREDIT), CREDIT_CLOSED),
)
_BALANCING = (int(TransferFlags.BALANCING_DEBIT), int(TransferFlags.BALANCING_CREDIT))
_DEBIT_LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
_CREDIT_LIMITED = int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)
_INT64_MAX = np.uint64(2**63 - 1)


@dataclass(slots=True)
class _Moved:
    """What rows of one table do to the pending and posted counters of both sides, and to ``closed``."""

    pending: I64
    posted: I64
    closing: Array
    """Flags of the closing transfers that begin."""
    opening: Array
    """Flags of the closing transfers that end."""


def check_postings(
    stretch: Stretch, accounts: Accounts, resolved: tuple[Resolved, Resolved], verdict: Verdict
) -> None:
    """Check the stretch's postings, and leave the accounts as they are after it."""
    postings = _Postings(stretch, accounts)
    transfers, expiries = stretch.transfers, stretch.expiries
    if len(transfers):
        postings.put(transfers, postings.transfer_at, _moved_by_transfers(transfers, resolved[0]))
    if len(expiries):
        postings.put(expiries, postings.expiry_at, _moved_by_expiries(expiries, resolved[1]))
    if postings.count:
        postings.check(verdict)


def _moved_by_transfers(rows: Rows, resolved: Resolved) -> _Moved:
    flags, amount = rows["flags"], rows["amount"]
    is_pending = flags & PENDING != 0
    pending = np.where(is_pending, amount, 0)
    pending[resolved.rows] -= resolved.amount
    opening = np.zeros(len(rows), flags.dtype)
    opening[resolved.rows] = resolved.flags
    # A post never ends a closing transfer: its account is closed to it.
    opening[flags & VOID == 0] = 0
    return _Moved(pending, np.where(is_pending | (flags & VOID != 0), 0, amount), flags, opening)


def _moved_by_expiries(rows: Rows, resolved: Resolved) -> _Moved:
    nothing = np.zeros(len(rows), np.int64)
    return _Moved(-resolved.amount, nothing, np.zeros(len(rows), np.int16), resolved.flags)


class _Postings:
    """Arrays over all postings of a stretch, in order of the journal: debit side, then credit side."""

    def __init__(self, stretch: Stretch, accounts: Accounts) -> None:
        self._accounts = accounts
        self._transfers, self._expiries = stretch.transfers, stretch.expiries
        transfers, expiries = self._transfers, self._expiries
        self.count = 2 * (len(transfers) + len(expiries))
        earlier_expiries = np.minimum(expiries.ends, len(expiries))[transfers.batch] if len(expiries) else 0
        self.transfer_at: I64 = np.arange(len(transfers)) + earlier_expiries
        batches_before = np.append(0, np.minimum(transfers.ends, len(transfers)))
        self.expiry_at: I64 = np.arange(len(expiries)) + batches_before[expiries.batch]
        events = self.count // 2
        self.row = np.zeros(events, np.int64)
        self.is_transfer = np.ones(events, bool)
        self.slot = np.zeros(self.count, np.int64)
        self.after = np.zeros((4, self.count), np.int64)
        self.change = np.zeros((4, self.count), np.int64)
        self.closes = np.zeros(self.count, bool)
        self.opens = np.zeros(self.count, bool)
        self.closed = np.zeros(self.count, bool)

    def put(self, rows: Rows, at: I64, moved: _Moved) -> None:
        """Enter the rows of a table that stand at these places of the journal."""
        self.row[at] = np.arange(len(rows))
        self.is_transfer[at] = rows is self._transfers
        flags = rows["flags"]
        for offset, (side, closing, closed) in enumerate(_SIDES):
            places = 2 * at + offset
            slots = rows[f"{side}_account"].astype(np.int64)
            # A slot that is no account's was noted; it must only not lead astray here.
            self.slot[places] = np.where((slots < 0) | (slots >= self._accounts.rows.count), 0, slots)
            for counter, name in enumerate(COUNTERS):
                self.after[counter, places] = rows[f"{side}_{name}"]
            self.change[2 * offset, places] = moved.pending
            self.change[2 * offset + 1, places] = moved.posted
            self.closes[places] = moved.closing & closing != 0
            self.opens[places] = moved.opening & closing != 0
            self.closed[places] = flags & closed != 0

    def check(self, verdict: Verdict) -> None:
        """Compare every posting with the one before it."""
        bits = self.count.bit_length()
        keys = self.slot << bits | np.arange(self.count)
        keys.sort()
        order, slot = keys & ((1 << bits) - 1), keys >> bits
        is_first = np.append(True, slot[1:] != slot[:-1])
        firsts = np.flatnonzero(is_first)
        after = self.after[:, order]
        self._check_counters(order, slot, firsts, after, verdict)
        self._check_limits(order, slot, after, verdict)
        self._check_closed(order, slot, firsts, verdict)
        self._check_pointers(order, slot, verdict)
        lasts = np.append(firsts[1:], self.count) - 1
        self._accounts.counters[:, slot[lasts]] = after[:, lasts]

    def _check_counters(self, order: I64, slot: I64, firsts: I64, after: I64, verdict: Verdict) -> None:
        expected = np.empty_like(after)
        expected[:, 1:] = after[:, :-1]
        expected[:, firsts] = self._accounts.counters[:, slot[firsts]]
        expected += self.change[:, order]
        for counter, name in enumerate(COUNTERS):
            self._note(
                order, after[counter] != expected[counter], name, verdict, after[counter], expected[counter]
            )
            self._note(order, after[counter] < 0, name, verdict, after[counter], "not negative")

    def _check_limits(self, order: I64, slot: I64, after: I64, verdict: Verdict) -> None:
        # Both summands are below 2^63, so that the sum fits 64 bits without a sign.
        debits = after[0].view(np.uint64) + after[1].view(np.uint64)
        credits_ = after[2].view(np.uint64) + after[3].view(np.uint64)
        flags = self._accounts.flags[slot]
        for total, other, limited, name in (
            (debits, after[3], flags & _DEBIT_LIMITED != 0, COUNTERS[1]),
            (credits_, after[1], flags & _CREDIT_LIMITED != 0, COUNTERS[3]),
        ):
            self._note(order, total > _INT64_MAX, name, verdict, total, "with what is pending, below 2^63")
            beyond = limited & (total > other.view(np.uint64))
            self._note(
                order, beyond, name, verdict, total, "within its account's limit, with what is pending"
            )
        self._check_balancing(order, debits, credits_, after, verdict)

    def _check_balancing(
        self, order: I64, debits: Array, credits_: Array, after: I64, verdict: Verdict
    ) -> None:
        """A balancing transfer moves no more than there was."""
        transfers = self._transfers
        if not len(transfers) or not (transfers["flags"] & (_BALANCING[0] | _BALANCING[1])).any():
            return
        for offset, (total, other) in enumerate(((debits, after[3]), (credits_, after[1]))):
            limited = np.zeros(self.count, bool)
            moves = (transfers["flags"] & _BALANCING[offset] != 0) & (transfers["amount"] != 0)
            limited[2 * self.transfer_at + offset] = moves
            beyond = limited[order] & (total > other.view(np.uint64))
            self._note(
                order, beyond, COUNTERS[2 * offset + 1], verdict, total, "no more than was there to balance"
            )

    def _check_closed(self, order: I64, slot: I64, firsts: I64, verdict: Verdict) -> None:
        closed = self.closed[order]
        before = np.append(False, closed[:-1])
        before[firsts] = self._accounts.closed[slot[firsts]]
        expected = (before | self.closes[order]) & ~self.opens[order]
        flags = self._transfers["flags"] if len(self._transfers) else np.zeros(0, np.int16)
        takes_none = np.zeros(self.count // 2, bool)
        takes_none[self.transfer_at] = flags & VOID == 0
        refused = before & np.repeat(takes_none, 2)[order]
        self._note(order, refused, "flags", verdict, None, "those of a void: the account was closed before")
        self._note(
            order, closed != expected, "flags", verdict, None, "whether the account is closed after it"
        )
        lasts = np.append(firsts[1:], self.count) - 1
        self._accounts.closed[slot[lasts]] = closed[lasts]

    def _check_pointers(self, order: I64, slot: I64, verdict: Verdict) -> None:
        """Expiries are no transfers: pointers pass them by."""
        rows = self._transfers
        if not len(rows):
            return
        chosen = self.is_transfer[order >> 1]
        order, slot = order[chosen], slot[chosen]
        event = self.row[order >> 1]
        pointers = np.empty(2 * len(rows), np.int64)
        pointers[0::2], pointers[1::2] = rows["debit_previous"], rows["credit_previous"]
        found = pointers[2 * event + (order & 1)]
        timestamps = rows["timestamp"][event]
        expected = np.append(0, timestamps[:-1])
        firsts = np.flatnonzero(np.append(True, slot[1:] != slot[:-1]))
        expected[firsts] = self._accounts.last_transfer[slot[firsts]]
        self._note(order, found != expected, "previous", verdict, found, expected)
        lasts = np.append(firsts[1:], len(slot)) - 1
        self._accounts.last_transfer[slot[lasts]] = timestamps[lasts]

    def _note(
        self, order: I64, wrong: Mask, name: str, verdict: Verdict, found: Array | None, expected: Array | str
    ) -> None:
        """The first of the marked postings, in order of the journal, is wrong."""
        marked = np.flatnonzero(wrong)
        if not len(marked):
            return
        at = int(marked[np.argmin(order[marked])])
        posting = int(order[at])
        rows = self._transfers if self.is_transfer[posting >> 1] else self._expiries
        row = int(self.row[posting >> 1])
        column = name if name == "flags" else f"{_SIDES[posting & 1][0]}_{name}"
        right: Any = expected if isinstance(expected, str) else expected[at]
        value = None if found is None else found[at]
        place: Place = rows.place(row)

        def make() -> Finding:
            return rows.finding(row, column, right, value)

        verdict.note(place, make)
