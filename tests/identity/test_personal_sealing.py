"""Sealing: what was sealed opens in its own place, whole, and nowhere else."""

from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from identity.personal_keys import KEY_BYTES, WrappingKey
from identity.personal_sealing import (
    SEALED_BYTES,
    TEXT_BYTES_MAX,
    WRAPPED_BYTES,
    NotSealed,
    Place,
    new_key,
    seal,
    unseal,
    unwrap,
    wrap,
)

UUIDS = st.uuids(version=4)
PLACES = st.builds(Place, UUIDS, UUIDS, st.integers(1, 2**63 - 1))
FIELDS = st.sampled_from(["display_name", "contact", "legal_name", "registration_number"])
KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
SOUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)

PLACE = Place(UUID(int=1), UUID(int=2), 3)


@given(KEYS, PLACES, FIELDS, SOUND)
def test_what_was_sealed_opens_and_has_one_length(key, place, field, text):
    sealed = seal(key, place, field, text)
    assert len(sealed) == SEALED_BYTES
    assert unseal(key, place, field, sealed) == text


@given(KEYS, SOUND, st.integers(0, SEALED_BYTES * 8 - 1))
@settings(max_examples=300)
def test_any_bit_that_is_changed_is_refused(key, text, bit):
    sealed = bytearray(seal(key, PLACE, "contact", text))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotSealed):
        unseal(key, PLACE, "contact", bytes(sealed))


@given(KEYS, st.integers(0, WRAPPED_BYTES * 8 - 1))
@settings(max_examples=300)
def test_any_bit_of_a_wrapped_key_that_is_changed_is_refused(secret, bit):
    wrapping = WrappingKey(secret, "2027-01-15T08:00:00Z")
    wrapped = bytearray(wrap(wrapping, PLACE, new_key()))
    assert len(wrapped) == WRAPPED_BYTES
    wrapped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotSealed):
        unwrap(wrapping, PLACE, bytes(wrapped))


@given(KEYS, PLACES, PLACES, FIELDS, FIELDS)
def test_nothing_opens_in_another_place(key, place, other, field, other_field):
    assume((place, field) != (other, other_field))
    sealed = seal(key, place, field, "Daw Aye")
    with pytest.raises(NotSealed):
        unseal(key, other, other_field, sealed)
    for swapped in (
        Place(other.person_id, place.key_id, place.version),
        Place(place.person_id, other.key_id, place.version),
        Place(place.person_id, place.key_id, other.version),
    ):
        if swapped != place:
            with pytest.raises(NotSealed):
                unseal(key, swapped, field, sealed)


@given(KEYS, KEYS, PLACES, PLACES)
def test_a_wrapped_key_opens_under_its_own_key_and_in_its_own_place(secret, other_secret, place, other):
    assume(secret != other_secret and place != other)
    one, two = (WrappingKey(each, "2027-01-15T08:00:00Z") for each in (secret, other_secret))
    key = new_key()
    wrapped = wrap(one, place, key)
    assert unwrap(one, place, wrapped) == key
    for wrapping, where in ((two, place), (one, other)):
        with pytest.raises(NotSealed):
            unwrap(wrapping, where, wrapped)


@given(KEYS, st.binary(max_size=2 * SEALED_BYTES))
def test_what_was_never_sealed_does_not_open(key, noise):
    with pytest.raises(NotSealed):
        unseal(key, PLACE, "contact", noise)
    with pytest.raises(NotSealed):
        unwrap(WrappingKey(key, "2027-01-15T08:00:00Z"), PLACE, noise)


def test_a_text_that_is_too_long_is_not_cut():
    key = new_key()
    longest = "x" * TEXT_BYTES_MAX
    assert unseal(key, PLACE, "contact", seal(key, PLACE, "contact", longest)) == longest
    with pytest.raises(ValueError, match="at most"):
        seal(key, PLACE, "contact", longest + "x")


def test_the_same_text_is_never_sealed_alike():
    key = new_key()
    assert len({seal(key, PLACE, "contact", "Aye") for _ in range(100)}) == 100
