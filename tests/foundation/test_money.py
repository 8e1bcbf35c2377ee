"""Money: integers of one asset, read and written without ever rounding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.assets import ASSETS, DMMK, THB, USDC, USDT, XAU, Asset, asset_by_code, asset_by_ledger
from foundation.errors import FoundationCode, InvariantViolation, Refusal
from foundation.money import AMOUNT_LIMIT, Money

WHOLE = Asset("PTS", 99, 0, "Points")
"""An asset without decimals."""

assets = st.sampled_from([*ASSETS, WHOLE])
minors = st.integers(-AMOUNT_LIMIT, AMOUNT_LIMIT)
positive = st.integers(0, AMOUNT_LIMIT)


@given(positive, assets)
def test_what_is_formatted_is_parsed_back(minor: int, asset: Asset) -> None:
    money = Money(minor, asset)
    assert Money.parse(money.format(), asset) == money


@given(minors, assets)
def test_a_format_has_all_decimals_and_loses_nothing(minor: int, asset: Asset) -> None:
    text = Money(minor, asset).format()
    whole, _, decimals = text.lstrip("-").partition(".")
    assert len(decimals) == asset.scale
    assert int(whole + decimals) == abs(minor)
    assert text.startswith("-") == (minor < 0)


@given(st.integers(0, 10**12), st.integers(0, 99), st.integers(0, 2))
def test_fewer_decimals_than_the_scale_mean_zeros(whole: int, cents: int, decimals: int) -> None:
    text = f"{whole}.{cents:02d}"[: len(f"{whole}") + (1 + decimals if decimals else 0)]
    parsed = Money.parse(text, USDT)
    assert parsed.minor * 10**decimals == int(text.replace(".", "")) * 10**6


@pytest.mark.parametrize(
    ("text", "asset", "minor"),
    [
        ("12.50", USDT, 12_500_000), ("12.5", USDT, 12_500_000), ("12", USDT, 12_000_000),
        ("0.000001", USDT, 1), ("0", DMMK, 0), ("0.01", DMMK, 1), ("1000000", DMMK, 100_000_000),
        ("9223372036854.775807", USDC, AMOUNT_LIMIT), ("0.0001", XAU, 1),
        ("92233720368547758.07", THB, AMOUNT_LIMIT), ("7", WHOLE, 7),
    ],
)  # fmt: skip
def test_plain_decimals_are_read_exactly(text: str, asset: Asset, minor: int) -> None:
    assert Money.parse(text, asset) == Money(minor, asset)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "1.", ".5", "-1", "+1", "1e3", "1E3", "0x10", "1_000", "1,5", "1.2.3", " 1", "1 ",
        "1\n", "01", "00", "00.5", "NaN", "inf", "\uff11\uff12", "\u0661\u0662", "1" * 20,
        "1." + "0" * 19, "1" * 41, "\u200b1", "--1", "1/2",
    ],
)  # fmt: skip
def test_anything_but_a_plain_decimal_is_malformed(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        Money.parse(text, USDT)
    assert refused.value.code is FoundationCode.AMOUNT_MALFORMED


@given(st.text(max_size=50), assets)
def test_any_text_is_money_or_a_typed_refusal(text: str, asset: Asset) -> None:
    refusal, money = None, Money(0, asset)
    try:
        money = Money.parse(text, asset)
    except Refusal as refused:
        refusal = refused.code
    assert 0 <= money.minor <= AMOUNT_LIMIT
    assert refusal in {
        None,
        FoundationCode.AMOUNT_MALFORMED,
        FoundationCode.AMOUNT_TOO_PRECISE,
        FoundationCode.AMOUNT_OUT_OF_RANGE,
    }


@pytest.mark.parametrize(
    ("text", "asset"),
    [("1.0000000", USDT), ("0.001", DMMK), ("1.234", THB), ("1.0", WHOLE), ("1.00000", XAU)],
)
def test_more_decimals_than_the_scale_are_refused_even_zeros(text: str, asset: Asset) -> None:
    with pytest.raises(Refusal) as refused:
        Money.parse(text, asset)
    assert refused.value.code is FoundationCode.AMOUNT_TOO_PRECISE
    assert refused.value.data == {"asset": asset.code, "scale": asset.scale}


@pytest.mark.parametrize(
    ("text", "asset"),
    [("9223372036854.775808", USDT), ("9999999999999999999", DMMK), ("92233720368547758.08", THB)],
)
def test_more_than_63_bits_are_out_of_range(text: str, asset: Asset) -> None:
    with pytest.raises(Refusal) as refused:
        Money.parse(text, asset)
    assert refused.value.code is FoundationCode.AMOUNT_OUT_OF_RANGE


@given(minors, st.integers(1, 1000), assets)
def test_the_parts_of_a_split_sum_to_the_whole_and_differ_by_one_unit(
    minor: int, parts: int, asset: Asset
) -> None:
    split = Money(minor, asset).split(parts)
    assert len(split) == parts
    assert sum(part.minor for part in split) == minor
    assert max(part.minor for part in split) - min(part.minor for part in split) <= 1
    assert list(split) == sorted(split, key=lambda part: -part.minor)


@pytest.mark.parametrize("parts", [0, -1])
def test_money_is_not_split_into_nothing(parts: int) -> None:
    with pytest.raises(ValueError, match="at least one part"):
        Money(1, USDT).split(parts)


@given(st.integers(-(2**61), 2**61), st.integers(-(2**61), 2**61), assets)
def test_sums_differences_and_comparisons_are_the_integers(a: int, b: int, asset: Asset) -> None:
    first, second = Money(a, asset), Money(b, asset)
    assert (first + second).minor == a + b
    assert (first - second).minor == a - b
    assert (first < second, first <= second, first > second, first >= second, first == second) == (
        a < b, a <= b, a > b, a >= b, a == b
    )  # fmt: skip


def test_money_of_two_assets_never_combines() -> None:
    dollars, kyat = Money(1, USDT), Money(1, DMMK)
    for combine in (
        lambda: dollars + kyat, lambda: dollars - kyat, lambda: dollars < kyat, lambda: dollars <= kyat,
        lambda: dollars > kyat, lambda: dollars >= kyat,
    ):  # fmt: skip
        with pytest.raises(InvariantViolation):
            combine()
    assert dollars != kyat


@pytest.mark.parametrize("wrong", [1.0, "1", None, True, b"1"])
def test_money_is_counted_in_int_alone(wrong: object) -> None:
    with pytest.raises(TypeError):
        Money(wrong, USDT)  # type: ignore[arg-type]  # the point of the test


def test_a_sum_beyond_63_bits_is_out_of_range() -> None:
    with pytest.raises(Refusal) as refused:
        Money(AMOUNT_LIMIT, USDT) + Money(1, USDT)
    assert refused.value.code is FoundationCode.AMOUNT_OUT_OF_RANGE


def test_money_shows_itself_with_its_asset() -> None:
    assert str(Money(-12_500_000, USDT)) == "-12.500000 USDT"
    assert str(Money(5, DMMK)) == "0.05 DMMK"
    assert str(Money(5, WHOLE)) == "5 PTS"


def test_assets_are_found_by_code_and_by_ledger_number() -> None:
    for asset in ASSETS:
        assert asset_by_code(asset.code) is asset
        assert asset_by_ledger(asset.ledger) is asset
    assert len({a.ledger for a in ASSETS}) == len({a.code for a in ASSETS}) == len(ASSETS)


@pytest.mark.parametrize("code", ["usdt", "", "USDT ", "BTC", "X" * 1000])
def test_an_unknown_asset_is_refused_and_not_echoed_at_length(code: str) -> None:
    with pytest.raises(Refusal) as refused:
        asset_by_code(code)
    assert refused.value.code is FoundationCode.UNKNOWN_ASSET
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize("ledger", [0, -1, 6, 2**32])
def test_an_unknown_ledger_number_is_refused(ledger: int) -> None:
    with pytest.raises(Refusal) as refused:
        asset_by_ledger(ledger)
    assert refused.value.code is FoundationCode.UNKNOWN_ASSET


def test_scales_and_ledger_numbers_never_change() -> None:
    assert [(a.code, a.ledger, a.scale) for a in ASSETS] == [
        ("USDT", 1, 6), ("USDC", 2, 6), ("DMMK", 3, 2), ("THB", 4, 2), ("XAU", 5, 4)
    ]  # fmt: skip
