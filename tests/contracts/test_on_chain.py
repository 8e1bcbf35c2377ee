"""What the vault does on a real node, called by our own calldata and read from its logs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from eth_abi.abi import decode

from chain.administration import AdministrationFailed, AdministrativeCall, execute, next_nonce
from chain.calldata import calldata, topic
from chain.contract_reads import ContractRead, read_contracts
from chain.keystore import SigningKey
from chain.rpc import RPC
from tests.fixtures.contracts import WHOLE, ContractsOnChain

ANN, BOB, EVE = ("0x" + f"{number:040x}" for number in (0xA11, 0xB0B, 0xE5E))
COLD = "0x" + f"{0xC01D:040x}"

WITHDRAWN = topic("Withdrawn(bytes32,address,address,uint256)")
REFUSED = topic("WithdrawalRefused(bytes32,address,address,uint256,bytes)")
REPEATED = topic("WithdrawalRepeated(bytes32,address,address,uint256)")


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
async def rpc(contracts: ContractsOnChain) -> AsyncIterator[RPC]:
    client = RPC(contracts.node.url)
    yield client
    await client.close()


async def tell(
    contracts: ContractsOnChain, rpc: RPC, key: SigningKey, to: str, signature: str, *arguments: Any
) -> dict[str, Any]:
    """Make a call with one of our keys; its receipt. Raises ``AdministrationFailed`` if it reverts."""
    call = AdministrativeCall(to, calldata(signature, *arguments), 1_000_000)
    nonce = await next_nonce(rpc, key.address)
    receipts = await execute(rpc, key, [call], chain_id=contracts.deployment.chain_id, first_nonce=nonce)
    return dict(contracts.node.call("eth_getTransactionReceipt", receipts[0].transaction_hash))


def outcomes(contracts: ContractsOnChain, receipt: dict[str, Any]) -> list[tuple[str, int]]:
    """What the vault says became of each payment: the event's topic and the withdrawal id."""
    return [
        (log["topics"][0], int(log["topics"][1], 16))
        for log in receipt["logs"]
        if log["address"] == contracts.deployment.vault
    ]


class TestBatch:
    async def test_a_frozen_receiver_stops_nobody_and_each_event_tells_the_truth(
        self, contracts: ContractsOnChain, rpc: RPC
    ) -> None:
        vault, token = contracts.deployment.vault, contracts.token()
        await tell(contracts, rpc, contracts.administrator, token, "freeze(address)", EVE)
        batch = [(ANN, 5 * WHOLE, word(1)), (EVE, 6 * WHOLE, word(2)), (BOB, 7 * WHOLE, word(3))]
        signature = "withdrawBatch(address,(address,uint256,bytes32)[])"

        receipt = await tell(contracts, rpc, contracts.signer_key, vault, signature, token, batch)
        again = await tell(contracts, rpc, contracts.signer_key, vault, signature, token, batch)

        assert outcomes(contracts, receipt) == [(WITHDRAWN, 1), (REFUSED, 2), (WITHDRAWN, 3)]
        assert outcomes(contracts, again) == [(REPEATED, 1), (REFUSED, 2), (REPEATED, 3)]
        held = [contracts.balance(who) for who in (ANN, EVE, BOB, vault)]
        assert held == [5 * WHOLE, 0, 7 * WHOLE, (1_000_000 - 12) * WHOLE]
        paid = await read_contracts(
            rpc, [ContractRead(vault, "paid(bytes32)", "bool", (word(number),)) for number in (1, 2, 3)]
        )
        assert paid == [True, False, True]

    async def test_the_reason_of_a_refusal_names_the_frozen_account(
        self, contracts: ContractsOnChain, rpc: RPC
    ) -> None:
        vault, token = contracts.deployment.vault, contracts.token()
        await tell(contracts, rpc, contracts.administrator, token, "freeze(address)", EVE)
        signature = "withdrawBatch(address,(address,uint256,bytes32)[])"

        receipt = await tell(
            contracts, rpc, contracts.signer_key, vault, signature, token, [(EVE, 6, word(2))]
        )

        (log,) = (log for log in receipt["logs"] if log["topics"][0] == REFUSED)
        amount, reason = decode(["uint256", "bytes"], bytes.fromhex(log["data"][2:]))
        assert amount == 6
        assert reason == calldata("AccountFrozen(address)", EVE)


class TestSecondKey:
    async def test_beyond_the_bucket_the_approver_must_have_agreed_to_exactly_this(
        self, contracts: ContractsOnChain, rpc: RPC
    ) -> None:
        vault, token = contracts.deployment.vault, contracts.token()
        await contracts.mint(vault, 1_000_000 * WHOLE)
        order = (token, ANN, 1_500_000 * WHOLE, word(9))
        withdraw = "withdraw(address,address,uint256,bytes32)"
        approve = "approveWithdrawal(address,address,uint256,bytes32)"

        with pytest.raises(AdministrationFailed):
            await tell(contracts, rpc, contracts.signer_key, vault, withdraw, *order)
        with pytest.raises(AdministrationFailed):
            await tell(contracts, rpc, contracts.signer_key, vault, approve, *order)
        await tell(contracts, rpc, contracts.administrator, vault, approve, *order)
        [until] = await read_contracts(
            rpc, [ContractRead(vault, "approvedUntil(address,address,uint256,bytes32)", "uint48", order)]
        )
        await tell(contracts, rpc, contracts.signer_key, vault, withdraw, *order)

        assert until > 0
        assert contracts.balance(ANN) == 1_500_000 * WHOLE
        with pytest.raises(AdministrationFailed):
            await tell(contracts, rpc, contracts.signer_key, vault, withdraw, *order)


class TestCold:
    async def test_the_withdrawer_moves_to_the_cold_address_and_an_id_moves_once(
        self, contracts: ContractsOnChain, rpc: RPC
    ) -> None:
        vault, token = contracts.deployment.vault, contracts.token()
        move = ("moveToCold(address,uint256,bytes32)", token, 10 * WHOLE, word(4))
        with pytest.raises(AdministrationFailed):
            await tell(contracts, rpc, contracts.signer_key, vault, *move)
        await tell(contracts, rpc, contracts.administrator, vault, "setColdAddress(address)", COLD)

        await tell(contracts, rpc, contracts.signer_key, vault, *move)

        with pytest.raises(AdministrationFailed):
            await tell(contracts, rpc, contracts.signer_key, vault, *move)
        assert contracts.balance(COLD) == 10 * WHOLE
