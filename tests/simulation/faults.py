"""Faults: what goes wrong in the simulated world, where, and how often it did.

Every call of the journal is a place where the connection can be cut, the process
can die, or the server can end the session that holds the lock while its engine does
not know. A commit fails in more ways. Which place fails how is drawn from the seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psycopg

CALLS = (
    "open", "try_lock", "confirm_lock", "find_transfers", "find_statuses", "find_failed", "find_timestamps",
    "stored_hash", "load",
)  # fmt: skip
"""Calls of a session; ``load`` is any of the archive's."""
CALL_EFFECTS = ("cut", "crash", "usurp", "seal")
"""The connection is cut, the process dies, another engine takes over, a sealer gets on."""
COMMIT_STAGES = ("before", "during", "after_copy", "commit_lost", "answer_lost")
COMMIT_EFFECTS = ("cut", "crash")
COMMIT_EXTRAS = ("append.late:stored", "append.late:lost", "append.during:full", "append.before:usurp")
"""The server finishes or drops the commit after the connection was cut; its disk is full; a takeover."""
SEALING_STEPS = ("prepare", "index", "attach", "release", "checkpoint")
SEALING_EFFECTS = ("done", "cut")
EVENTS = (
    "crash: commit in flight stored", "crash: commit in flight lost", "commit: on top of another",
    "sealing: behind", "stop: in recovery", "stop: asked", "lock: waited for", "clock: back", "clock: jump",
    "clock: at an expiry", "answer: busy", "answer: unavailable", "answer: outcome unknown",
)  # fmt: skip
"""Things that must have happened, with names of their own."""

NEVER = frozenset({"open:seal", "try_lock:seal", "open:usurp", "try_lock:usurp", "load:usurp"})
"""What makes no sense: there is nothing to take over yet."""

RATES = {
    "open": 0.03, "try_lock": 0.03, "confirm_lock": 0.03, "find_transfers": 0.02, "find_statuses": 0.06,
    "find_failed": 0.04, "find_timestamps": 0.15, "stored_hash": 0.2, "load": 0.006,
}  # fmt: skip
"""How often a call fails; those that are rare fail more often."""
COMMIT_RATE = 0.06
"""How often a commit does."""
SEALING_RATE = 0.05
"""How often a step of sealing is cut."""


class Crash(BaseException):
    """The process is dead: this passes every handler, as the end of a process does."""


class Faults:
    """Draws faults and counts them."""

    def __init__(self, random: Random, strength: float = 1.0) -> None:
        self._random = random
        self.strength = strength
        """0 for a quiet world."""
        self.unrest = 1.0
        """Higher while one engine takes over from another: trouble seldom comes alone."""
        self.counts: Counter[str] = Counter()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Nothing fails meanwhile: who audits is not part of the world."""
        strength, self.strength = self.strength, 0.0
        try:
            yield
        finally:
            self.strength = strength

    def note(self, name: str) -> None:
        """Count something that happened."""
        self.counts[name] += 1

    def of_call(self, name: str) -> str | None:
        """How this call fails, if it does."""
        if self._random.random() >= RATES[name] * self.strength * self.unrest:
            return None
        effect = CALL_EFFECTS[self._random.randrange(len(CALL_EFFECTS))]
        return None if f"{name}:{effect}" in NEVER else effect

    def of_commit(self) -> str | None:
        """At which stage this commit fails and how, if it does."""
        if self._random.random() >= COMMIT_RATE * self.strength:
            return None
        return COMMIT_FAULTS[self._random.randrange(len(COMMIT_FAULTS))]

    def of_sealing(self) -> bool:
        """Whether this step of sealing is cut."""
        return self._random.random() < SEALING_RATE * self.strength


COMMIT_FAULTS = (
    *(f"append.{stage}:{effect}" for stage in COMMIT_STAGES for effect in COMMIT_EFFECTS),
    "append.late", "append.during:full", "append.before:usurp",
)  # fmt: skip

EXPECTED = (
    *(f"{call}:{effect}" for call in CALLS for effect in CALL_EFFECTS if f"{call}:{effect}" not in NEVER),
    *(f"append.{stage}:{effect}" for stage in COMMIT_STAGES for effect in COMMIT_EFFECTS),
    *COMMIT_EXTRAS,
    *(
        f"sealing.{step}:{effect}"
        for step in SEALING_STEPS
        for effect in SEALING_EFFECTS
        if step != "release"
    ),
    "sealing.release:done",
    *EVENTS,
)
"""Everything that a set of seeds must have met."""


def lost(detail: str) -> psycopg.OperationalError:
    """What psycopg raises when a connection is gone."""
    return psycopg.OperationalError(detail)
