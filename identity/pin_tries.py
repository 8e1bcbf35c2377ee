"""Tries: how long a device waits after wrong PINs, and when its key is stopped.

Five wrong tries are free, then each one doubles the wait, and the tenth ends the
device's key. The device is stopped and never the person: an enemy with one phone
cannot lock its owner's other ones out.

A right PIN forgives nothing, only time does. If it did, whoever was given a duress PIN
could try others for ever and log in between; and if only one of both PINs did, they
could be told apart.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

FREE_TRIES: Final = 5
"""Wrong tries before a device has to wait."""

TRIES_MAX: Final = 10
"""Wrong tries that end a device's key."""

FIRST_WAIT: Final = timedelta(seconds=30)
"""After the last free try; each further one doubles it."""

FORGIVEN_AFTER: Final = timedelta(hours=6)
"""Each such time without a wrong try takes one off the count."""


def counted(wrong: int, last_wrong_at: datetime | None, now: datetime) -> int:
    """How many of the wrong tries still count."""
    if last_wrong_at is None:
        return 0
    return max(0, wrong - max(timedelta(0), now - last_wrong_at) // FORGIVEN_AFTER)


def next_try_at(wrong: int, last_wrong_at: datetime | None) -> datetime | None:
    """From when on the next try is looked at, after ``wrong`` ones that count; None for at once."""
    if last_wrong_at is None or wrong < FREE_TRIES:
        return None
    return last_wrong_at + FIRST_WAIT * (1 << (wrong - FREE_TRIES))
