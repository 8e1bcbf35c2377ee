"""Days of standing orders: counted from the first one, with short months and ends."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets.recurrence import Recurrence, Repeats


def days(recurrence: Recurrence, most: int = 20) -> list[str]:
    found: list[str] = []
    while len(found) < most and (day := recurrence.day(len(found))) is not None:
        found.append(day.isoformat())
    return found


@pytest.mark.parametrize(
    ("recurrence", "expected"),
    [
        (Recurrence(date(2027, 1, 31)), ["2027-01-31"]),
        (
            Recurrence(date(2027, 12, 31), Repeats.DAILY, times=3),
            ["2027-12-31", "2028-01-01", "2028-01-02"],
        ),
        (
            Recurrence(date(2027, 12, 25), Repeats.WEEKLY, until=date(2028, 1, 8)),
            ["2027-12-25", "2028-01-01", "2028-01-08"],
        ),
        (
            Recurrence(date(2027, 10, 31), Repeats.MONTHLY, times=6),
            ["2027-10-31", "2027-11-30", "2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31"],
        ),
        (
            Recurrence(date(2027, 1, 29), Repeats.MONTHLY, until=date(2027, 3, 28)),
            ["2027-01-29", "2027-02-28"],
        ),
        (Recurrence(date(2027, 1, 29), Repeats.DAILY, until=date(2027, 1, 29)), ["2027-01-29"]),
        (Recurrence(date(9999, 12, 30), Repeats.DAILY), ["9999-12-30", "9999-12-31"]),
        (Recurrence(date(9999, 12, 30), Repeats.WEEKLY), ["9999-12-30"]),
        (Recurrence(date(9999, 11, 30), Repeats.MONTHLY), ["9999-11-30", "9999-12-30"]),
    ],
)
def test_days_are_counted_from_the_first_one(recurrence, expected):
    assert days(recurrence) == expected


def walked(first: date, months: int) -> date:
    """So many months later, month by month."""
    begins = first.replace(day=1)
    for _ in range(months):
        begins = (begins + timedelta(days=32)).replace(day=1)
    last = (begins + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return begins.replace(day=min(first.day, last.day))


@given(first=st.dates(date(2000, 1, 1), date(2100, 1, 1)), number=st.integers(0, 600))
def test_they_are_those_that_are_found_by_walking(first, number):
    assert Recurrence(first, Repeats.DAILY).day(number) == first + timedelta(days=number)
    assert Recurrence(first, Repeats.WEEKLY).day(number) == first + timedelta(days=7 * number)
    assert Recurrence(first, Repeats.MONTHLY).day(number) == walked(first, number)
