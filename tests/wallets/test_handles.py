"""Handles: one spelling each, and none that misleads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import Refusal
from wallets.errors import WalletCode
from wallets.handles import RESERVED, parse_handle, parse_new_handle


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


@pytest.mark.parametrize("text", [*sorted(RESERVED), "@NUGPay", "nugpay_support", "nug_pay1"])
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
