"""Simulated engine: one process that runs the real pipeline, without a thread.

Its parts are the engine's own: intake, pipeline, tenure and all below. Only what
waits, sleeps or talks to a server is the world's: sessions, sealing, and when a
commit that was handed over is done.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from random import Random
from typing import Any, Protocol

import psycopg

from foundation.clock import SettableClock
from ledger.commands import Command
from ledger.id_filter import IDFilter
from ledger.intake import Intake
from ledger.journal import Batch
from ledger.pipeline import Group, Pipeline
from ledger.tail import Tail
from ledger.tenure import Tenure, begin
from tests.simulation.faults import Faults
from tests.simulation.memory_server import MemoryServer
from tests.simulation.memory_session import MemorySession
from tests.simulation.stepwise_sealing import StepwiseSealing


class Observer(Protocol):
    """Who looks at everything that an engine decides, stores and answers."""

    def began(self, pipeline: Pipeline) -> None:
        """A tenure has begun."""

    def decided(self, pipeline: Pipeline, group: Group, now_ns: int) -> None:
        """A group is decided."""

    def answering(self, pipeline: Pipeline, group: Group) -> None:
        """A group is about to be answered."""

    def answered(self, pipeline: Pipeline) -> None:
        """It was."""


class SkewedClock(SettableClock):
    """An engine's own clock: off from the world's by a little, and it knows what it said last."""

    def __init__(self, world: SettableClock, skew_ns: int) -> None:
        super().__init__()
        self.last_read = 0
        self._world = world
        self._skew_ns = skew_ns

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        self.last_read = self._world.now_ns() + self._skew_ns
        return self.last_read


class ObservedPipeline(Pipeline):
    """The pipeline, with somebody who looks."""

    observer: Observer
    clock: SkewedClock

    def begin(self) -> bool:
        """Hold the lock with everything loaded."""
        has_begun = super().begin()
        if has_begun:
            self.observer.began(self)
        return has_begun

    def _decide(self, commands: list[Command], committing: Group | None) -> Group:
        group = super()._decide(commands, committing)
        self.observer.decided(self, group, self.clock.last_read)
        return group

    def _answer(self, group: Group) -> None:
        self.observer.answering(self, group)
        super()._answer(group)
        self.observer.answered(self)


class SteppedIntake(Intake):
    """An intake that never sleeps: what it would wait for happens in the world."""

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time

    def take(self, wait_seconds: float, expected: int = 1) -> list[Command]:
        """The next group; whoever is expected has no time in which to come."""
        return super().take(min(wait_seconds, 0), expected)

    def pause(self, seconds: float) -> bool:
        """Let time pass."""
        self._pass_time(seconds)
        return self.is_closing


class LazyCommit(Future[None]):
    """A commit that is done at once or when somebody waits for it, as the seed wants."""

    def __init__(self, commit: Callable[[Batch], None], batch: Batch, *, at_once: bool) -> None:
        super().__init__()
        self._commit: Callable[[], None] | None = lambda: commit(batch)
        if at_once:
            self.run()

    def run(self) -> None:
        """Do it, if it is not done."""
        if self._commit is None:
            return
        commit, self._commit = self._commit, None
        try:
            commit()
        except psycopg.Error as error:
            self.set_exception(error)
        else:
            self.set_result(None)

    def result(self, timeout: float | None = None) -> None:
        """Wait for it."""
        self.run()
        super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for it."""
        self.run()
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Its thread has taken it already."""
        return False


class SimulatedEngine:
    """A process with an engine."""

    def __init__(
        self,
        number: int,
        random: Random,
        server: MemoryServer,
        clock: SkewedClock,
        observer: Observer,
        open_session: Callable[[SimulatedEngine], MemorySession],
        wait_for_lock: Callable[[SimulatedEngine], bool],
        segment_rows: Callable[[], int],
    ) -> None:
        self.number = number
        self.is_busy = False
        """Whether it is in the middle of a call."""
        self.has_served = False
        self.seconds = 0.0
        self.sessions: list[MemorySession] = []
        self.sealings: list[StepwiseSealing] = []
        """Those of its tenures; the last one may be at work."""
        self.commit: LazyCommit | None = None
        self.intake = SteppedIntake(self._pass_time)
        self._random = random
        self._server = server
        self._open_session = open_session
        self._wait_for_lock = wait_for_lock
        self._segment_rows = segment_rows
        self.pipeline = ObservedPipeline(clock, self.intake, self, self._acquire, lambda: self.seconds)
        self.pipeline.observer, self.pipeline.clock = observer, clock

    @property
    def faults(self) -> Faults:
        """The world's."""
        return self._server.faults

    def submit(self, commit: Callable[[Batch], None], batch: Batch, /) -> Future[None]:
        """Begin a commit, as the pipeline's committer."""
        self.commit = LazyCommit(commit, batch, at_once=self._random.random() < 0.5)
        return self.commit

    def seal_some(self) -> None:
        """Let the sealing do a step."""
        if self.sealings:
            self.sealings[-1].turn()

    def _pass_time(self, seconds: float) -> None:
        self.seconds += seconds * (50 if self._random.random() < 0.05 else 1)

    def _acquire(self) -> Tenure | None:
        """Hold the lock with everything loaded; None when asked to end, or as a standby for another turn."""
        while not self.intake.is_closing:
            tenure: Tenure | None = None
            try:
                tenure = begin(
                    lambda: self._open_session(self),
                    self._start_sealing,
                    lambda: self._wait_for_lock(self),
                    self._segment_rows(),
                )
            except psycopg.OperationalError:
                self.intake.pause(0.1)
                if self._random.random() < 0.2:
                    detail = "The ledger's database does not answer."
                    self.pipeline.refuse_unfinished(detail, outcome_unknown=self.pipeline.in_doubt)
                    self.intake.turn_away(detail, from_now_on=False)
            if tenure is not None:
                self.has_served = True
                self.intake.open_to_callers()
                return tenure
            if not self.has_served:
                return None
        return None

    def _start_sealing(self, tail: Tail, ids: IDFilter) -> Any:
        sealing = StepwiseSealing(self._server, self._random, tail, ids)
        self.sealings.append(sealing)
        return sealing
