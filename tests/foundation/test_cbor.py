"""CBOR: the vectors of its RFC, one encoding of each value, and nothing else is read."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nugpay_client import cbor as clients

from foundation import cbor

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "cbor.json").read_text())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.text(max_size=40)
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(max_size=30) | st.integers(-30, 300), inner, max_size=6)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(("encoded", "value"), VECTORS["vectors"])
def test_the_vectors_of_the_rfc_are_written_and_read(encoded, value):
    for form in (cbor, clients):
        assert form.encode(value).hex() == encoded
        assert form.decode(bytes.fromhex(encoded)) == value


def test_bytes_and_tags_of_the_rfc_are_written_and_read():
    for form in (cbor, clients):
        assert form.encode(b"\x01\x02\x03\x04").hex() == "4401020304"
        assert form.encode(form.Tagged(24, b"dIETF")).hex() == "d818456449455446"
        assert form.decode(bytes.fromhex("d818456449455446")) == form.Tagged(24, b"dIETF")


@pytest.mark.parametrize("encoded", VECTORS["refused"])
def test_what_is_damaged_or_not_in_the_one_form_is_refused(encoded):
    with pytest.raises(cbor.CBORMalformed):
        cbor.decode(bytes.fromhex(encoded))
    with pytest.raises(clients.CBORMalformed):
        clients.decode(bytes.fromhex(encoded))


def test_what_stands_too_deep_and_lengths_of_more_than_is_there_are_refused():
    for data in (b"\x81" * 5000 + b"\x00", b"\x9b" + b"\x7f" + b"\xff" * 7, b"\xbb" + b"\x7f" + b"\xff" * 7):
        with pytest.raises(cbor.CBORMalformed):
            cbor.decode(data)


@pytest.mark.parametrize("value", [1.5, {1.5: 1}, object(), {1, 2}])
def test_floats_and_other_things_have_no_encoding(value):
    with pytest.raises(TypeError):
        cbor.encode(value)


def test_integers_beyond_64_bits_have_no_encoding():
    for value in (2**64, -(2**64) - 1):
        with pytest.raises(OverflowError):
            cbor.encode(value)


@given(VALUES)
def test_a_value_comes_back_and_server_and_client_write_it_alike(value):
    encoded = cbor.encode(value)
    assert cbor.decode(encoded) == value
    assert clients.encode(value) == encoded
    assert clients.decode(encoded) == value


@given(st.binary(max_size=60))
def test_what_is_read_is_what_would_be_written(data):
    try:
        value = cbor.decode(data)
    except cbor.CBORMalformed:
        return
    assert cbor.encode(value) == data
