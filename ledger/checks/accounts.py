"""Accounts of a check: the rules of their rows, and how each stands after the batches so far."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.checks.batches import check_times
from ledger.checks.findings import Finding, FoundWrong, Verdict
from ledger.checks.row_layouts import Columns
from ledger.checks.rows import Taken
from ledger.checks.stretch import Stretch, uuid_max, uuid_zero
from ledger.contract import AccountFlags

Array = npt.NDArray[Any]

_KNOWN = sum(AccountFlags)
_IMPORTED = int(AccountFlags.IMPORTED)
_LIMITS = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)
_CLOSED = int(AccountFlags.CLOSED)

COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


class Accounts:
    """Every account of the journal by slot, and its state as of the batches so far."""

    def __init__(self, rows: Taken[Columns]) -> None:
        self.rows = rows
        self.known = 0
        """So many of them were created by the batches so far."""
        room = max(rows.count, 1)
        self.ledger = np.zeros(room, np.int32)
        self.ledger[: rows.count] = rows.columns["ledger"]
        self.flags = np.zeros(room, np.int16)
        self.flags[: rows.count] = rows.columns["flags"]
        self.timestamp = np.zeros(room, np.int64)
        self.timestamp[: rows.count] = rows.columns["timestamp"]
        self.counters = np.zeros((4, room), np.int64)
        """By counter and slot, in the order of ``COUNTERS``."""
        self.last_transfer = np.zeros(room, np.int64)
        self.closed = self.flags & _CLOSED != 0

    def take(self, count: int) -> Taken[Columns]:
        """The rows of the next ``count`` accounts, or of as many as there are."""
        first = self.known
        self.known = min(first + max(count, 0), self.rows.count)
        return self.rows.part(first, self.known)

    def last_timestamp(self, before: int) -> int:
        """Timestamp of the account before that slot."""
        return int(self.timestamp[before - 1]) if before else 0

    def check(self, stretch: Stretch, verdict: Verdict) -> None:
        """The rules of the accounts that the stretch creates."""
        rows = stretch.accounts
        if not len(rows):
            return
        slots = np.arange(stretch.accounts_before, stretch.accounts_before + len(rows))
        rows.expect(verdict, rows["slot"] != slots, "slot", slots)
        check_times(
            stretch, rows, self.last_timestamp(stretch.accounts_before), verdict,
            rows["flags"] & _IMPORTED != 0,
        )  # fmt: skip
        flags = rows["flags"]
        rows.expect(verdict, uuid_zero(rows["id"]) | uuid_max(rows["id"]), "id", "neither 0 nor the largest")
        rows.expect(verdict, rows["ledger"] == 0, "ledger", "not 0")
        rows.expect(verdict, rows["code"] == 0, "code", "not 0")
        rows.expect(verdict, flags & ~_KNOWN != 0, "flags", "the contract's flags and no others")
        rows.expect(verdict, flags & _LIMITS == _LIMITS, "flags", "at most one limit")

    def check_ids(self) -> None:
        """No two accounts have the same id."""
        ids = self.rows.columns["id"]
        order = np.lexsort((ids[:, 0], ids[:, 1]))
        same = np.flatnonzero((ids[order[1:]] == ids[order[:-1]]).all(axis=1))
        if len(same):
            later = int(np.maximum(order[same], order[same + 1]).min())
            low, high = ids[later].tolist()
            raise FoundWrong(
                Finding(
                    "ledger_account",
                    f"slot {later}",
                    "id",
                    f"{high << 64 | low:#034x}",
                    "that of one account only",
                )
            )

    def check_sums(self) -> None:
        """In every ledger debits equal credits, pending and posted."""
        ledgers = self.ledger[: self.rows.count]
        for ledger in np.unique(ledgers).tolist():
            chosen = self.counters[:, : self.rows.count][:, ledgers == ledger]
            # Halves are summed apart, so that no total can pass 64 bits unseen.
            high, low = (chosen >> 32).sum(axis=1).tolist(), (chosen & 0xFFFFFFFF).sum(axis=1).tolist()
            totals = [(h << 32) + part for h, part in zip(high, low, strict=True)]
            for debits, theirs in ((0, 2), (1, 3)):
                if totals[debits] != totals[theirs]:
                    raise FoundWrong(
                        Finding(
                            "ledger_account",
                            f"ledger {ledger & 0xFFFFFFFF}",
                            f"sum of {COUNTERS[debits]}",
                            str(totals[debits]),
                            f"{totals[theirs]}, as {COUNTERS[theirs]}",
                        )
                    )
