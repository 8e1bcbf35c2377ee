"""Simulator: engines, a server that fails, clients and a clock, all from one seed.

The real engine runs step by step, in one thread, on a journal in memory; whatever
it decides, stores, answers and loads is compared with a plain ledger. The same seed
gives the same run, to the last byte of the journal.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import structlog

from foundation.clock import SettableClock
from tests.simulation import state_audit, tunables
from tests.simulation.auditor import Auditor
from tests.simulation.clients import Clients
from tests.simulation.faults import Crash, Faults
from tests.simulation.memory_server import MemoryServer, Violation
from tests.simulation.memory_session import MemorySession
from tests.simulation.readers import Readers
from tests.simulation.simulated_engine import SimulatedEngine, SkewedClock
from tests.simulation.workload import Workload

START_NS = 1_800_000_000 * 10**9
FAR_NS = 5 * 10**18
"""From here (the year 2128) the longest timeout does not fit 63 bits."""
SECOND = 10**9
JUMPS = (
    0, 0, 0, 1, 7, 1000, 1000, 10**6, 10**6, SECOND // 2, SECOND, 3 * SECOND, 100 * SECOND, -3, -SECOND,
    -60 * SECOND,
)  # fmt: skip
"""By how much the clock moves between two turns, in nanoseconds."""
SKEWS = (0, 0, 1, -1, 1000, -SECOND, 30 * SECOND)
"""By how much an engine's clock is ahead of the world's, in nanoseconds."""
WAITS_MAX = 12
"""An engine that waited so often for the lock gets it: whoever holds it is killed."""
SEGMENTS_SHARE = 9
"""Tenures that come late make longer segments, so that each is at least such a part of the journal: ids of
many segments take long to look up, and say no more than those of some."""
ASK_SHARE = 0.3
"""How many turns end with questions to the engine that serves."""
TURNS_MAX_PER_EVENT = 5
"""More turns than this for each event: nothing gets on."""


class SimulationFailure(AssertionError):
    """A run found a difference."""

    def __init__(self, seed: int, event: int, events: int, strength: float, detail: str) -> None:
        self.seed, self.event, self.detail = seed, event, detail
        # In the middle of a run one event more than were settled is enough to meet it
        # again; what shows only when all has settled needs the run as it was.
        self.events_again = min(event + 1, events)
        more = "" if strength == 1 else f" --strength {strength:g}"
        super().__init__(
            f"seed {seed}, after {event:,} events: {detail}\n"
            f"again: ./nugpay simulate --seed {seed} --events {self.events_again}{more}"
        )


@dataclass
class Run:
    """What a run has done."""

    seed: int
    events: int
    hash: bytes
    """Of the newest batch: it chains all of the journal."""
    counts: Counter[str] = field(default_factory=Counter)


class World:
    """One run."""

    def __init__(self, seed: int, *, strength: float = 1.0) -> None:
        self.random = random = Random(seed)
        self.faults = Faults(random, strength * (0.0 if seed % 16 == 7 else random.choice((0.5, 1, 2))))
        self.auditor = Auditor()
        self.server = MemoryServer(random, self.faults, self.auditor.stored)
        self.auditor.server = self.server
        start = FAR_NS if seed % 5 == 3 else START_NS
        self.clock = SettableClock(start)
        self.segment_rows = random.choice((300, 1000, 1000, 3000, 3000))
        self.sealing_pace = random.choice((0.1, 0.5, 0.5, 0.9))
        self.workload = Workload(random, self.auditor.ledger)
        self.readers = Readers(random, self.auditor.ledger, self.server, self.auditor.counts)
        self.clients = Clients(random, self.workload, self.auditor, self.auditor.counts)
        self.engines = [self._engine(number) for number in range(2)]
        self._engine_count = 2
        self._interludes = 0

    def turn(self) -> None:
        """Something happens."""
        random = self.random
        self._move_clock()
        for engine in self.engines:
            for _ in range(int(random.random() * 4) if engine.pipeline.tenure is not None else 1):
                if engine.pipeline.tenure is not None or random.random() < 0.05:
                    self.clients.send(engine.intake)
        for engine in list(self.engines):
            self.step(engine)
            in_flight = engine.commit is not None and not engine.commit.done()
            if in_flight and random.random() < 0.05 * self.faults.strength:
                self._crash(engine)
            if random.random() < self.sealing_pace:
                engine.seal_some()
        self._disturb(random.random())
        self._compare(random.random())

    def _disturb(self, at: float) -> None:
        """Let something go wrong between two turns, now and then."""
        if at < 0.005 * self.faults.strength:
            engine = self._holder() or self.engines[0]
            self.usurp(engine, "usurped between turns")
            if self.random.random() < 0.5:
                # Nothing but a question: it could be answered from old memory.
                self.clients.look(engine.intake)
                self.step(engine)
        elif at < 0.009 * self.faults.strength:
            self._crash(self.random.choice(self.engines))
        elif at < 0.013 * self.faults.strength:
            self.faults.note("stop: asked")
            self.random.choice(self.engines).intake.close()

    def _compare(self, at: float) -> None:
        """Ask, and look into memory, now and then."""
        if at < ASK_SHARE:
            self._ask()
        elif at < ASK_SHARE + 0.04:
            self._look_up()
        elif at < ASK_SHARE + 0.042:
            state_audit.compare_replay(self.auditor, self.segment_rows)

    def step(self, engine: SimulatedEngine) -> None:
        """Let an engine do one turn of its loop, as its thread would."""
        if engine.is_busy or engine not in self.engines:
            return
        engine.is_busy = True
        try:
            if not engine.has_served:
                if self.server.lock is None or self.random.random() < 0.05:
                    self.server.notice()
                    engine.pipeline.begin()
                if engine.intake.is_closing:
                    self._replace(engine)
            elif not engine.pipeline.step(0):
                self._end(engine)
        except Crash:
            self._crash(engine)
        except Violation:
            raise
        except Exception as error:
            if type(error).__module__.startswith("psycopg"):
                # The writer's thread ends on it, and its callers are told.
                raise Violation(f"an engine ended on {error!r}") from error
            raise
        finally:
            engine.is_busy = False

    def usurp(self, engine: SimulatedEngine, name: str) -> None:
        """End the session that holds the lock without its engine's knowledge; others take over."""
        tenure = engine.pipeline.tenure
        if self._interludes or tenure is None or self.server.lock is not tenure.journal:
            return
        session = tenure.journal
        assert isinstance(session, MemorySession)
        self.faults.note(name)
        self.server.end(session, linger=False)
        self.faults.unrest = self.random.choice((1.0, 8.0))
        self._let_others(engine)
        self.faults.unrest = 1.0

    def settle(self) -> None:
        """Let all that is on its way arrive, without further faults; then compare everything."""
        self.faults.strength = 0
        for _ in range(200):
            for engine in list(self.engines):
                self.step(engine)
                engine.seal_some()
            holder = self._holder()
            if holder is not None and not self.clients.outstanding:
                break
        holder = self._holder()
        if holder is None or holder.pipeline.tenure is None:
            raise Violation("nobody serves, and nothing is in the way")
        self.step(holder)
        state_audit.compare_tenure(self.auditor, holder.pipeline.tenure, everything=True)
        self.readers.ask_everything(holder.pipeline)
        state_audit.compare_replay(self.auditor, self.segment_rows)

    def check_progress(self, turns: int, events: int) -> None:
        """Raise when so many turns ought to have done more."""
        if turns > 1000 + TURNS_MAX_PER_EVENT * events:
            raise Violation("nothing gets on")

    def _engine(self, number: int) -> SimulatedEngine:
        clock = SkewedClock(self.clock, self.random.choice(SKEWS))
        return SimulatedEngine(
            number, self.random, self.server, clock, self.auditor, self._open_session, self._wait_for_lock,
            lambda: max(self.segment_rows, len(self.auditor.ledger.rows) // SEGMENTS_SHARE),
        )  # fmt: skip

    def _open_session(self, engine: SimulatedEngine) -> MemorySession:
        session = MemorySession(self.server, lambda name: self._interlude(engine, name))
        session.reach("open")
        engine.sessions.append(session)
        return session

    def _interlude(self, engine: SimulatedEngine, name: str) -> None:
        """Others act in the middle of an engine's call."""
        if name.endswith("usurp"):
            self.usurp(engine, name)
            return
        self.faults.note(name)
        for other in self.engines:
            other.seal_some()

    def _let_others(self, engine: SimulatedEngine) -> None:
        self._interludes += 1
        for _ in range(1 + int(self.random.random() * 4)):
            for other in list(self.engines):
                if other is not engine:
                    if other.pipeline.tenure is not None:
                        self.clients.send(other.intake)
                    self.step(other)
        self._interludes -= 1

    def _wait_for_lock(self, engine: SimulatedEngine) -> bool:
        """Somebody else holds the lock; whether to give up for now."""
        self.faults.note("lock: waited for")
        if not engine.has_served:
            return True
        engine.seconds += 0.1
        waits = self._interludes = self._interludes + 1
        if self.random.random() < 0.3:
            engine.intake.turn_away("This engine is a standby.", from_now_on=True)
            engine.pipeline.refuse_unfinished(
                "Another engine has taken over.", outcome_unknown=engine.pipeline.in_doubt
            )
        if self.random.random() < 0.05 and self.faults.strength:
            self.faults.note("stop: in recovery")
            engine.intake.close()
        self._let_others(engine)
        self._interludes = waits - 1
        if self.random.random() < 0.5:
            self.server.notice()
        holder = self._holder()
        if holder is not None and holder is not engine and self.random.random() < 3 / WAITS_MAX:
            self._crash(holder)
        return engine.intake.is_closing

    def _holder(self) -> SimulatedEngine | None:
        for engine in self.engines:
            tenure = engine.pipeline.tenure
            if tenure is not None and self.server.lock is tenure.journal:
                return engine
        return None

    def _crash(self, engine: SimulatedEngine) -> None:
        """The process is gone with all its memory; the server notices sooner or later."""
        if engine not in self.engines:
            return
        if engine.commit is not None and not engine.commit.done():
            # It was handed over: the server may have it.
            if self.random.random() < 0.5:
                self._finish_commit(engine)
            else:
                self.faults.note("crash: commit in flight lost")
        self.faults.note("crash")
        self._replace(engine)

    def _finish_commit(self, engine: SimulatedEngine) -> None:
        assert engine.commit is not None
        before = len(self.server.heads)
        with contextlib.suppress(Crash):
            engine.commit.run()
        if len(self.server.heads) > before:
            self.faults.note("crash: commit in flight stored")

    def _end(self, engine: SimulatedEngine) -> None:
        """An engine that was asked to stop has stopped: its callers are told, its lock is free."""
        engine.intake.turn_away("The ledger has stopped.", from_now_on=True)
        engine.pipeline.refuse_unfinished("The ledger has stopped.", outcome_unknown=True)
        engine.pipeline.close()
        self._replace(engine)

    def _replace(self, engine: SimulatedEngine) -> None:
        linger = self.random.random() < 0.3
        for session in engine.sessions:
            self.server.end(session, linger=linger)
        for sealing in engine.sealings:
            sealing.stop()
        self.clients.lose(engine.intake)
        self._engine_count += 1
        self.engines[self.engines.index(engine)] = self._engine(self._engine_count)

    def _resting(self) -> SimulatedEngine | None:
        """The engine that serves, when it is at rest: nothing is on its way to be stored."""
        holder = self._holder()
        return None if holder is None or holder.is_busy or holder.pipeline._committing else holder

    def _ask(self) -> None:
        """Ask the engine that serves, when it is at rest."""
        holder = self._resting()
        if holder is not None:
            for _ in range(1 + int(self.random.random() * 4)):
                self.readers.ask(holder.pipeline)

    def _look_up(self) -> None:
        """Read what is durable through the engine that serves, when it is at rest."""
        holder = self._resting()
        if holder is None or holder.pipeline.tenure is None:
            return
        ledger = self.auditor.ledger
        state_audit.compare_state(ledger, holder.pipeline.tenure.state, len(ledger.rows))
        known = [row[13] for row in self.random.choices(ledger.rows, k=30)] if ledger.rows else []
        recent = [row[13] for row in ledger.rows[-10:]]
        state_audit.compare_lookups(self.auditor, holder.pipeline.tenure, [*known, *recent, 99])

    def _move_clock(self) -> None:
        random = self.random
        end = self.auditor.ledger.next_end() if random.random() < 0.1 else None
        now = self.clock._ns
        if end is not None and now < end < now + 300 * SECOND:
            # Right before, at, or after the next timeout: where expiry and post race.
            self.clock.set_ns(end + random.choice((-2, -1, 0, 0, 1, 2)))
            self.workload.target = self.auditor.ledger.ends[0][2]
            self.faults.note("clock: at an expiry")
        elif random.random() < 0.5:
            by = random.choice(JUMPS)
            self.faults.note("clock: back" if by < 0 else "clock: jump" if by >= SECOND else "clock: on")
            self.clock.set_ns(now + by)
        self.workload.now = self.clock._ns


def run(seed: int, events: int, *, strength: float = 1.0, report: Callable[[int], None] | None = None) -> Run:
    """Run one seed until so many events are settled; ``SimulationFailure`` at the first difference.

    ``strength`` scales how often things fail; ``report`` is told of events as they are settled.
    """
    # Lost databases are what it is about; nobody wants to read of each.
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        return _run(seed, events, strength, report)
    finally:
        structlog.configure(wrapper_class=before)


def _run(seed: int, events: int, strength: float, report: Callable[[int], None] | None) -> Run:
    world = World(seed, strength=strength)
    auditor = world.auditor
    turns = reported = 0
    with tunables.drawn(world.random):
        try:
            while auditor.events < events:
                world.turn()
                turns += 1
                world.check_progress(turns, events)
                if report is not None:
                    report(auditor.events - reported)
                    reported = auditor.events
            world.settle()
        except Violation as violation:
            raise SimulationFailure(seed, auditor.events, events, strength, str(violation)) from violation
        except Exception as error:
            detail = f"{type(error).__name__}: {error}"
            raise SimulationFailure(seed, auditor.events, events, strength, detail) from error
    counts = auditor.counts + world.faults.counts
    counts["path: sealed segments"] = len(world.server.sealed())
    return Run(seed, auditor.events, world.server.head.hash, counts)
