"""Findings: what a check says of the first wrong row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from foundation.errors import NUGPayError

Mask = npt.NDArray[np.bool_]


@dataclass(slots=True, frozen=True)
class Finding:
    """One wrong value of the journal, or of what is kept beside it."""

    table: str
    key: str
    """Which row, such as ``timestamp 1790000000000000001``."""
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.table}, {self.key}: {self.column} is {self.found}, expected {self.expected}."


class FoundWrong(NUGPayError):
    """The check ends here: a row is wrong."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


NUMBERS, ACCOUNT, EXPIRY, TRANSFER, FAILED, HASH = range(6)
"""What of a batch is looked at, in the order in which it counts as earlier."""


Place = tuple[int, int, int]
"""Batch, what of it, row: places are compared to know which wrong row is the first."""


@dataclass(slots=True)
class Verdict:
    """The first wrong row of some batches, as far as they have been looked at.

    Whatever a wrong row spoils comes after it; so the checks may go on with
    values that make no sense, and the earliest place is the true finding.
    """

    place: Place | None = None
    _make: Callable[[], Finding] | None = field(default=None)

    def note(self, place: Place, make: Callable[[], Finding]) -> None:
        """Something is wrong there; of several things about one place the first one counts."""
        if self.place is None or place < self.place:
            self.place, self._make = place, make

    def note_first(
        self, wrong: Mask, place_of: Callable[[int], Place], make: Callable[[int], Finding]
    ) -> None:
        """The first of these rows that is marked, if any, is wrong."""
        if wrong.any():
            row = int(np.argmax(wrong))
            self.note(place_of(row), lambda: make(row))

    def settle(self) -> None:
        """Raise ``FoundWrong`` if anything was noted."""
        if self._make is not None:
            raise FoundWrong(self._make())


def shown(value: Any) -> str:
    """A value as a sentence shows it: numbers plain, 128-bit ones and hashes in hexadecimal."""
    if isinstance(value, np.ndarray) and value.shape == (2,):
        low, high = value.tolist()
        return f"{high << 64 | low:#034x}"
    if isinstance(value, np.void):
        return value.tobytes().hex()
    return str(value)
