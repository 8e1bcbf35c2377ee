"""Handles: one spelling each, and none that misleads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import Refusal
from wallets.errors import WalletCode
from wallets.handles import RESERVED, parse_handle, parse_new_handle, skeleton


@pytest.mark.parametrize("text", ["aye_aye", "@aye_aye", "AYE_Aye", "@Aye_AYE"])
def test_every_spelling_of_a_handle_is_one(text):
    assert parse_handle(text) == "aye_aye"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ab",
        "@@abc",
        "1abc",
        "_abc",
        "a" * 31,
        "a b c",
        "abc ",
        " abc",
        "abc\n",
        "a-b-c",
        "a.b.c",
        "аbc",  # noqa: RUF001 - the first letter is Cyrillic, which is the point
        "\u212aiev",  # the Kelvin sign lowers to k
        "ı_dotless",  # noqa: RUF001 - a dotless i, which is the point
        "မြန်မာ",
        "abc\u200d",
        "\u202eabc",
        "x" * 100_000,
    ],
)
def test_what_could_be_taken_for_another_handle_is_refused(text):
    with pytest.raises(Refusal) as refusal:
        parse_handle(text)
    assert refusal.value.code is WalletCode.HANDLE_MALFORMED


@pytest.mark.parametrize(
    "text", [*sorted(RESERVED), "@NUGPay", "nugpay_support", "nug_pay1", "adrn1n", "supp0rt", "n_u_g_pay"]
)
def test_a_handle_that_sounds_like_the_bank_is_not_given_out(text):
    with pytest.raises(Refusal) as refusal:
        parse_new_handle(text)
    assert refusal.value.code is WalletCode.HANDLE_RESERVED


@given(st.text(max_size=40))
def test_a_handle_is_refused_or_normalised_for_good(text):
    try:
        handle = parse_handle(text)
    except Refusal:
        return
    assert handle == parse_handle(handle) == parse_handle("@" + handle.upper())
    assert handle.isascii()
    assert handle == handle.lower()


HANDLES = st.from_regex(r"[a-z][a-z0-9_]{2,29}", fullmatch=True)

LOOKS = ["0o", "1li", ["rn", "m"], ["vv", "w"], ["_", "__", ""]]
"""What a hurried reader takes for one another."""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ko_ko", "k0_k0"),
        ("lily", "l1ly"),
        ("lily", "iiiy"),
        ("modern", "rnodem"),
        ("win_win", "vvin_vvin"),
        ("ko_ko", "ko__ko"),
        ("ko_ko", "koko"),
        ("ko_ko", "ko_ko_"),
        ("avwa", "awva"),
    ],
)
def test_handles_that_look_alike_have_one_skeleton(one, other):
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("aye", "aya"), ("ko_ko", "ko_ka"), ("bo5", "bos"), ("nan", "mam"), ("wallet_1", "wallet_2")],
)
def test_handles_that_differ_have_different_skeletons(one, other):
    assert skeleton(one) != skeleton(other)


@settings(deadline=None)
@given(HANDLES, st.data())
def test_whatever_is_swapped_for_its_look_alike_the_skeleton_stays(handle, data):
    swapped = handle
    for _ in range(data.draw(st.integers(1, 4))):
        group = data.draw(st.sampled_from(LOOKS))
        old, new = data.draw(st.sampled_from(group)), data.draw(st.sampled_from(group))
        swapped = swapped.replace(old, new) if old else swapped
    assert skeleton(swapped) == skeleton(handle)


@settings(deadline=None)
@given(HANDLES)
def test_a_skeleton_is_its_own_and_keeps_what_nothing_resembles(handle):
    looks = skeleton(handle)
    assert skeleton(looks) == looks
    kept = [letter for letter in handle if letter not in "01ilomnrvw_"]
    assert [letter for letter in looks if letter not in "olrnv"] == kept
