"""Garbage: how a process that serves collects it."""

from __future__ import annotations

import gc
from typing import Final

COLLECT_AFTER: Final = 10_000
"""So many more objects made than freed begin a collection; Python's own figure is 700.

A file of ten thousand payments, or a large request, is some hundred thousand objects that all
stay until it is done: with 700 a third of its time went into looking for cycles among them.
"""


def keep_what_is_loaded() -> None:
    """Take modules and state out of the garbage collector's sight, once all of it is loaded.

    They stay as long as the process does; looking through them again and again would stop
    every caller for some hundredths of a second each time. For processes that serve, and
    nothing that starts several times in one process: what is taken out never comes back.
    From then on the collector looks after ``COLLECT_AFTER`` objects.
    """
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *older)
