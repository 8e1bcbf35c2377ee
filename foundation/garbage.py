"""Garbage: what a process that serves keeps out of the collector's sight."""

from __future__ import annotations

import gc


def keep_what_is_loaded() -> None:
    """Take modules and state out of the garbage collector's sight, once all of it is loaded.

    They stay as long as the process does; looking through them again and again would stop
    every caller for some hundredths of a second each time. For processes that serve, and
    nothing that starts several times in one process: what is taken out never comes back.
    """
    gc.collect()
    gc.freeze()
