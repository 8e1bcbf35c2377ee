"""Deposits by signature: the holder signs, somebody else pays the gas, and they are credited as any other."""

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from chain.addresses import deposit_salt
from chain.administration import AdministrationFailed
from chain.calldata import DEPOSIT_WITH_AUTHORIZATION as DEPOSIT
from foundation.assets import USDT
from ledger.chart import AccountCode
from tests.treasury.conftest import Treasury
from tests.treasury.moves import administer

HOLDER = Account.from_key("0x" + "17" * 32)
"""A customer's own key, which never has gas money."""

RECEIVE = [
    {"name": name, "type": kind}
    for name, kind in (
        ("from", "address"),
        ("to", "address"),
        ("value", "uint256"),
        ("validAfter", "uint256"),
        ("validBefore", "uint256"),
        ("nonce", "bytes32"),
    )
]


def signed(treasury: Treasury, *, to: str, units: int, nonce: bytes) -> tuple[object, ...]:
    """What the holder signs so that ``units`` go to the deposit address ``to``."""
    validity = (0, 2**40 - 1)
    message = encode_typed_data(
        domain_data={
            "name": "Development Dollar",
            "version": "1",
            "chainId": treasury.custody.chain_id,
            "verifyingContract": treasury.custody.token_of(USDT).address,
        },
        message_types={"ReceiveWithAuthorization": RECEIVE},
        message_data={
            "from": HOLDER.address,
            "to": to,
            "value": units,
            "validAfter": validity[0],
            "validBefore": validity[1],
            "nonce": nonce,
        },
    )
    signature = HOLDER.sign_message(message)
    r, s = (number.to_bytes(32, "big") for number in (signature.r, signature.s))
    return (HOLDER.address, units, *validity, nonce, signature.v, r, s)


async def test_a_signed_deposit_is_credited_to_the_wallet_that_it_names(treasury: Treasury) -> None:
    wallet_id = await treasury.wallet()
    address, salt = await treasury.address(wallet_id), deposit_salt(wallet_id, 0)
    token = treasury.custody.token_of(USDT).address
    await treasury.contracts.mint(HOLDER.address, 250_000_000)
    authorization = signed(treasury, to=address, units=250_000_000, nonce=b"\x01" * 32)

    await administer(treasury, treasury.custody.vault, DEPOSIT, token, salt, authorization)

    await treasury.finalize()
    assert await treasury.balance(wallet_id) == "250.000000"
    # It went through the address into the vault, and counts once.
    assert treasury.contracts.balance(address) == 0
    assert treasury.contracts.balance(HOLDER.address) == 0
    assert await treasury.held(AccountCode.CUSTODY) == "1000250.000000"
    await treasury.assert_books_agree()


async def test_a_signed_deposit_counts_once_and_for_nobody_else(treasury: Treasury) -> None:
    wallet_id, other = await treasury.wallet(), await treasury.wallet()
    address = await treasury.address(wallet_id)
    await treasury.address(other)
    token = treasury.custody.token_of(USDT).address
    await treasury.contracts.mint(HOLDER.address, 20_000_000)
    authorization = signed(treasury, to=address, units=10_000_000, nonce=b"\x01" * 32)

    with pytest.raises(AdministrationFailed):
        await administer(
            treasury, treasury.custody.vault, DEPOSIT, token, deposit_salt(other, 0), authorization
        )
    await administer(
        treasury, treasury.custody.vault, DEPOSIT, token, deposit_salt(wallet_id, 0), authorization
    )
    with pytest.raises(AdministrationFailed):
        await administer(
            treasury, treasury.custody.vault, DEPOSIT, token, deposit_salt(wallet_id, 0), authorization
        )

    await treasury.finalize()
    assert await treasury.balance(wallet_id) == "10.000000"
    assert await treasury.balance(other) == "0.000000"
    await treasury.assert_books_agree()
