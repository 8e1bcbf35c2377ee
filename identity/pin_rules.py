"""PINs: their form, and those that are refused because they are tried first."""

from __future__ import annotations

import re
from typing import Final

from foundation.errors import Refusal
from identity.pin_errors import PinCode

PIN_LENGTH_MIN: Final = 6
"""Fewest digits."""

PIN_LENGTH_MAX: Final = 12
"""Most digits."""

_FORM = re.compile(f"[0-9]{{{PIN_LENGTH_MIN},{PIN_LENGTH_MAX}}}", re.ASCII)
_RUN_UP: Final = "01234567890123456789"
_RUN_DOWN: Final = _RUN_UP[::-1]
_COMMON: Final = frozenset(
    {
        # What lists of leaked PINs begin with, beside runs and repetitions; patterns on a keypad.
        "112233", "123321", "159753", "147258", "258369", "147258369", "789456", "741852", "963852",
        "102030", "520131", "131452", "5201314", "246810", "135790", "142536", "987654", "100200",
    }
)  # fmt: skip


def check_form(pin: str) -> None:
    """Refuse what is no PIN, as ``pin_malformed``."""
    if not _FORM.fullmatch(pin):
        raise Refusal(
            PinCode.PIN_MALFORMED, f"A PIN has {PIN_LENGTH_MIN} to {PIN_LENGTH_MAX} digits and nothing else."
        )


def check_new_pin(pin: str) -> None:
    """Refuse a PIN that nobody should have: ``pin_malformed`` or ``pin_too_simple``."""
    check_form(pin)
    if is_simple(pin):
        raise Refusal(
            PinCode.PIN_TOO_SIMPLE, "This PIN is among those that are tried first; choose another one."
        )


def is_simple(pin: str) -> bool:
    """Whether a PIN is a run, a repetition of few digits, a date of some year, or known as common."""
    runs = pin in _RUN_UP or pin in _RUN_DOWN
    repeats = any(pin == (pin[:size] * len(pin))[: len(pin)] for size in range(1, 1 + len(pin) // 2))
    return runs or repeats or len(set(pin)) <= 2 or _is_date(pin) or pin in _COMMON


def _is_date(pin: str) -> bool:
    """A day of the years 1940 to 2039, as people write it: with the year of four digits."""
    if len(pin) != 8:
        return False
    for year, one, other in ((pin[:4], pin[4:6], pin[6:]), (pin[4:], pin[:2], pin[2:4])):
        months = 1 <= int(one) <= 12 and 1 <= int(other) <= 31
        days = 1 <= int(one) <= 31 and 1 <= int(other) <= 12
        if 1940 <= int(year) <= 2039 and (months or days):
            return True
    return False
