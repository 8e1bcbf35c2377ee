"""Addresses: read, refused, shown, and computed as the contracts compute them."""

import secrets
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.addresses import (
    address_bytes,
    checksum,
    contract_address,
    deposit_address,
    deposit_salt,
    parse_address,
)
from chain.contract_reads import ContractRead, read_contracts
from chain.errors import ChainCode
from chain.rpc import RPC
from foundation.errors import Refusal
from tests.fixtures.anvil import Anvil
from tests.fixtures.contracts import ContractsOnChain
from tests.fixtures.token import send

# The examples of EIP-55.
CHECKSUMMED = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())


class TestChecksum:
    @pytest.mark.parametrize("address", CHECKSUMMED)
    def test_the_examples_of_eip_55_come_out_as_printed(self, address: str) -> None:
        assert checksum(address.lower()) == address
        assert parse_address(address) == address.lower()

    @given(addresses)
    def test_what_is_shown_is_read_back(self, address: str) -> None:
        assert parse_address(checksum(address)) == address
        assert parse_address(address) == address
        assert parse_address("0x" + address[2:].upper()) == address

    @given(addresses, st.integers(2, 41))
    def test_a_letter_of_the_wrong_case_is_refused(self, address: str, position: int) -> None:
        shown = checksum(address)
        mistyped = shown[:position] + shown[position].swapcase() + shown[position + 1 :]
        digits = mistyped[2:]
        if mistyped == shown or digits in {digits.lower(), digits.upper()}:
            return

        with pytest.raises(Refusal) as refused:
            parse_address(mistyped)

        assert refused.value.code is ChainCode.ADDRESS_CHECKSUM_MISMATCH

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0x",
            "52908400098527886E0F7030069857D2E4169EE7",
            "0X52908400098527886e0f7030069857d2e4169ee7",
            "0x52908400098527886e0f7030069857d2e4169ee",
            "0x52908400098527886e0f7030069857d2e4169ee77",
            "0x52908400098527886e0f7030069857d2e4169eeg",
            " 0x52908400098527886e0f7030069857d2e4169ee7",
            "0x52908400098527886e0f7030069857d2e4169ee7\n",
            "0x\uff152908400098527886e0f7030069857d2e4169ee7",
            "vitalik.eth",
        ],
    )
    def test_what_is_no_address_is_refused(self, text: str) -> None:
        with pytest.raises(Refusal) as refused:
            parse_address(text)

        assert refused.value.code is ChainCode.ADDRESS_MALFORMED

    def test_bytes_of_another_length_are_no_address(self) -> None:
        with pytest.raises(ValueError, match="not an address"):
            address_bytes("0x1234")


class TestDepositAddress:
    async def test_it_is_the_one_that_the_vault_computes_and_deploys(
        self, contracts: ContractsOnChain, rpc: RPC
    ) -> None:
        deployment = contracts.deployment
        salts = [bytes(32), b"\xff" * 32, *(secrets.token_bytes(32) for _ in range(50))]

        told = await read_contracts(
            rpc,
            [ContractRead(deployment.vault, "depositAddress(bytes32)", "address", (salt,)) for salt in salts],
        )

        ours = [
            deposit_address(vault=deployment.vault, implementation=deployment.implementation, salt=salt)
            for salt in salts
        ]
        assert ours == told
        assert len(set(ours)) == len(salts)

    def test_a_salt_of_another_length_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            deposit_address(vault="0x" + "11" * 20, implementation="0x" + "22" * 20, salt=b"short")

    @given(st.uuids(), st.uuids(), st.integers(0, 3), st.integers(0, 3))
    def test_owners_and_epochs_have_salts_of_their_own(
        self, owner: UUID, other: UUID, epoch: int, later: int
    ) -> None:
        same = (owner, epoch) == (other, later)

        assert (deposit_salt(owner, epoch) == deposit_salt(other, later)) is same
        assert len(deposit_salt(owner, epoch)) == 32


class TestContractAddress:
    def test_the_known_contracts_of_a_known_sender_come_out(self) -> None:
        sender = "0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0"

        assert [contract_address(sender, nonce) for nonce in range(2)] == [
            "0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d",
            "0x343c43a37d37dff08ae8c4a11544c718abb4fcf8",
        ]

    @pytest.mark.parametrize("nonce", [0, 1, 127, 128, 255, 256, 65_535, 2**40])
    def test_it_is_where_the_chain_puts_the_contract(self, anvil: Anvil, nonce: int) -> None:
        sender = anvil.call("eth_accounts")[0]
        anvil.call("anvil_setNonce", sender, hex(nonce))
        # The shortest contract there is: one STOP.
        receipt = send(anvil, sender, None, bytes.fromhex("60016000f3"))

        assert receipt["contractAddress"].lower() == contract_address(sender, nonce)
