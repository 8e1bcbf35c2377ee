"""How much is measured: in full, in about a minute, and for tests in a moment."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.contract import BATCH_MAX
from ledger.segments import SEGMENT_ROWS


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of every measurement."""

    few_accounts: int
    """Accounts that most workloads spread over."""
    transfers: int
    """Transfers of each workload."""
    rounds: int = 1
    """How often each is measured; the median is shown."""
    batch: int = BATCH_MAX
    """Transfers of a full batch."""
    small_batches: tuple[int, ...] = (1, 8, 64, 1024)
    """Smaller batches that are measured too."""
    small_batch_requests: int
    """Requests of each of those sizes."""
    many_accounts: int
    """Accounts with limits in the large journal."""
    many_transfers: int
    """Transfers in it."""
    slice_transfers: int
    """Its first and last so many transfers are compared."""
    tail_transfers: int
    """The last so many of them come after the checkpoint that the restart from a tail begins with."""
    segment_rows: int = SEGMENT_ROWS
    """Transfers of a segment of it; fewer than a bank's where the journal is small."""
    histories: int
    """Histories read from it."""
    callers: int = 64
    """Concurrent callers of one transfer each."""
    calls: int
    """Transfers of each of them."""
    singles: int
    """Transfers of one caller, one after the other."""
    arrival_rates: tuple[int, ...]
    """Arrivals a second of the open loop."""
    arrival_seconds: int
    """How long they keep coming."""
    row_lock_transfers: int
    """Transfers of each run of the row-lock ledger."""


FULL = Sizes(
    few_accounts=10_000, transfers=1_000_000, rounds=3, small_batch_requests=2_000,
    many_accounts=1_000_000, many_transfers=10_000_000, slice_transfers=2_000_000,
    tail_transfers=5_000_000, histories=5_000,
    calls=400, singles=2_000, arrival_rates=(1_000, 5_000, 10_000, 20_000), arrival_seconds=15,
    row_lock_transfers=20_000,
)  # fmt: skip
"""The sizes of design/ledger.md's figures."""

QUICK = Sizes(
    few_accounts=10_000, transfers=30 * BATCH_MAX, small_batch_requests=200,
    many_accounts=50_000, many_transfers=60 * BATCH_MAX, slice_transfers=12 * BATCH_MAX,
    tail_transfers=30 * BATCH_MAX, segment_rows=10 * BATCH_MAX, histories=500,
    calls=40, singles=200, arrival_rates=(1_000, 5_000), arrival_seconds=2, row_lock_transfers=2_000,
)  # fmt: skip
"""About a minute."""


def count(number: int) -> str:
    """A count as people say it: 10k, 1M, 245,670."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if number >= size and number % size == 0:
            return f"{number // size}{unit}"
    return f"{number:,}"
