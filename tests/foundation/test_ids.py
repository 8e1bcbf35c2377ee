"""Ids: ordered by time, derived the same for ever, and refused when malformed."""

import hashlib
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.clock import SettableClock
from foundation.errors import FoundationCode, Refusal
from foundation.ids import Part, derive_id, parse_id, uuid7

parts = st.one_of(st.text(max_size=8), st.integers(-(2**70), 2**70), st.binary(max_size=8), st.uuids())


def key(items: list[Part]) -> list[tuple[type, Part]]:
    """Parts with their types, since 1 and "1" and b"1" are not the same part."""
    return [(type(item), item) for item in items]


@given(st.integers(0, 2**48 - 1), st.integers(0, 999_999))
def test_a_new_id_is_a_version_7_of_the_clocks_millisecond(milliseconds: int, rest_ns: int) -> None:
    made = uuid7(SettableClock(milliseconds * 1_000_000 + rest_ns))
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == milliseconds


def test_new_ids_are_ordered_by_time_and_never_repeat() -> None:
    clock = SettableClock()
    made = []
    for _ in range(500):
        made.append(uuid7(clock))
        clock.advance(ns=1_000_000)
    assert made == sorted(made)
    assert len({uuid7(clock) for _ in range(5000)}) == 5000


@pytest.mark.parametrize(
    ("domain", "items", "expected"),
    [
        ("deposit", (31337, "0x" + "ab" * 32, 0), "53155ffe-83f2-8c50-80fb-2042c5d3482c"),
        ("outbox", ("withdrawals", "key"), "f7db3eb1-d866-8f73-bd00-6d90025770ab"),
        ("empty", (), "515a2ef7-ef2f-8c4b-b5fe-3b3f73393d6b"),
        ("kinds", (-1, b"\x00", UUID(int=7), ""), "db2d2755-74c9-8cbf-a334-a5b3d33bc43b"),
    ],
)
def test_derived_ids_are_the_same_for_ever(domain: str, items: tuple[Part, ...], expected: str) -> None:
    assert str(derive_id(domain, *items)) == expected


def test_a_derived_id_is_the_digest_of_its_tagged_and_measured_parts() -> None:
    parts_of_it = [b"soutbox", b"swithdrawals", b"skey"]
    data = b"".join(p[:1] + (len(p) - 1).to_bytes(8, "big") + p[1:] for p in parts_of_it)
    digest = bytearray(hashlib.sha256(data).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    assert derive_id("outbox", "withdrawals", "key") == UUID(bytes=bytes(digest))


@given(st.text(max_size=8), st.lists(parts, max_size=4))
def test_a_derived_id_is_a_version_8(domain: str, items: list[Part]) -> None:
    made = derive_id(domain, *items)
    assert (made.version, made.variant) == (8, RFC_4122)
    assert made == derive_id(domain, *items)


@given(st.text(max_size=4), st.lists(parts, max_size=3), st.text(max_size=4), st.lists(parts, max_size=3))
def test_other_domains_or_parts_make_other_ids(
    domain: str, items: list[Part], other_domain: str, other_items: list[Part]
) -> None:
    same = domain == other_domain and key(items) == key(other_items)
    assert (derive_id(domain, *items) == derive_id(other_domain, *other_items)) == same


@given(st.lists(st.text(max_size=4), min_size=2, max_size=4))
def test_parts_are_never_read_across_their_borders(items: list[str]) -> None:
    joined = "".join(items)
    assert derive_id("d", *items) != derive_id("d", joined)
    assert derive_id("d", items[0] + items[1], *items[2:]) != derive_id("d", *items)


def test_a_number_its_digits_and_its_bytes_are_three_parts() -> None:
    made = {derive_id("d", part) for part in (49, "49", b"49", "1", b"1", 1, UUID(int=1), UUID(int=1).bytes)}
    assert len(made) == 8


@pytest.mark.parametrize("wrong", [True, False])
def test_no_id_is_derived_from_a_truth_value(wrong: bool) -> None:
    with pytest.raises(TypeError):
        derive_id("d", wrong)


@given(st.uuids())
def test_an_id_is_read_in_its_canonical_form_of_either_case(value: UUID) -> None:
    assert parse_id(str(value)) == value
    assert parse_id(str(value).upper()) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "0" * 32, "{00000000-0000-7000-8000-000000000000}", "00000000-0000-7000-8000-00000000000",
        "urn:uuid:00000000-0000-7000-8000-000000000000", "00000000-0000-7000-8000-00000000000g",
        "00000000 0000 7000 8000 000000000000", " 00000000-0000-7000-8000-000000000000",
        "00000000-0000-7000-8000-000000000000\n", "0000000000007-000-8000-0000-00000000", "1" * 10_000,
    ],
)  # fmt: skip
def test_any_other_form_is_malformed(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_id(text)
    assert refused.value.code is FoundationCode.ID_MALFORMED


@given(st.text(max_size=45))
def test_any_text_is_an_id_or_a_typed_refusal(text: str) -> None:
    refusal, value = None, None
    try:
        value = parse_id(text)
    except Refusal as refused:
        refusal = refused.code
    assert refusal is FoundationCode.ID_MALFORMED if value is None else str(value) == text.lower()
