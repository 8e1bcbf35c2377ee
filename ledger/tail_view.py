"""Tail view: the newest transfers as a reader sees them, at one moment.

What is older than ``first_timestamp`` is in sealed segments, which have indexes;
what is younger is here, in memory. A view stays as it is while the engine goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ledger.accounts import Accounts
from ledger.columns import TransferColumns
from ledger.contract import TIMESTAMP_MAX, Transfer
from ledger.rows import counters_of
from ledger.tail import Tail
from ledger.transfer_views import transfer_at

BLOCK_ROWS = 65_536
"""Rows that are searched for an account's transfers at a time."""


@dataclass(frozen=True)
class TailRow:
    """One transfer in the tail."""

    columns: TransferColumns
    index: int

    @property
    def timestamp(self) -> int:
        """Its timestamp."""
        return int(self.columns["timestamp"][self.index])

    def previous(self, slot: int) -> int:
        """Timestamp of the transfer before it of one of its accounts, 0 for none."""
        side = "debit" if self._is_debit(slot) else "credit"
        return int(self.columns[f"{side}_previous"][self.index])

    def counters(self, slot: int) -> tuple[int, int, int, int]:
        """The counters of one of its accounts after it."""
        side = "debit" if self._is_debit(slot) else "credit"
        names = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
        values = (self.columns.arrays.get(f"{side}_{name}") for name in names)
        return counters_of(*(0 if column is None else int(column[self.index]) for column in values))

    def _is_debit(self, slot: int) -> bool:
        return int(self.columns["debit_account"][self.index]) == slot


class TailView:
    """All transfers that are committed and not sealed, oldest first."""

    def __init__(self, tail: Tail, accounts: Accounts) -> None:
        self.tail = tail
        # Segments are taken before their columns: one that is sealed meanwhile is
        # still complete here.
        self._segments = [columns for segment in tail.segments if len(columns := segment.columns())]
        self.accounts = accounts

    @cached_property
    def first_timestamp(self) -> int:
        """That of the oldest transfer here; all that are older are sealed."""
        return int(self._segments[0]["timestamp"][0]) if self._segments else TIMESTAMP_MAX

    @property
    def segments(self) -> list[TransferColumns]:
        """The transfers, segment by segment."""
        return self._segments

    def transfer(self, row: TailRow) -> Transfer:
        """A row in the contract's numbers."""
        return transfer_at(row.columns, row.index, self.accounts.ids)

    def account_id(self, slot: int) -> int:
        """The id of the account in a slot."""
        low, high = self.accounts.ids[slot].tolist()
        return int(high) << 64 | int(low)

    def at(self, timestamp: int) -> TailRow | None:
        """The transfer with that timestamp."""
        for columns in reversed(self._segments):
            timestamps = columns["timestamp"]
            if timestamps[0] <= timestamp:
                index = int(np.searchsorted(timestamps, timestamp))
                if index < len(timestamps) and timestamps[index] == timestamp:
                    return TailRow(columns, index)
                return None
        return None

    def history(self, slot: int, newest: int) -> Iterator[TailRow]:
        """An account's transfers, newest first, from the one with that timestamp on.

        Jumps along the pointers from block to block, and looks at every row of a
        block at once: an idle account costs a jump, a busy one a scan.
        """
        at = newest
        for columns in reversed(self._segments):
            timestamps = columns["timestamp"]
            while at >= timestamps[0]:
                end = int(np.searchsorted(timestamps, at, "right"))
                start = max(0, end - BLOCK_ROWS)
                for index in _rows_of(columns.part(start, end), slot)[::-1].tolist():
                    row = TailRow(columns, start + index)
                    yield row
                at = row.previous(slot)


def _rows_of(columns: TransferColumns, slot: int) -> npt.NDArray[np.int64]:
    return np.flatnonzero((columns["debit_account"] == slot) | (columns["credit_account"] == slot))
