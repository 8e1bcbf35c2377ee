"""Faults: ways to break one rule of the contract, made so that two can be put together.

A fault is a set of settings, each of them one thing about an event or about what
it meets: a field's value, a flag, where it stands in its request, what was stored
before. Two faults can be in one event when they do not contradict each other,
and then the rule that stands earlier in the contract's table must answer.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """Breaks the rule of ``status``; ``variant`` tells ways to break the same one apart."""

    status: IntEnum
    settings: Settings
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.status.name.lower()}{' ' if self.variant else ''}{self.variant}"


@dataclass(frozen=True)
class Contradictions:
    """Which settings cannot be together, beside two values for one name."""

    pairs: Sequence[tuple[str, str]]
    """Names, or beginnings of names that end in ":" or ".", that exclude each other."""
    merges: Mapping[frozenset[Any], Any] = field(default_factory=dict)
    """Two values for one name that one value breaks both rules of."""

    def compose(self, first: Settings, second: Settings) -> dict[str, Any] | None:
        """Both in one event, or None when that cannot be."""
        together = dict(first)
        for name, value in second.items():
            if name in together and together[name] != value:
                merged = self.merges.get(frozenset({together[name], value}))
                if merged is None:
                    return None
                value = merged  # noqa: PLW2901  # one value stands for both
            together[name] = value
        return None if self._clash(together) else together

    def _clash(self, settings: Settings) -> bool:
        def has(pattern: str) -> bool:
            return any(n.startswith(pattern) if pattern[-1] == ":" else n == pattern for n in settings)

        return any(has(a) and has(b) for a, b in self.pairs)


def neighbours(statuses: type[IntEnum]) -> list[tuple[IntEnum, IntEnum]]:
    """Each refusal with the next one in order of precedence; the enum stands in that order."""
    refusals = [status for status in statuses if status.name != "CREATED"]
    return list(itertools.pairwise(refusals))
