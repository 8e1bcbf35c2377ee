"""Stretch: some batches in a row with all of their rows, as a check looks at them together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ledger.checks.findings import ACCOUNT, EXPIRY, FAILED, TRANSFER, Finding, Mask, Place, Verdict, shown
from ledger.checks.row_layouts import Columns
from ledger.checks.rows import Taken
from ledger.columns import TransferColumns
from ledger.segments import table_of

I64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


@dataclass(slots=True)
class Rows:
    """A stretch's rows of one table, and which batch each belongs to."""

    kind: int
    table: str
    key: str
    taken: Taken[Any]
    counts: I64
    """How many rows each batch says it has."""
    ends: I64 = field(init=False)
    """So many rows the batches up to each have together."""
    batch: I64 = field(init=False)
    """Each row's batch, counted within the stretch."""

    def __post_init__(self) -> None:
        self.ends = np.cumsum(self.counts)
        self.batch = np.searchsorted(self.ends, np.arange(self.taken.count), "right")

    def __len__(self) -> int:
        return self.taken.count

    def __getitem__(self, name: str) -> Array:
        values: Array = self.taken.columns[name]
        return values

    def place(self, row: int) -> Place:
        """Where a row stands in the journal."""
        return int(self.batch[row]), self.kind, row

    def finding(self, row: int, column: str, expected: Any, found: Any = None) -> Finding:
        """That a row has something else in a column."""
        found = self[column][row] if found is None else found
        key = f"{self.key} {shown(self[self.key][row])}"
        return Finding(self.table, key, column, shown(found), shown(expected))

    def expect(self, verdict: Verdict, wrong: Mask, column: str, expected: Any) -> None:
        """The first of the rows that are marked is wrong; ``expected`` is a text, or the right values."""

        def make(row: int) -> Finding:
            return self.finding(row, column, expected if isinstance(expected, str) else expected[row])

        verdict.note_first(wrong, self.place, make)

    def since(self, batch_values: Array) -> Array:
        """A value of each batch for each of its rows."""
        return batch_values[np.minimum(self.batch, len(batch_values) - 1)]


@dataclass(slots=True)
class Stretch:
    """Batches of one segment, complete."""

    batches: Taken[Columns]
    segment: int
    accounts: Rows
    expiries: Rows
    transfers: Rows
    failed: Rows
    previous_timestamp: int
    """That of the batch before."""
    accounts_before: int
    """Accounts that there are before."""

    @classmethod
    def of(
        cls,
        batches: Taken[Columns],
        segment: int,
        accounts: Taken[Columns],
        expiries: Taken[Columns],
        transfers: Taken[TransferColumns],
        failed: Taken[Columns],
        previous_timestamp: int,
        accounts_before: int,
    ) -> Stretch:
        """Rows of each table, as many as the batches say."""

        def counts(name: str) -> I64:
            values: I64 = batches.columns[name].astype(np.int64)
            return values

        return cls(
            batches, segment,
            Rows(ACCOUNT, "ledger_account", "slot", accounts, counts("account_count")),
            Rows(EXPIRY, "ledger_expiry", "timestamp", expiries, counts("expiry_count")),
            Rows(TRANSFER, table_of(segment), "timestamp", transfers, counts("transfer_count")),
            Rows(FAILED, "ledger_failed_id", "timestamp", failed, counts("failed_count")),
            previous_timestamp, accounts_before,
        )  # fmt: skip

    @property
    def sequences(self) -> I64:
        """The batches' numbers."""
        values: I64 = self.batches.columns["sequence"]
        return values

    @property
    def ends(self) -> I64:
        """The batches' timestamps."""
        values: I64 = self.batches.columns["timestamp"]
        return values

    def begins(self) -> I64:
        """Timestamp of the batch before each."""
        return np.append(np.int64(self.previous_timestamp), self.ends[:-1])

    def batch_finding(self, batch: int, column: str, expected: Any, found: Any = None) -> Finding:
        """That a batch's own row has something else in a column."""
        found = self.batches.columns[column][batch] if found is None else found
        key = f"sequence {self.sequences[batch]}"
        return Finding("ledger_batch", key, column, shown(found), shown(expected))


def uuid_zero(values: Array) -> Mask:
    """Which 128-bit numbers are 0."""
    zero: Mask = np.logical_not(values.any(axis=1))
    return zero


def uuid_max(values: Array) -> Mask:
    """Which 128-bit numbers are the largest that there is."""
    largest: Mask = (values == np.uint64(2**64 - 1)).all(axis=1)
    return largest
