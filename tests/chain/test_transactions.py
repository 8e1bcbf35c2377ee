"""Transactions: our bytes are those of another implementation, every time."""

from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from chain.addresses import checksum
from chain.fees import Fees
from chain.transactions import Transaction, key_address, sign

keys = st.integers(1, 2**255).map(lambda number: number.to_bytes(32, "big"))
wei = st.integers(0, 2**62)


@given(
    key=keys,
    nonce=st.integers(0, 2**40),
    fees=st.tuples(wei, wei).map(sorted),
    gas_limit=st.integers(0, 2**40),
    to=st.none() | st.binary(min_size=20, max_size=20),
    value=st.integers(0, 2**128),
    data=st.binary(max_size=600),
)
def test_signed_bytes_are_those_of_eth_account(
    key: bytes, nonce: int, fees: list[int], gas_limit: int, to: bytes | None, value: int, data: bytes
) -> None:
    address = None if to is None else "0x" + to.hex()
    ours = sign(
        Transaction(
            chain_id=31337,
            nonce=nonce,
            max_priority_fee_per_gas=fees[0],
            max_fee_per_gas=fees[1],
            gas_limit=gas_limit,
            to=address,
            value=value,
            data=data,
        ),
        PrivateKey(key),
    )

    theirs = Account.sign_transaction(
        {
            "type": 2,
            "chainId": 31337,
            "nonce": nonce,
            "maxPriorityFeePerGas": fees[0],
            "maxFeePerGas": fees[1],
            "gas": gas_limit,
            "value": value,
            "data": data,
            **({} if address is None else {"to": checksum(address)}),
        },
        key,
    )
    assert ours.raw == bytes(theirs.raw_transaction)
    assert ours.tx_hash == "0x" + bytes(theirs.hash).hex()


@given(keys)
def test_the_address_of_a_key_is_that_of_eth_account(key: bytes) -> None:
    assert checksum(key_address(PrivateKey(key))) == Account.from_key(key).address


@pytest.mark.parametrize(
    ("field", "value"),
    [("nonce", -1), ("gas_limit", -1), ("value", 2**256), ("max_priority_fee_per_gas", 11)],
)
def test_what_the_chain_could_not_mean_is_never_signed(field: str, value: int) -> None:
    fields: dict[str, Any] = {
        "chain_id": 1,
        "nonce": 0,
        "max_priority_fee_per_gas": 1,
        "max_fee_per_gas": 10,
        "gas_limit": 21_000,
        "value": 0,
    }

    with pytest.raises(ValueError, match=r"out of range|above the whole fee"):
        Transaction(**(fields | {field: value}), to=None)


@given(st.tuples(wei, wei), st.tuples(wei, wei))
def test_a_bump_is_a_fifth_more_on_both_fields_and_never_below_the_present(
    old: tuple[int, int], now: tuple[int, int]
) -> None:
    bumped = Fees(*old).bumped(Fees(*now))

    for new, before, present in zip(
        (bumped.max_fee_per_gas, bumped.max_priority_fee_per_gas), old, now, strict=True
    ):
        assert new * 5 >= before * 6
        assert new > before
        assert new >= present


@given(st.tuples(wei, wei).map(sorted), st.tuples(wei, wei).map(sorted))
def test_a_bump_keeps_the_tip_within_the_fee(old: list[int], now: list[int]) -> None:
    bumped = Fees(old[1], old[0]).bumped(Fees(now[1], now[0]))

    assert bumped.max_priority_fee_per_gas <= bumped.max_fee_per_gas
