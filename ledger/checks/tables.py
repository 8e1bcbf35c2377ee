"""Tables: everything that a journal holds, as raw rows in order.

What the check replays and what an export writes. Rows are canonical bytes, end to
end in pieces of some megabytes, each piece of whole rows. PostgreSQL's are in
``ledger.checks.snapshot``, those of an export in ``ledger.parquet.tables``.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from ledger.segments import Segment

Piece = TypeVar("Piece")

BATCH_COLUMNS = (
    "sequence", "timestamp", "transfer_first", "transfer_last",
    "account_count", "transfer_count", "expiry_count", "failed_count", "hash",
)  # fmt: skip

PIECES_AHEAD = 3
"""So many pieces are read before they are asked for."""


class JournalTables(Protocol):
    """A journal as of one batch, that nobody appends to meanwhile."""

    def transfer_count(self) -> int:
        """Transfers by the batches' counts, for showing how far a reader is."""

    def segments(self) -> list[Segment]:
        """The catalog of segments, by number, with their seals."""

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Number of each segment that is attached to the sealed ones, with its bounds: from, below."""

    def strays(self) -> list[str]:
        """Tables that look like a segment's, are in no catalog, and hold rows."""

    def accounts(self) -> Iterator[bytes]:
        """Accounts by slot."""

    def transfers(self, segment: Segment) -> Iterator[bytes]:
        """A segment's transfers by timestamp."""

    def expiries(self) -> Iterator[bytes]:
        """Expiries by timestamp."""

    def failed_ids(self) -> Iterator[bytes]:
        """Failed ids by timestamp."""

    def batches(self) -> Iterator[bytes]:
        """Batches by sequence, in the columns of ``BATCH_COLUMNS``, 0 where a transfer is NULL."""

    def checkpoint(self) -> tuple[int, bytes] | None:
        """The newest checkpoint: its batch's sequence, and its bytes."""

    def id_filters(self, number: int) -> list[bytes] | None:
        """The stored pieces of a sealed segment's id filter; None where no filters are kept at all."""

    def history_marks(self, number: int) -> bytes | None:
        """The rows of a sealed segment's history marks by part; None where no marks are kept at all."""


def read_ahead(open_pieces: Callable[[], Iterator[Piece]]) -> Iterator[Piece]:
    """The same pieces, read by a thread of their own while the one before is worked on.

    Ends the reading when the caller wants no more. An error of the reading is
    raised where its piece would have come.
    """
    pieces: queue.Queue[tuple[str, Any]] = queue.Queue(PIECES_AHEAD)
    ended = threading.Event()

    def put(what: str, piece: object) -> bool:
        while not ended.is_set():
            with contextlib.suppress(queue.Full):
                pieces.put((what, piece), timeout=0.1)
                return True
        return False

    def read() -> None:
        try:
            reading = open_pieces()
            with contextlib.closing(reading):  # type: ignore[type-var]  # every iterator given here is a generator
                for piece in reading:
                    if not put("piece", piece):
                        return
            put("end", None)
        except BaseException as error:  # noqa: BLE001  # it is raised again in the caller's thread
            put("error", error)

    thread = threading.Thread(target=read, name="journal-reader", daemon=True)
    thread.start()
    try:
        while True:
            what, piece = pieces.get()
            if what == "error":
                raise piece
            if what == "end":
                return
            yield piece
    finally:
        ended.set()
        thread.join()
