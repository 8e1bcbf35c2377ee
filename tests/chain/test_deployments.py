"""Deployments: recorded, held against the chain, and made anew where the chain is new."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from chain.calldata import role
from chain.contract_reads import ContractRead, read_contracts
from chain.deployments import deployment_path, load_deployment, save_deployment, verify_deployment
from chain.development import TOKENS, deploy
from chain.errors import ChainCode
from chain.keystore import development_key
from chain.rpc import RPC
from foundation.assets import asset_by_code
from foundation.errors import Refusal
from tests.fixtures.anvil import running_anvil
from tests.fixtures.contracts import WHOLE, ContractsOnChain


async def deploy_again(contracts: ContractsOnChain, rpc: RPC, *, withdrawer: str | None = None) -> None:
    before = contracts.deployment
    contracts.deployment = await deploy(
        rpc,
        contracts.home,
        administrator=contracts.administrator,
        withdrawer=withdrawer or contracts.signer_key.address,
    )
    assert load_deployment(contracts.home, before.chain_id) == contracts.deployment


async def refusal_of(contracts: ContractsOnChain, rpc: RPC) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await verify_deployment(rpc, contracts.deployment)
    return refused.value


class TestDeploy:
    async def test_the_contracts_stand_and_the_roles_are_given(
        self, contracts: ContractsOnChain, rpc: RPC
    ) -> None:
        deployment = contracts.deployment
        await verify_deployment(rpc, deployment)

        withdrawer, admin = await read_contracts(
            rpc,
            [
                ContractRead(deployment.vault, "hasRole(bytes32,address)", "bool", (role(name), who))
                for name, who in (
                    ("WITHDRAWER_ROLE", contracts.signer_key.address),
                    ("WITHDRAWER_ROLE", contracts.administrator.address),
                )
            ],
        )

        assert (withdrawer, admin) == (True, False)
        assert contracts.balance(deployment.vault) == 1_000_000 * WHOLE

    async def test_no_token_is_coarser_than_its_asset(self, contracts: ContractsOnChain) -> None:
        for token in TOKENS:
            assert contracts.deployment.tokens[token.asset].decimals >= asset_by_code(token.asset).scale

    async def test_deploying_again_takes_what_is_there(self, contracts: ContractsOnChain, rpc: RPC) -> None:
        before, height = contracts.deployment, contracts.node.block_number()

        await deploy_again(contracts, rpc)

        assert contracts.deployment == before
        assert contracts.node.block_number() == height

    async def test_deploying_again_gives_a_new_signer_its_role(
        self, contracts: ContractsOnChain, rpc: RPC
    ) -> None:
        before, signer = contracts.deployment, development_key(contracts.home, "second")

        await deploy_again(contracts, rpc, withdrawer=signer.address)

        assert contracts.deployment == before
        [granted] = await read_contracts(
            rpc,
            [
                ContractRead(
                    before.vault,
                    "hasRole(bytes32,address)",
                    "bool",
                    (role("WITHDRAWER_ROLE"), signer.address),
                )
            ],
        )
        assert granted is True

    async def test_a_new_chain_of_the_same_id_gets_new_contracts(
        self, contracts: ContractsOnChain, tmp_path: Path
    ) -> None:
        before = contracts.deployment
        with running_anvil(tmp_path / "other.log", "--timestamp", "1900000000") as node:
            rpc = RPC(node.url)
            refusal = await refusal_of(contracts, rpc)
            await deploy_again(contracts, rpc)
            await verify_deployment(rpc, contracts.deployment)
            await rpc.close()

        assert refusal.code is ChainCode.DEPLOYMENT_MISMATCH
        assert contracts.deployment.genesis_hash != before.genesis_hash


class TestVerify:
    async def test_a_vault_that_is_not_there_is_refused(self, contracts: ContractsOnChain, rpc: RPC) -> None:
        contracts.deployment = msgspec.structs.replace(contracts.deployment, vault="0x" + "12" * 20)

        assert (await refusal_of(contracts, rpc)).code is ChainCode.DEPLOYMENT_MISMATCH

    async def test_another_implementation_is_refused(self, contracts: ContractsOnChain, rpc: RPC) -> None:
        contracts.deployment = msgspec.structs.replace(contracts.deployment, implementation="0x" + "12" * 20)

        assert (await refusal_of(contracts, rpc)).code is ChainCode.DEPLOYMENT_MISMATCH

    async def test_a_token_with_other_decimals_is_refused(
        self, contracts: ContractsOnChain, rpc: RPC
    ) -> None:
        tokens = contracts.deployment.tokens
        coarse = msgspec.structs.replace(tokens["USDT"], decimals=18)
        contracts.deployment = msgspec.structs.replace(contracts.deployment, tokens=tokens | {"USDT": coarse})

        assert (await refusal_of(contracts, rpc)).code is ChainCode.DEPLOYMENT_MISMATCH


class TestFile:
    async def test_a_deployment_is_read_back_as_it_was_saved(
        self, contracts: ContractsOnChain, tmp_path: Path
    ) -> None:
        save_deployment(tmp_path, contracts.deployment)
        save_deployment(tmp_path, contracts.deployment)

        assert load_deployment(tmp_path, 31337) == contracts.deployment
        assert [one.name for one in (tmp_path / "deployments").iterdir()] == ["31337.json"]

    def test_a_chain_without_a_deployment_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Refusal) as refused:
            load_deployment(tmp_path, 1)

        assert refused.value.code is ChainCode.DEPLOYMENT_NOT_FOUND

    async def test_a_file_of_another_chain_is_refused(
        self, contracts: ContractsOnChain, tmp_path: Path
    ) -> None:
        save_deployment(tmp_path, contracts.deployment)
        await asyncio.to_thread(deployment_path(tmp_path, 31337).rename, deployment_path(tmp_path, 1))

        with pytest.raises(Refusal) as refused:
            load_deployment(tmp_path, 1)

        assert refused.value.code is ChainCode.DEPLOYMENT_MISMATCH

    @pytest.mark.parametrize("content", [b"", b"{}", b"{", b'{"chain_id": "1"}'])
    def test_a_damaged_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = deployment_path(tmp_path, 1)
        path.parent.mkdir()
        path.write_bytes(content)

        with pytest.raises(Refusal) as refused:
            load_deployment(tmp_path, 1)

        assert refused.value.code is ChainCode.DEPLOYMENT_MISMATCH
