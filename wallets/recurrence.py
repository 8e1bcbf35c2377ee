"""Recurrence: on which days a standing order is paid.

A small part of RFC 5545: once, daily, weekly or monthly from a first day on, until a day or
so many times, or with no end. Each day is counted from the first one and never from the one
before, so that the 31st of January is followed by the 28th of February and then by the 31st
of March. A month without that day pays on its last one; RFC 5545 would leave it out, and a
rent would not be paid.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum


class Repeats(StrEnum):
    """How often."""

    ONCE = "once"
    """On the first day only."""
    DAILY = "daily"
    """Every day."""
    WEEKLY = "weekly"
    """On the same day of each week."""
    MONTHLY = "monthly"
    """On the same day of each month, or on the last one of a month that is too short."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The days of a standing order, in UTC."""

    first_on: date
    repeats: Repeats = Repeats.ONCE
    until: date | None = None
    """The last day that may be one; only where there is no ``times``."""
    times: int | None = None
    """How many days at most."""

    def day(self, number: int) -> date | None:
        """The day of the payment with this number, counted from 0; None after the last one."""
        if self.times is not None and number >= self.times:
            return None
        try:
            day = self._day(number)
        except OverflowError:
            # Beyond the year 9999.
            return None
        return None if day is None or (self.until is not None and day > self.until) else day

    def _day(self, number: int) -> date | None:
        match self.repeats:
            case Repeats.ONCE:
                return self.first_on if number == 0 else None
            case Repeats.DAILY:
                return self.first_on + timedelta(days=number)
            case Repeats.WEEKLY:
                return self.first_on + timedelta(weeks=number)
            case Repeats.MONTHLY:
                months = self.first_on.month - 1 + number
                year, month = self.first_on.year + months // 12, months % 12 + 1
                if year > date.max.year:
                    return None
                last = calendar.monthrange(year, month)[1]
                return date(year, month, min(self.first_on.day, last))
