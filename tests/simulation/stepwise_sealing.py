"""Stepwise sealing: what the sealer's thread does, one step at a time, whenever the world lets it.

The same steps in the same order as ``ledger.sealing.Sealer``: make the next
segment's table, write a checkpoint, build a full segment's indexes, attach it, let
the tail go. Each may be cut, before or after it took effect, and is then done again.
"""

from __future__ import annotations

from collections import deque
from random import Random

import psycopg

from ledger.checkpoints import Checkpoint
from ledger.history_marks import encode_marks
from ledger.id_filter import IDFilter
from ledger.segments import Seal
from ledger.tail import Tail, TailSegment
from tests.simulation.memory_server import MemoryServer


class StepwiseSealing:
    """See :class:`ledger.sealing.Sealing`."""

    def __init__(self, server: MemoryServer, random: Random, tail: Tail, ids: IDFilter) -> None:
        self._server = server
        self._random = random
        self._tail = tail
        self._ids = ids
        self._full: deque[TailSegment] = deque(tail.segments[:-1])
        self._checkpoint: Checkpoint | None = None
        self._prepared = 0
        self._stage = 0
        self._failure: BaseException | None = None
        self.has_stopped = False
        self._steps = {
            "prepare": self._prepare_table,
            "checkpoint": self._write_checkpoint,
            "index": self._build_indexes,
            "attach": self._attach,
            "release": self._release,
        }

    def is_prepared(self, number: int) -> bool:
        """Whether that segment may be opened."""
        return self._prepared >= number

    def seal(self, segment: TailSegment) -> None:
        """A segment is full."""
        self._full.append(segment)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, unless a newer one comes first."""
        self._checkpoint = checkpoint

    def wait(self, seconds: float) -> None:  # noqa: ARG002  # it is the real one's
        """Get on, or not."""
        self._server.faults.note("sealing: behind")
        if self._random.random() < 0.5:
            self.turn()

    def check(self) -> None:
        """Raise what ended it."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Do nothing more."""
        self.has_stopped = True

    def turn(self) -> None:
        """The next step."""
        if self.has_stopped or self._failure is not None:
            return
        try:
            if self._prepared <= self._tail.open.number:
                self._step("prepare")
            elif self._checkpoint is not None:
                self._step("checkpoint")
            elif self._full:
                self._step(("index", "attach", "release")[self._stage])
        except psycopg.OperationalError:
            # The session is opened anew, and the segment begun again.
            self._stage = 0
        except psycopg.Error as error:
            self._failure = error

    def _step(self, name: str) -> None:
        # Letting the tail go is a matter of memory alone.
        is_cut = name != "release" and self._server.faults.of_sealing()
        has_effect = not is_cut or self._random.random() < 0.5
        if has_effect:
            self._steps[name]()
        self._server.faults.note(f"sealing.{name}:{'cut' if is_cut else 'done'}")
        if is_cut:
            raise psycopg.OperationalError(f"connection lost at {name}")

    def _prepare_table(self) -> None:
        number = self._tail.open.number + 1
        self._server.prepared = max(self._server.prepared, number)
        self._prepared = number

    def _write_checkpoint(self) -> None:
        checkpoint, self._checkpoint = self._checkpoint, None
        assert checkpoint is not None
        stored = self._server.checkpoint
        if stored is None or stored[0] < checkpoint.sequence:
            self._server.checkpoint = (checkpoint.sequence, checkpoint.encode())

    def _build_indexes(self) -> None:
        self._server.indexed.add(self._full[0].number)
        self._stage = 1

    def _attach(self) -> None:
        segment = self._full[0]
        if self._server.segments[segment.number - 1].seal is not None:
            # A session that was lost after its commit, or another engine, has sealed it.
            self._stage = 2
            return
        timestamps = segment.columns()["timestamp"]
        seal = Seal(segment.last_sequence, int(timestamps[0]), int(timestamps[-1]), len(timestamps))
        marks = encode_marks(segment.number, segment.columns())
        self._server.attach(segment.number, seal, self._ids.dump(segment.number), marks)
        self._stage = 2

    def _release(self) -> None:
        self._tail.release(self._full.popleft().number)
        self._stage = 0
