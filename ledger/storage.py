"""Storage: what the engine asks of the place where its journal is kept.

PostgreSQL's is ``ledger.journal`` with ``ledger.archive``; the simulator has one
in memory that fails on demand. The engine knows no other way to its books.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ledger.archive import Head, Record
from ledger.columns import TransferColumns
from ledger.contract import TransferPendingStatus
from ledger.journal import Batch
from ledger.segments import Segment
from ledger.stored_transfer import StoredTransfer


class ArchiveReader(Protocol):
    """Reads the journal in order; see :class:`ledger.archive.Archive`."""

    def head(self) -> Head:
        """The newest batch."""

    def segments(self) -> list[Segment]:
        """All segments, oldest first."""

    def accounts(self, first_slot: int = 0) -> Iterator[Record]:
        """Accounts from that slot on, in order."""

    def transfers(self, segment: Segment, after: int = 0) -> Iterator[TransferColumns]:
        """A segment's transfers younger than a timestamp, in order."""

    def read_ahead(
        self, segments: Sequence[Segment]
    ) -> AbstractContextManager[Iterator[tuple[int, TransferColumns]]]:
        """Whole segments in parts, each with its segment's number, read while the caller does others."""

    def expiries(self, after: int = 0) -> Iterator[Record]:
        """Expiries younger than a timestamp, in order."""

    def failed_ids(self) -> Iterator[npt.NDArray[np.uint64]]:
        """Failed ids as (low, high) pairs."""

    def batches(self, after: int = 0) -> Record:
        """Sequence, timestamp and last transfer (0 for none) of each batch after that sequence."""

    def id_filters(self, header_size: int) -> list[tuple[int, int, bytes]]:
        """Segment, part and first bytes of each stored piece of the id filter."""

    def id_filter(self, number: int, part: int) -> bytes:
        """One piece of the id filter."""

    def checkpoint(self) -> tuple[int, bytes] | None:
        """The newest checkpoint: its batch's sequence, and its bytes."""


class JournalSession(Protocol):
    """A session with the journal; ``psycopg.OperationalError`` whenever it is lost."""

    @property
    def archive(self) -> ArchiveReader:
        """Reads through this session."""

    def try_lock(self) -> bool:
        """Become the one writer, if nobody else is."""

    def confirm_lock(self) -> None:
        """Make sure that the lock is still ours."""

    def append(self, batch: Batch) -> None:
        """Store a batch durably; an error means that the outcome is unknown."""

    def stored_hash(self, sequence: int) -> bytes | None:
        """The hash of the batch with that number, or None when there is none."""

    def has_archived(self) -> bool:
        """Whether there are detached segments; their rows may raise ``SegmentArchived`` in what follows."""

    def find_transfers(self, ids: Collection[int]) -> list[StoredTransfer]:
        """Transfers of sealed segments with these ids; a pending one shows as such."""

    def find_statuses(self, timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """What expiries and sealed segments made of the pending transfers of these timestamps."""

    def find_failed(self, ids: Collection[int]) -> set[int]:
        """Which of these ids have failed for a passing reason."""

    def find_timestamps(self, timestamps: Collection[int]) -> set[int]:
        """Which of these are timestamps of transfers in sealed segments."""

    def close(self) -> None:
        """End the session, and with it the lock."""
