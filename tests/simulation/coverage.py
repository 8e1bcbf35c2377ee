"""Coverage: what a set of runs must have met at least once, and what it has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations

from tests.simulation.auditor import ACCOUNT_CODES, TRANSFER_CODES
from tests.simulation.faults import EXPECTED as FAULTS
from tests.simulation.readers import FILTERS, QUERIES

_ORDINARY = (1, 2, 16, 32, 64, 128, 256)
"""Flags of transfers that go together, every two of them."""
_RESOLVING = ((1, 4), (1, 8), (4, 256), (8, 256))
"""Those that go with post and void."""

PATHS = (
    "path: vector", "path: exact", "path: sealed segments", "expiry", "commit: on top of another",
    "request: transfers", "request: accounts", "request: lookup", "request: head",
    "client: repeated", "client: other content", "answer: given", "answer: never came",
    "state: loaded", "state: replayed without a checkpoint", "read: transfer in the tail",
    "read: sealed transfer", "read: fate", "read: history in the tail", "read: history in sealed segments",
)  # fmt: skip
"""Ways through the engine, and questions that were asked of it."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "statuses of transfers": tuple(f"transfer: {status}" for status in TRANSFER_CODES),
    "statuses of accounts": tuple(f"account: {status}" for status in ACCOUNT_CODES),
    "pairs of flags": tuple(
        f"flags: {low} with {high}" for low, high in sorted([*combinations(_ORDINARY, 2), *_RESOLVING])
    ),
    "faults": FAULTS,
    "paths": PATHS,
    "queries": tuple(f"query: {name}" for name in QUERIES),
    "filters of queries": tuple(f"filter: {name}" for name in FILTERS),
}
"""What must not stay at zero, by kind."""


def never_met(counts: Counter[str]) -> list[str]:
    """What stayed at zero."""
    return [name for names in GROUPS.values() for name in names if not counts[name]]
