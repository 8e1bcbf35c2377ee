"""Memory session: a session with the memory server that can fail at every call.

Both of the protocols that the engine asks of its journal (``ledger.storage``). What
fails, and how, is drawn by the world's faults.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import psycopg

from ledger.archive import Head, Record
from ledger.columns import TransferColumns
from ledger.contract import TransferPendingStatus
from ledger.journal import Batch
from ledger.rows import EXPIRY_COLUMNS
from ledger.segments import Segment
from ledger.stored_transfer import StoredTransfer
from tests.simulation.faults import Crash, lost
from tests.simulation.memory_server import MemoryServer

_ACCOUNT = np.dtype(
    [
        ("slot", "<i4"), ("id", "V16"), ("timestamp", "<i8"), ("ledger", "<u4"), ("code", "<u2"),
        ("flags", "<i2"), ("user_data_128", "V16"), ("user_data_64", "<u8"), ("user_data_32", "<u4"),
    ]
)  # fmt: skip
_EXPIRY = np.dtype([(name, "<i8") for name in EXPIRY_COLUMNS])
_BATCH = np.dtype([("sequence", "<i8"), ("timestamp", "<i8"), ("transfer_last", "<i8")])

Interlude = Callable[[str], None]
"""Lets others act in the middle of a call: takeovers and sealers."""


class MemorySession:
    """One connection of an engine."""

    def __init__(self, server: MemoryServer, interlude: Interlude) -> None:
        self.server = server
        self.has_ended = False
        self.late: Batch | None = None
        """A batch whose commit the server may still finish."""
        self._interlude = interlude

    @property
    def archive(self) -> MemoryArchive:
        """Reads through this session."""
        return MemoryArchive(self)

    def reach(self, call: str) -> None:
        """Begin a call: it may fail here."""
        if self.has_ended:
            raise lost("the connection is gone")
        effect = self.server.faults.of_call(call)
        if effect is None:
            return
        if effect in ("usurp", "seal"):
            self._interlude(f"{call}:{effect}")
            if self.has_ended:
                raise lost("terminating connection due to administrator command")
            return
        self.server.faults.note(f"{call}:{effect}")
        self.server.end(self, linger=self.server.faults.of_sealing())
        raise Crash if effect == "crash" else lost(f"connection lost at {call}")

    def try_lock(self) -> bool:
        """Become the one writer."""
        self.reach("try_lock")
        if self.server.lock is None:
            self.server.lock = self
        return self.server.lock is self

    def confirm_lock(self) -> None:
        """Make sure that the lock is still ours."""
        self.reach("confirm_lock")

    def append(self, batch: Batch) -> None:
        """Store a batch, or fail at one of a commit's stages."""
        if self.has_ended:
            raise lost("the connection is gone")
        server = self.server
        fault = server.faults.of_commit()
        if fault is None:
            server.store(self, batch)
            return
        if fault == "append.before:usurp":
            self._interlude(fault)
            if self.has_ended:
                raise lost("terminating connection due to administrator command")
            server.store(self, batch)
            return
        if fault == "append.late":
            self.late = batch
            server.end(self, linger=True)
            raise lost("connection lost while the server commits")
        server.faults.note(fault)
        if fault == "append.during:full":
            # The transaction is rolled back, the session and its lock stay.
            raise psycopg.errors.DiskFull("could not extend file")
        if "answer_lost" in fault:
            server.store(self, batch)
        # Rows that were sent before are gone with their database transaction.
        server.end(self, linger=server.faults.of_sealing())
        raise Crash if fault.endswith("crash") else lost(f"connection lost at {fault}")

    def stored_hash(self, sequence: int) -> bytes | None:
        """The hash of the batch with that number."""
        self.reach("stored_hash")
        heads = self.server.heads
        return heads[sequence - 1].hash if sequence <= len(heads) else None

    def has_archived(self) -> bool:
        """Nothing is ever detached here."""
        return False

    def find_transfers(self, ids: Collection[int]) -> list[StoredTransfer]:
        """Transfers of sealed segments with these ids."""
        self.reach("find_transfers")
        return self.server.find_transfers(ids)

    def find_statuses(self, timestamps: Collection[int]) -> dict[int, TransferPendingStatus]:
        """What expiries and sealed segments made of pending transfers."""
        self.reach("find_statuses")
        return self.server.find_statuses(timestamps)

    def find_failed(self, ids: Collection[int]) -> set[int]:
        """Which of these ids have failed for a passing reason."""
        self.reach("find_failed")
        return {i for i in ids if i in self.server.failed}

    def find_timestamps(self, timestamps: Collection[int]) -> set[int]:
        """Which of these are timestamps of transfers in sealed segments."""
        self.reach("find_timestamps")
        return {t for t in timestamps if t in self.server.by_timestamp}

    def close(self) -> None:
        """End the session."""
        self.server.end(self, linger=False)


class MemoryArchive:
    """The journal, read in order through a session."""

    def __init__(self, session: MemorySession) -> None:
        self._session = session
        self._server = session.server

    def head(self) -> Head:
        """The newest batch."""
        self._session.reach("load")
        return self._server.head

    def segments(self) -> list[Segment]:
        """All segments, oldest first."""
        self._session.reach("load")
        return [segment.as_segment() for segment in self._server.segments]

    def accounts(self, first_slot: int = 0) -> Iterator[Record]:
        """Accounts from that slot on, in parts."""
        self._session.reach("load")
        rows = self._server.accounts[first_slot:]
        for start in range(0, len(rows), 100):
            part = [
                (
                    slot,
                    own.to_bytes(16, "big"),
                    timestamp,
                    ledger,
                    code,
                    flags,
                    wide.to_bytes(16, "big"),
                    d64,
                    d32,
                )
                for slot, own, timestamp, ledger, code, flags, wide, d64, d32 in rows[start : start + 100]
            ]
            yield np.array(part, _ACCOUNT)

    def transfers(self, segment: Segment, after: int = 0) -> Iterator[TransferColumns]:
        """A segment's transfers younger than a timestamp."""
        self._session.reach("load")
        for part in self._server.segments[segment.number - 1].parts:
            at = int(np.searchsorted(part["timestamp"], after, "right"))
            yield part.part(at, len(part))

    @contextmanager
    def read_ahead(self, segments: Sequence[Segment]) -> Iterator[Iterator[tuple[int, TransferColumns]]]:
        """Whole segments in parts, one after the other, when they are asked for."""
        yield ((segment.number, part) for segment in segments for part in self.transfers(segment))

    def expiries(self, after: int = 0) -> Iterator[Record]:
        """Expiries younger than a timestamp."""
        self._session.reach("load")
        rows = [row for row in self._server.expiries if row[0] > after]
        for start in range(0, len(rows), 100):
            yield np.array(rows[start : start + 100], _EXPIRY)

    def failed_ids(self) -> Iterator[npt.NDArray[np.uint64]]:
        """Failed ids as (low, high) pairs."""
        self._session.reach("load")
        if self._server.failed:
            yield np.array([(i & 2**64 - 1, i >> 64) for i in self._server.failed], np.uint64)

    def batches(self, after: int = 0) -> Record:
        """Sequence, timestamp and last transfer of each batch after that sequence."""
        self._session.reach("load")
        return np.array(self._server.batch_rows[after:], _BATCH)

    def id_filters(self, header_size: int) -> list[tuple[int, int, bytes]]:
        """Segment, part and first bytes of each stored piece of the id filter."""
        self._session.reach("load")
        return [(*key, data[:header_size]) for key, data in sorted(self._server.id_filters.items())]

    def id_filter(self, number: int, part: int) -> bytes:
        """One piece of the id filter."""
        self._session.reach("load")
        return self._server.id_filters[number, part]

    def checkpoint(self) -> tuple[int, bytes] | None:
        """The newest checkpoint."""
        self._session.reach("load")
        return self._server.checkpoint
