"""Fees: integers, within their bounds, never more for less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.assets import ASSETS, DMMK, USDT, Asset
from foundation.money import AMOUNT_LIMIT, Money
from wallets.fees import PAYMENT_FEES, payment_fee


@pytest.mark.parametrize(
    ("amount", "asset", "fee"),
    [
        ("0.000001", USDT, "0.010000"),
        ("9.999999", USDT, "0.010000"),
        ("10", USDT, "0.010000"),
        ("12.50", USDT, "0.012500"),
        ("12.500999", USDT, "0.012500"),
        ("1000", USDT, "1.000000"),
        ("9000000", USDT, "1.000000"),
        ("1000", DMMK, "20.00"),
        ("1000000", DMMK, "1000.00"),
        ("5000000", DMMK, "2000.00"),
    ],
)
def test_a_fee_is_a_share_between_its_bounds_cut_in_the_payers_favour(amount, asset, fee):
    assert payment_fee(Money.parse(amount, asset)).format() == fee


def test_every_asset_has_a_schedule():
    assert set(PAYMENT_FEES) == set(ASSETS)


def test_an_asset_without_a_schedule_is_free():
    assert payment_fee(Money(5, Asset("NEW", 99, 2, "New"))).minor == 0


@given(st.sampled_from(ASSETS), st.integers(1, AMOUNT_LIMIT), st.integers(1, AMOUNT_LIMIT))
def test_a_fee_stays_within_its_bounds_and_never_falls_as_the_amount_grows(asset, one, other):
    schedule = PAYMENT_FEES[asset]
    low, high = sorted((one, other))
    fees = payment_fee(Money(low, asset)).minor, payment_fee(Money(high, asset)).minor
    assert fees[0] <= fees[1]
    assert all(schedule.minor_min <= fee <= schedule.minor_max for fee in fees)
