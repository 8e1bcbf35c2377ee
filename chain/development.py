"""Development contracts: the vault and the tokens, deployed on a chain of our own.

``deploy`` may be called at each start: it takes the recorded contracts if the
chain has them and deploys new ones if the chain is new, and grants the roles
that are missing. On a real chain the vault is deployed once, by hand, with a
Safe as its administrator, and its tokens are the issuers'.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chain.addresses import ZERO_ADDRESS, contract_address
from chain.administration import AdministrativeCall, execute, next_nonce
from chain.artifacts import load_artifact
from chain.calldata import calldata, creation_data, role
from chain.contract_reads import ContractRead, read_contracts
from chain.deployments import Deployment, TokenInfo, load_deployment, save_deployment, verify_deployment
from chain.errors import ChainCode
from chain.keystore import SigningKey
from chain.rpc import RPC, Header
from foundation.errors import Refusal


@dataclass(frozen=True, slots=True)
class DevelopmentToken:
    """A token of the development chain. Amounts are its own units."""

    asset: str
    name: str
    decimals: int
    bucket_capacity: int
    """How much of it the vault lets out at once; it refills in an hour."""


TOKENS = (
    DevelopmentToken("USDT", "Development Dollar", 6, 1_000_000 * 10**6),
    DevelopmentToken("DMMK", "Development Kyat", 2, 4_000_000_000 * 10**2),
)
"""The tokens of the development chain."""

BUCKET_WINDOW_SECONDS = 3600
"""In how long an empty bucket of the vault refills."""

ADMINISTRATOR_DELAY_SECONDS = 0
"""Development has nobody to warn; a real vault waits days."""

GAS_MONEY_WEI = 10**24
"""What a development key is given for gas: a million ether."""

MINTER_ALLOWANCE = 2**256 - 1
"""How much the administrator may mint of each token: as much as anybody asks of a faucet."""

_ISSUER_ROLES = ("MASTER_MINTER_ROLE", "PAUSER_ROLE", "FREEZER_ROLE", "RESCUER_ROLE")
_CREATION_GAS = 5_000_000
_CALL_GAS = 200_000


async def deploy(
    rpc: RPC, home: Path, *, administrator: SigningKey, withdrawer: str, cold: str | None = None
) -> Deployment:
    """Have the development contracts on the node's chain, and record them in ``home``.

    ``withdrawer`` (an address) may withdraw from the vault; ``administrator`` may do
    everything else, agree to withdrawals beyond the rate limit, and mint. A vault without
    a cold address gets ``cold``, if that is given. Safe to repeat; a run that died half-way
    is started over with new contracts, and what it left is referred to by nobody. Raises
    the RPC's errors, ``AdministrationFailed``, and ``RPCError`` on a node that is not a
    development node.
    """
    chain_id = int((await rpc.read([("eth_chainId", ())], str))[0], 16)
    for address in (administrator.address, withdrawer):
        await fund(rpc, address)
    deployment = await _recorded(rpc, home, chain_id)
    if deployment is None:
        deployment = await _deploy_all(rpc, administrator, chain_id)
        # The roles below are granted after the file is written as well as before it:
        # a death on this line only means that the next run deploys once more.
        save_deployment(home, deployment)
    await _grant_missing_roles(rpc, deployment, administrator, withdrawer)
    if cold is not None:
        await _name_cold_address(rpc, deployment, administrator, cold)
    return deployment


async def mint(
    rpc: RPC, deployment: Deployment, administrator: SigningKey, *, asset: str, to: str, units: int
) -> str:
    """Issue ``units`` of the asset's token to an address; the tx hash, once it is mined."""
    call = AdministrativeCall(
        deployment.tokens[asset].address, calldata("mint(address,uint256)", to, units), _CALL_GAS
    )
    nonce = await next_nonce(rpc, administrator.address)
    receipts = await execute(rpc, administrator, [call], chain_id=deployment.chain_id, first_nonce=nonce)
    return receipts[0].transaction_hash


async def fund(rpc: RPC, address: str) -> None:
    """Give an address gas money, if it has little. ``RPCError`` on a node that is no development node."""
    balance = int((await rpc.read([("eth_getBalance", (address, "latest"))], str))[0], 16)
    if balance < GAS_MONEY_WEI // 2:
        await rpc.call("anvil_setBalance", address, hex(GAS_MONEY_WEI))


async def _recorded(rpc: RPC, home: Path, chain_id: int) -> Deployment | None:
    """The recorded deployment, if this chain has it."""
    try:
        deployment = load_deployment(home, chain_id)
        await verify_deployment(rpc, deployment)
    except Refusal as refusal:
        if refusal.code in {ChainCode.DEPLOYMENT_NOT_FOUND, ChainCode.DEPLOYMENT_MISMATCH}:
            return None
        raise
    return deployment


async def _deploy_all(rpc: RPC, administrator: SigningKey, chain_id: int) -> Deployment:
    first = await next_nonce(rpc, administrator.address)
    vault_code = load_artifact("Vault").creation_code
    token_code = load_artifact("StableToken").creation_code
    owner = administrator.address
    kinds = ("string", "string", "uint8", "uint48", "address")
    creations = [creation_data(vault_code, ("uint48", "address"), ADMINISTRATOR_DELAY_SECONDS, owner)]
    creations += [
        creation_data(
            token_code, kinds, token.name, token.asset, token.decimals, ADMINISTRATOR_DELAY_SECONDS, owner
        )
        for token in TOKENS
    ]
    addresses = [contract_address(owner, first + position) for position in range(len(creations))]
    vault, tokens = addresses[0], addresses[1:]
    calls = [AdministrativeCall(None, data, _CREATION_GAS) for data in creations]
    calls += [
        AdministrativeCall(
            vault,
            calldata(
                "setRateLimit(address,uint208,uint48)", address, token.bucket_capacity, BUCKET_WINDOW_SECONDS
            ),
            _CALL_GAS,
        )
        for token, address in zip(TOKENS, tokens, strict=True)
    ]
    receipts = await execute(rpc, administrator, calls, chain_id=chain_id, first_nonce=first)
    [implementation] = await read_contracts(rpc, [ContractRead(vault, "IMPLEMENTATION()", "address")])
    genesis = (await rpc.read([("eth_getBlockByNumber", ("0x0", False))], Header))[0]
    return Deployment(
        chain_id=chain_id,
        genesis_hash=genesis.hash,
        block_number=receipts[0].height,
        vault=vault,
        implementation=implementation,
        tokens={
            token.asset: TokenInfo(address, token.decimals)
            for token, address in zip(TOKENS, tokens, strict=True)
        },
    )


async def _name_cold_address(rpc: RPC, deployment: Deployment, administrator: SigningKey, cold: str) -> None:
    reads = [ContractRead(deployment.vault, "coldAddress()", "address")]
    if await read_contracts(rpc, reads) == [ZERO_ADDRESS]:
        call = AdministrativeCall(deployment.vault, calldata("setColdAddress(address)", cold), _CALL_GAS)
        nonce = await next_nonce(rpc, administrator.address)
        await execute(rpc, administrator, [call], chain_id=deployment.chain_id, first_nonce=nonce)


async def _grant_missing_roles(
    rpc: RPC, deployment: Deployment, administrator: SigningKey, withdrawer: str
) -> None:
    tokens = [token.address for token in deployment.tokens.values()]
    wanted = [
        (deployment.vault, "WITHDRAWER_ROLE", withdrawer),
        (deployment.vault, "APPROVER_ROLE", administrator.address),
        (deployment.vault, "GUARDIAN_ROLE", administrator.address),
    ]
    wanted += [(token, name, administrator.address) for token in tokens for name in _ISSUER_ROLES]
    reads = [
        ContractRead(contract, "hasRole(bytes32,address)", "bool", (role(name), account))
        for contract, name, account in wanted
    ]
    reads += [ContractRead(token, "isMinter(address)", "bool", (administrator.address,)) for token in tokens]
    has = await read_contracts(rpc, reads)
    missing = [
        AdministrativeCall(contract, calldata("grantRole(bytes32,address)", role(name), account), _CALL_GAS)
        for (contract, name, account), has_it in zip(wanted, has[: len(wanted)], strict=True)
        if not has_it
    ]
    missing += [
        AdministrativeCall(
            token,
            calldata("configureMinter(address,uint256)", administrator.address, MINTER_ALLOWANCE),
            _CALL_GAS,
        )
        for token, is_minter in zip(tokens, has[len(wanted) :], strict=True)
        if not is_minter
    ]
    if missing:
        nonce = await next_nonce(rpc, administrator.address)
        await execute(rpc, administrator, missing, chain_id=deployment.chain_id, first_nonce=nonce)
