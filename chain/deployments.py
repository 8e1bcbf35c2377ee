"""Deployments: which of our contracts stand on which chain.

One file a chain, ``<home>/deployments/<chain id>.json``, written whole or not at
all. It names the chain by the hash of its block 0 as well, since development
chains share one id; ``verify`` holds the file against the chain before anybody
trusts it. Addresses are lower case.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from chain.contract_reads import ContractRead, read_contracts
from chain.errors import ChainCode
from chain.rpc import RPC, Header
from foundation.errors import Refusal


class TokenInfo(msgspec.Struct, frozen=True):
    """A token that is taken into custody."""

    address: str
    decimals: int
    """Decimals of the token's own units, which may be more than the asset's scale."""


class Deployment(msgspec.Struct, frozen=True):
    """Our contracts on one chain."""

    chain_id: int
    genesis_hash: str
    """Hash of the chain's block 0."""
    block_number: int
    """Block in which the first of them was made; nothing of ours is older."""
    vault: str
    implementation: str
    """The code that deposit addresses are clones of: the vault's ``IMPLEMENTATION()``."""
    tokens: dict[str, TokenInfo]
    """By the asset's code."""

    def token_addresses(self) -> frozenset[str]:
        """The tokens' addresses."""
        return frozenset(token.address for token in self.tokens.values())

    def asset_at(self, token: str) -> str | None:
        """The code of the asset whose token is at a lower-case address."""
        return next((code for code, info in self.tokens.items() if info.address == token), None)


def deployment_path(home: Path, chain_id: int) -> Path:
    """Where the deployment on a chain is recorded."""
    return home / "deployments" / f"{chain_id}.json"


def load_deployment(home: Path, chain_id: int) -> Deployment:
    """What is recorded for a chain. Refused as ``deployment_not_found`` or ``deployment_mismatch``."""
    path = deployment_path(home, chain_id)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Refusal(
            ChainCode.DEPLOYMENT_NOT_FOUND,
            f"No contracts are recorded on chain {chain_id}: deploy them with ./nugpay contracts deploy.",
            chain_id=chain_id,
        ) from None
    try:
        deployment = msgspec.json.decode(content, type=Deployment)
    except msgspec.DecodeError as error:
        raise Refusal(ChainCode.DEPLOYMENT_MISMATCH, f"{path} is not a deployment: {error}") from error
    if deployment.chain_id != chain_id:
        raise Refusal(ChainCode.DEPLOYMENT_MISMATCH, f"{path} is about chain {deployment.chain_id}.")
    return deployment


def save_deployment(home: Path, deployment: Deployment) -> None:
    """Record a deployment, in place of an older one on the same chain."""
    path = deployment_path(home, deployment.chain_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with draft.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(deployment), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    # A reader sees the old file or the new one, never a part: whoever dies here
    # leaves a draft that nobody reads.
    draft.replace(path)


async def verify_deployment(rpc: RPC, deployment: Deployment) -> None:
    """Hold a deployment against the chain. Refused as ``deployment_mismatch``.

    The node must be on the chain of that id and block 0, the vault's clones must be
    of the recorded code, and each token must have the recorded decimals.
    """
    chain_id = int((await rpc.read([("eth_chainId", ())], str))[0], 16)
    genesis = (await rpc.read([("eth_getBlockByNumber", ("0x0", False))], Header))[0]
    if (chain_id, genesis.hash) != (deployment.chain_id, deployment.genesis_hash):
        raise Refusal(
            ChainCode.DEPLOYMENT_MISMATCH,
            "The node is on another chain than the one that the contracts were deployed on.",
            chain_id=chain_id,
            genesis_hash=genesis.hash,
        )
    reads = [ContractRead(deployment.vault, "IMPLEMENTATION()", "address")]
    reads += [ContractRead(token.address, "decimals()", "uint8") for token in deployment.tokens.values()]
    expected = [deployment.implementation, *(token.decimals for token in deployment.tokens.values())]
    for read, wanted, answer in zip(reads, expected, await read_contracts(rpc, reads), strict=True):
        if answer != wanted:
            raise Refusal(
                ChainCode.DEPLOYMENT_MISMATCH,
                f"{read.signature} of {read.contract} does not answer {wanted}: the contract is not there.",
                address=read.contract,
            )
