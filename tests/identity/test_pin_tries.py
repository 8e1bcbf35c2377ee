"""The law of tries, for any history of wrong PINs."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from identity.pin_rules import is_simple
from identity.pin_tries import FIRST_WAIT, FORGIVEN_AFTER, FREE_TRIES, TRIES_MAX, counted, next_try_at

BEGIN = datetime(2027, 1, 15, 8, tzinfo=UTC)
PAUSES = st.lists(st.integers(min_value=0, max_value=3 * 86_400), max_size=60)


@given(PAUSES)
def test_wrong_tries_that_are_looked_at_are_few_in_any_time(pauses):
    """Whoever tries as often as the law lets them has few tries a day, however they pause."""
    now, wrong, last = BEGIN, 0, None
    looked_at = []
    for pause in pauses:
        now += timedelta(seconds=pause)
        standing = counted(wrong, last, now)
        not_before = next_try_at(standing, last)
        if not_before is not None and now < not_before:
            continue
        wrong, last = standing + 1, now
        looked_at.append(now)
        if wrong >= TRIES_MAX:
            break
    for at in looked_at:
        day = [one for one in looked_at if at <= one < at + timedelta(days=1)]
        assert len(day) <= TRIES_MAX + timedelta(days=1) // FORGIVEN_AFTER
    assert wrong <= TRIES_MAX


@given(st.integers(min_value=0, max_value=TRIES_MAX))
def test_each_wait_is_twice_the_one_before(wrong):
    at = next_try_at(wrong, BEGIN)
    if wrong < FREE_TRIES:
        assert at is None
    elif wrong == FREE_TRIES:
        assert at == BEGIN + FIRST_WAIT
    else:
        before = next_try_at(wrong - 1, BEGIN)
        assert at is not None
        assert before is not None
        assert at - BEGIN == 2 * (before - BEGIN)


@given(st.integers(min_value=0, max_value=TRIES_MAX), st.integers(min_value=0, max_value=10**6))
def test_time_forgives_and_never_adds(wrong, seconds):
    later = counted(wrong, BEGIN, BEGIN + timedelta(seconds=seconds))
    assert 0 <= later <= wrong
    assert later == max(0, wrong - seconds // int(FORGIVEN_AFTER.total_seconds()))
    # A clock that goes back forgives nothing.
    assert counted(wrong, BEGIN, BEGIN - timedelta(seconds=seconds)) == wrong


@given(st.integers(min_value=0, max_value=10**6 - 1))
def test_hardly_any_pin_is_simple(number):
    pin = f"{number:06d}"
    if is_simple(pin):
        assert (
            len(set(pin)) <= 3
            or pin in "01234567890123456789 98765432109876543210"
            or sum(map(int, pin)) < 40
        )


def test_simple_pins_are_less_than_one_in_two_hundred():
    simple = sum(is_simple(f"{number:06d}") for number in range(10**6))
    assert 3_000 < simple < 5_000
