"""Writer: the thread that turns the pipeline, and how it becomes and stays the one writer.

It waits for the lock as standby, serves while it holds it, takes it again when
the database was lost, and tells every caller when it ends.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial

import psycopg
import structlog

from foundation.clock import Clock
from ledger.archive import Head
from ledger.commands import Command
from ledger.id_filter import IDFilter
from ledger.intake import Intake
from ledger.interface import LedgerUnavailable
from ledger.journal import Journal
from ledger.pipeline import OUTAGE_SECONDS, Pipeline
from ledger.sealing import Sealer
from ledger.segments import SEGMENT_ROWS
from ledger.state import State
from ledger.tail import Tail
from ledger.tenure import Tenure, begin

log = structlog.get_logger()

IDLE_SECONDS = 0.05
"""How often an idle writer looks whether something has expired."""
LOCK_RETRY_SECONDS = 0.1
"""How often a standby asks for the lock."""
OWN_SESSION_SECONDS = 1.0
"""How long our own broken session may take to end before it must be another engine's lock."""
OWN_SESSION_RETRY_SECONDS = 0.01
"""How often we ask for the lock meanwhile."""
THREAD_SWITCH_SECONDS = 0.0005
"""How long a thread of this process may keep the others from running Python.

A commit is sent in pieces of what a socket holds, and each piece needs the
interpreter for a moment: with Python's own 5 ms it waits longer for that than the
server takes for all of the rows, and the next batch waits for the commit.
"""


class Phase(Enum):
    """Where the writer stands."""

    STARTING = "starting"
    """Connecting to the database."""
    STANDBY = "standby"
    """Another engine holds the lock; this one waits for it."""
    SERVING = "serving"
    """It decides and commits."""
    STOPPED = "stopped"
    """It has ended, on request or because an invariant is broken."""


class Writer:
    """The thread, and the pipeline that only it touches."""

    def __init__(
        self,
        database_url: str,
        clock: Clock,
        *,
        open_journal: Callable[[str], Journal] = Journal.open,
        segment_rows: int = SEGMENT_ROWS,
    ) -> None:
        self.phase = Phase.STARTING
        self.failure: BaseException | None = None
        self._url = database_url
        self._open_journal = open_journal
        self._segment_rows = segment_rows
        self._intake = Intake()
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="ledger-committer")
        self._pipeline = Pipeline(clock, self._intake, self._committer, self._acquire)
        self._pipeline.on_begun = self._serve
        self._has_served = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    @property
    def stored_head(self) -> Head:
        """The newest batch that is committed."""
        return self._pipeline.stored_head

    @property
    def tenures(self) -> int:
        """How often the lock was taken: as long as this stays, nobody else had it."""
        return self._pipeline.tenures

    @property
    def state(self) -> State:
        """The state in memory; another thread may look at it only when the writer has stopped."""
        tenure = self._pipeline.tenure
        return tenure.state if tenure is not None else State()

    @property
    def is_sealed(self) -> bool:
        """Whether only the open segment is not sealed, and the next one may be opened."""
        tenure = self._pipeline.tenure
        if tenure is None:
            return False
        tail = tenure.tail
        return len(tail.segments) == 1 and tenure.sealing.is_prepared(tail.open.number + 1)

    def on_stored(self, tell: Callable[[Head], None]) -> None:
        """Have somebody told of every newest batch, by the writer's thread; it must not wait."""
        self._pipeline.on_stored = tell

    def start(self) -> None:
        """Begin in a thread of its own."""
        sys.setswitchinterval(min(sys.getswitchinterval(), THREAD_SWITCH_SECONDS))
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, give the lock back, end the thread."""
        self._intake.close()
        self._thread.join()

    def check(self) -> None:
        """Raise what stopped the writer, if it has stopped."""
        if self.phase is Phase.STOPPED:
            raise self.failure or LedgerUnavailable("The ledger has stopped.", outcome_unknown=False)

    def submit(self, command: Command) -> None:
        """Queue what a caller asks; see :meth:`ledger.intake.Intake.submit`."""
        self._intake.submit(command)

    def _run(self) -> None:
        try:
            if self._pipeline.begin():
                while self._pipeline.step(IDLE_SECONDS):
                    pass
        # The thread's end must reach every caller, whatever ended it: a broken
        # invariant, a server that could forget commits, or a bug.
        except BaseException as error:  # noqa: BLE001
            self.failure = error
            log.critical("ledger_stopped", error=f"{type(error).__name__}: {error}")
        finally:
            self.phase = Phase.STOPPED
            self._intake.turn_away("The ledger has stopped.", from_now_on=True)
            self._pipeline.refuse_unfinished("The ledger has stopped.", outcome_unknown=True)
            self._committer.shutdown()
            self._pipeline.close()

    def _acquire(self) -> Tenure | None:
        """Hold the lock with everything loaded; None when asked to end meanwhile.

        Waits as long as it takes. Callers do not: after ``OUTAGE_SECONDS``, or
        when another engine has taken over, they are told.
        """
        began = time.monotonic()
        # A lock that we have just lost is most likely held by our own session of
        # before, which the server has not ended yet.
        own_until_seconds = began + OWN_SESSION_SECONDS if self._has_served else None
        while not self._intake.is_closing:
            tenure: Tenure | None = None
            try:
                tenure = begin(
                    partial(self._open_journal, self._url),
                    self._start_sealing,
                    partial(self._stand_by, own_until_seconds),
                    self._segment_rows,
                )
            except psycopg.OperationalError as error:
                log.warning("ledger_waits_for_database", error=str(error).strip())
                if time.monotonic() - began > OUTAGE_SECONDS:
                    detail = "The ledger's database does not answer."
                    self._pipeline.refuse_unfinished(detail, outcome_unknown=self._pipeline.in_doubt)
                    self._intake.turn_away(detail, from_now_on=False)
            if tenure is not None:
                return tenure
            self._intake.pause(LOCK_RETRY_SECONDS)
        return None

    def _serve(self) -> None:
        """Say that it serves, once the state, the tail and the head are those that were loaded.

        Whoever waits for the phase reads them next: a head of before would tell a
        caller that an empty journal is the newest there is.
        """
        self._has_served = True
        self._intake.open_to_callers()
        self.phase = Phase.SERVING

    def _start_sealing(self, tail: Tail, ids: IDFilter) -> Sealer:
        sealer = Sealer(self._url, tail, ids)
        sealer.start()
        return sealer

    def _stand_by(self, own_until_seconds: float | None) -> bool:
        """Another engine holds the lock: send callers there, and wait; whether to give up.

        Until ``own_until_seconds`` callers wait with us.
        """
        if own_until_seconds is not None and time.monotonic() < own_until_seconds:
            return self._intake.pause(OWN_SESSION_RETRY_SECONDS)
        if self.phase is not Phase.STANDBY:
            log.info("ledger_standby")
            self.phase = Phase.STANDBY
        self._intake.turn_away("This engine is a standby.", from_now_on=True)
        self._pipeline.refuse_unfinished(
            "Another engine has taken over.", outcome_unknown=self._pipeline.in_doubt
        )
        return self._intake.pause(LOCK_RETRY_SECONDS)
