"""Intake: the bounded queue between callers and the writer.

Any thread puts commands in; the writer takes them out in groups. Nothing waits
without limit: above ``QUEUE_EVENTS_MAX`` a caller is told to come back, and
nothing of its request is done.
"""

from __future__ import annotations

import threading
from collections import deque

from ledger.answers import give
from ledger.commands import Command, CreateAccounts, CreateTransfers, size_of
from ledger.contract import BATCH_MAX
from ledger.interface import LedgerBusy, LedgerUnavailable

QUEUE_EVENTS_MAX = 32 * BATCH_MAX
"""Most events that wait; above it callers are told to come back."""
GATHER_SECONDS = 0.003
"""How long a group waits at most for the callers who are expected.

Two or three commits: two API processes, which have a request each under way, fall into one
group by that, and a group costs the ledger as much as dozens of the events in it.
"""
GATHER_EVENTS_MAX = 1024
"""So many events are a large group; waiting for more gains nothing."""


class Intake:
    """Commands that wait, and the bell that wakes the writer."""

    def __init__(self) -> None:
        self._queue: deque[Command] = deque()
        """One of each caller who waits."""
        self._events = 0
        self._bell = threading.Condition()
        self._refusal: str | None = None
        self._closing = False
        self._holds_creations = False
        self._wanted = 1

    @property
    def is_closing(self) -> bool:
        """Whether the writer was asked to end."""
        return self._closing

    def submit(self, command: Command) -> None:
        """Queue what a caller asks.

        Raises ``LedgerBusy`` or ``LedgerUnavailable`` where it is not taken.
        """
        size = size_of(command)
        with self._bell:
            if self._closing:
                raise LedgerUnavailable("The ledger is stopping.", outcome_unknown=False)
            if self._refusal is not None:
                raise LedgerUnavailable(self._refusal, outcome_unknown=False)
            if self._holds_creations and _creates(command):
                raise LedgerBusy(retry_seconds=1)
            if self._events and self._events + size > QUEUE_EVENTS_MAX:
                raise LedgerBusy(retry_seconds=1)
            self._queue.append(command)
            self._events += size
            if len(self._queue) >= self._wanted or self._events >= GATHER_EVENTS_MAX:
                self._bell.notify_all()

    def take(self, wait_seconds: float, expected: int = 1) -> list[Command]:
        """The next group, at most 8,189 events; empty when nothing came.

        Callers who have just been answered ask again at once. Taken one by one as they
        come, they would fall apart into small groups for ever, each with a commit of
        its own; so where ``expected`` callers may come, those who are first wait a
        moment for the others, as PostgreSQL's ``commit_delay`` does. What travelled together
        is one command and one caller: whoever sent it sends the next when this one is
        answered, and nobody may wait for its parts.
        """
        with self._bell:
            if not self._queue and not self._closing and wait_seconds:
                self._bell.wait(wait_seconds)
            if self._queue and wait_seconds:
                self._gather(expected)
            group: list[Command] = []
            events = 0
            while self._queue:
                size = size_of(self._queue[0])
                if group and events + size > BATCH_MAX:
                    break
                group.append(self._queue.popleft())
                events += size
            self._events -= events
            return group

    def _gather(self, expected: int) -> None:
        """Wait a moment until so many callers are there; the bell is held."""

        def is_enough() -> bool:
            return len(self._queue) >= expected or self._events >= GATHER_EVENTS_MAX or self._closing

        # The bell stays silent until then: a writer woken for each would take turns with its callers.
        self._wanted = expected
        self._bell.wait_for(is_enough, GATHER_SECONDS)
        self._wanted = 1

    @property
    def waiting_callers(self) -> int:
        """How many callers wait."""
        return len(self._queue)

    @property
    def waiting_events(self) -> int:
        """How many events wait."""
        return self._events

    def hold_creations(self, hold: bool) -> None:  # it is set to what it is to be
        """Whether callers who would create something are told to come back."""
        self._holds_creations = hold

    def pause(self, seconds: float) -> bool:
        """Wait unless asked to end; whether that was asked."""
        with self._bell:
            if not self._closing:
                self._bell.wait_for(lambda: self._closing, seconds)
            return self._closing

    def close(self) -> None:
        """Take no more commands, and wake the writer to end."""
        with self._bell:
            self._closing = True
            self._bell.notify_all()

    def open_to_callers(self) -> None:
        """Take commands again."""
        with self._bell:
            self._refusal = None

    def turn_away(self, detail: str, *, from_now_on: bool) -> None:
        """Tell everybody who waits, and with ``from_now_on`` everybody who comes.

        Their requests were never looked at.
        """
        with self._bell:
            commands = list(self._queue)
            self._queue.clear()
            self._events = 0
            if from_now_on:
                self._refusal = detail
        give((command.answer, LedgerUnavailable(detail, outcome_unknown=False)) for command in commands)


def _creates(command: Command) -> bool:
    return isinstance(command, CreateAccounts | CreateTransfers)
