"""Tunables: sizes at which the engine changes its ways, drawn small so that it changes them often.

None of them may matter for what is decided or stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from random import Random
from typing import Any
from unittest.mock import patch

from ledger import (
    accounts,
    decisions,
    expiry_queue,
    history_marks,
    id_filter,
    pendings,
    pipeline,
    slot_map,
    tail,
    tail_view,
)
from ledger.queries import account_search, history, marks, transfer_search

SIZES: tuple[tuple[tuple[Any, ...], str, tuple[int, ...]], ...] = (
    ((decisions,), "VECTOR_EVENTS_MIN", (4, 16, 64, 64, 64, 64, 64, 64)),
    ((decisions,), "YIELD_MIN", (64, 256, 256)),
    ((pipeline,), "PIPELINE_EVENTS_MIN", (1, 8, 256, 1024)),
    ((pipeline,), "INLINE_ROWS_MAX", (0, 4, 64, 512)),
    ((pendings,), "COMPACT_MIN", (8, 256, 65_536)),
    ((expiry_queue,), "RUNS_MAX", (2, 32)),
    ((tail,), "RECENT_MAX", (4, 256)),
    ((tail_view, history, transfer_search), "BLOCK_ROWS", (16, 512, 65_536)),
    ((accounts,), "LOADED_MAX", (4, 50_000)),
    ((id_filter,), "CHUNK_IDS", (1024, 4096)),
    ((history_marks, history), "MARK_STEPS", (3, 64, 64)),
    ((history_marks, marks), "SLOTS_PER_PART", (8, 1024)),
    ((history,), "WALK_STEPS", (64, 512)),
    ((history,), "WALKED_ALONE_MAX", (0, 4)),
    ((history,), "SEGMENTS_AT_ONCE", (1, 2, 16)),
    ((transfer_search,), "WINDOW_ROWS", (32, 512, 32_768)),
    ((transfer_search,), "ENTRIES_MAX", (0, 2, 64)),
    ((transfer_search,), "CHUNK_ROWS", (2, 16, 512)),
    ((account_search,), "STRETCH_SLOTS", (5, 65_536)),
)
"""Modules that know it, name, and the values that it may have."""


class SeededSecrets:
    """Stands for the module ``secrets`` where the engine draws keys of hashes: a run must be repeatable."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def randbits(self, bits: int) -> int:
        """A number of so many bits."""
        return self._random.getrandbits(bits)


@contextlib.contextmanager
def drawn(random: Random) -> Iterator[None]:
    """Sizes and keys from the seed, until the end of the run."""
    with contextlib.ExitStack() as stack:
        for modules, name, values in SIZES:
            value = values[int(random.random() * len(values))]
            for module in modules:
                stack.enter_context(patch.object(module, name, value))
        seeded = SeededSecrets(random)
        for module in (id_filter, slot_map):
            stack.enter_context(patch.object(module, "secrets", seeded))
        yield
