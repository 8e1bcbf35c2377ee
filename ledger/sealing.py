"""Sealing: the background thread that turns full segments into sealed ones.

It has a session of its own and never holds the writer's lock: whatever it does
may be done again, by this process or by the one that takes over. In order: the
table of the next segment is made before it is needed; a full segment gets its
indexes, its range is proven, it is attached, and only then the tail lets go of
its rows. A crash at any of these points leaves a segment that is full and not
sealed, with some of its indexes; the next tenure loads its rows into the tail
and seals it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import psycopg
import structlog

from foundation.postgres import sync_url
from ledger import checkpoints, segments
from ledger.checkpoints import Checkpoint
from ledger.connection import Connection
from ledger.history_marks import encode_marks
from ledger.id_filter import IDFilter
from ledger.segments import Seal
from ledger.tail import Tail, TailSegment

log = structlog.get_logger()

RETRY_SECONDS = 0.2
"""Pause after a step that failed."""

DONE_BY_ANOTHER = (
    psycopg.errors.DuplicateTable, psycopg.errors.DuplicateObject, psycopg.errors.WrongObjectType,
)  # fmt: skip
"""An engine that has lost the lock and does not know it yet was sealing too: look again."""

_SETTINGS = (
    "SET maintenance_work_mem = '256MB'",
    # The second core belongs to the writer's own session.
    "SET max_parallel_maintenance_workers = 0",
)


class Sealing(Protocol):
    """What the pipeline asks of whoever seals."""

    def is_prepared(self, number: int) -> bool:
        """Whether that segment may be opened."""

    def seal(self, segment: TailSegment) -> None:
        """A segment is full; seal it when its turn comes."""

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint whose batch is committed."""

    def wait(self, seconds: float) -> None:
        """Let it get on, at most so long."""

    def check(self) -> None:
        """Raise what ended it, if anything did."""

    def stop(self) -> None:
        """End; what is not sealed is left for the next tenure."""


class Sealer:
    """The thread; see :class:`Sealing`."""

    def __init__(self, url: str, tail: Tail, ids: IDFilter) -> None:
        self._url = url
        self._tail = tail
        self._ids = ids
        self._bell = threading.Condition()
        self._full: deque[TailSegment] = deque(tail.segments[:-1])
        self._checkpoint: Checkpoint | None = None
        self._prepared = 0
        self._stopping = False
        self._connection: Connection | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-sealer", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def is_prepared(self, number: int) -> bool:
        """Whether that segment may be opened."""
        return self._prepared >= number

    def seal(self, segment: TailSegment) -> None:
        """A segment is full; seal it when its turn comes."""
        with self._bell:
            self._full.append(segment)
            self._bell.notify_all()

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint whose batch is committed; a newer one takes its place."""
        with self._bell:
            self._checkpoint = checkpoint
            self._bell.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait for a segment to be sealed, at most so long."""
        with self._bell:
            self._bell.wait(seconds)

    def check(self) -> None:
        """Raise what ended the thread: two rows with one id, or a bug."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End, also in the middle of an index: it is begun again by the next tenure."""
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
            connection = self._connection
        if connection is not None:
            # A server that is gone has nothing left to cancel.
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=2.0)
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            try:
                with psycopg.connect(
                    sync_url(self._url), autocommit=True, application_name="nugpay-ledger-sealer"
                ) as connection:
                    self._connection = connection
                    for setting in _SETTINGS:
                        connection.execute(setting)
                    self._serve(connection)
            except (psycopg.OperationalError, psycopg.errors.QueryCanceled, *DONE_BY_ANOTHER) as error:
                # The writer finds out by itself whether the server is gone, or the lock.
                if not self._stopping:
                    log.warning("ledger_sealing_interrupted", error=str(error).strip())
                    self._pause()
            except BaseException as error:  # noqa: BLE001  # it is raised in the writer's thread, see check
                self._failure = error
                log.critical("ledger_sealing_failed", error=f"{type(error).__name__}: {error}")
                return
            finally:
                self._connection = None

    def _serve(self, connection: Connection) -> None:
        while not self._stopping:
            if not self._attempt(partial(self._prepare, connection)):
                continue
            with self._bell:
                segment = self._full[0] if self._full else None
                checkpoint, self._checkpoint = self._checkpoint, None
                if segment is None and checkpoint is None and not self._stopping:
                    # Opening a segment rings too, since it comes with a full one.
                    self._bell.wait()
                    continue
            if checkpoint is not None:
                checkpoints.store(connection, checkpoint.sequence, checkpoint.encode())
            if segment is not None and self._attempt(partial(self._seal, connection, segment)):
                with self._bell:
                    self._full.popleft()
                    self._tail.release(segment.number)
                    self._bell.notify_all()

    def _attempt(self, step: Callable[[], None]) -> bool:
        """Whether a step was done; a reader that holds a table too long makes it wait for another turn."""
        try:
            step()
        except psycopg.errors.LockNotAvailable:
            self._pause()
            return False
        return True

    def _prepare(self, connection: Connection) -> None:
        number = self._tail.open.number + 1
        if self._prepared < number:
            if not segments.is_prepared(connection, number):
                segments.prepare(connection, number)
            self._prepared = number

    def _seal(self, connection: Connection, segment: TailSegment) -> None:
        if segments.is_sealed(connection, segment.number):
            # The session was lost after its commit, or another engine has sealed it.
            return
        columns = segment.columns()
        timestamps = columns["timestamp"]
        seal = Seal(segment.last_sequence, int(timestamps[0]), int(timestamps[-1]), len(timestamps))
        segments.build_indexes(connection, segment.number, seal)
        marks = encode_marks(segment.number, columns)
        segments.attach(connection, segment.number, seal, self._ids.dump(segment.number), marks)
        log.info("ledger_segment_sealed", number=segment.number, transfers=seal.transfer_count)

    def _pause(self) -> None:
        with self._bell:
            if not self._stopping:
                self._bell.wait(RETRY_SECONDS)
