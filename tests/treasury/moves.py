"""What tests do around a treasury: look, act as an administrator or a thief, and die."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from chain.administration import AdministrativeCall, execute, next_nonce
from chain.calldata import calldata
from chain.follower import FollowerConfig
from chain.sender import Sender
from chain.signer_client import SignerClient
from chain.signer_policy import SignerPolicy
from tests.fixtures.contracts import running_signer
from tests.fixtures.officers import OfficerDevice
from tests.treasury.conftest import Treasury
from tests.treasury.mortality import Fate, MortalDatabase, MortalLedger, MortalRPC, MortalSigner
from treasury.breaker import breaker_trip
from treasury.breaker_release import TripState, release_breaker
from treasury.tasks import TreasuryTools
from treasury.withdrawals import Withdrawal, withdrawal_by_id


async def seen(treasury: Treasury, wallet_id: UUID, withdrawal_id: UUID) -> Withdrawal:
    return await withdrawal_by_id(
        treasury.database, treasury.ledger, withdrawal_id=withdrawal_id, wallet_id=wallet_id
    )


def tools_of(treasury: Treasury) -> TreasuryTools:
    return TreasuryTools(
        database=treasury.database,
        ledger=treasury.ledger,
        rpc=treasury.rpc,
        clock=treasury.clock,
        custody=treasury.custody,
        sender=treasury.sender,
        follower=FollowerConfig(
            treasury.custody.chain_id, tuple(token.address for token in treasury.custody.tokens)
        ),
        check=treasury.check,
    )


async def administer(treasury: Treasury, contract: str, signature: str, *arguments: Any) -> None:
    """A call by the administrator of our contracts."""
    key = treasury.contracts.administrator
    call = AdministrativeCall(contract, calldata(signature, *arguments), 500_000)
    nonce = await next_nonce(treasury.rpc, key.address)
    chain_id = treasury.custody.chain_id
    await execute(treasury.rpc, key, [call], chain_id=chain_id, first_nonce=nonce)


async def tripped(treasury: Treasury) -> str | None:
    async with treasury.database.session() as session:
        trip = await breaker_trip(session, treasury.custody.chain_id)
    return None if trip is None else trip.reason


async def release(treasury: Treasury, *officers: OfficerDevice) -> TripState:
    """The open trip, signed by enrolled officers and released."""
    deployment, clock = treasury.contracts.deployment, treasury.clock
    async with treasury.database.session() as session:
        trip = await breaker_trip(session, treasury.custody.chain_id)
    assert trip is not None
    for officer in officers:
        await officer.sign_release(treasury.database, clock, deployment, trip)
    await treasury.reconcile()
    async with treasury.database.session() as session:
        return await release_breaker(session, clock, treasury.custody, deployment, trip_id=trip.id)


async def move_out_of(treasury: Treasury, vault: str, units: int) -> None:
    """Take tokens of an address away, which on this chain the node can do."""
    node = treasury.contracts.node
    node.call("anvil_impersonateAccount", vault)
    node.set_balance(vault, 10**18)
    data = "0x" + calldata("transfer(address,uint256)", "0x" + "99" * 20, units).hex()
    tx = {"from": vault, "to": treasury.contracts.token(), "data": data, "gas": hex(200_000)}
    treasury.contracts.receipt(node.call("eth_sendTransaction", tx))
    node.call("anvil_stopImpersonatingAccount", vault)


async def pause_first(treasury: Treasury) -> None:
    """Pause the vault in a block before the waiting payment, and mine that."""
    await call_first(treasury, treasury.custody.vault, "pause()")


async def call_first(treasury: Treasury, contract: str, signature: str, *arguments: Any) -> None:
    """Have the administrator's call stand before what waits in the pool, and mine both."""
    node = treasury.contracts.node
    administrator = treasury.contracts.administrator.address
    node.call("anvil_impersonateAccount", administrator)
    tx = {
        "from": administrator,
        "to": contract,
        "data": "0x" + calldata(signature, *arguments).hex(),
        "gas": hex(100_000),
        "maxFeePerGas": hex(10**12),
        "maxPriorityFeePerGas": hex(10**11),
    }
    # A tip far above the payment's stands first in the same block.
    node.call("eth_sendTransaction", tx)
    node.mine(1)


def mortal_treasury(treasury: Treasury, fate: Fate, rpc: MortalRPC) -> Treasury:
    """The same treasury in a process that ends after the fate's last effect."""
    database = MortalDatabase(treasury.database, fate)
    signer = MortalSigner(SignerClient(treasury.contracts.home / "signer.sock"), fate)
    ledger: Any = MortalLedger(treasury.ledger, fate)
    mortal = replace(treasury, database=database, ledger=ledger, rpc=rpc)
    mortal.sender = sender_of(mortal, signer)
    return mortal


@asynccontextmanager
async def signed_by(treasury: Treasury, policy: SignerPolicy) -> AsyncIterator[None]:
    """The treasury with a signer of another policy, in place of the one it had."""
    home = treasury.contracts.home
    before = treasury.sender
    treasury.contracts.home = home / "other"
    treasury.contracts.home.mkdir()
    async with running_signer(treasury.contracts, treasury.database, treasury.clock, policy=policy) as signer:
        treasury.sender = sender_of(treasury, signer)
        yield
    treasury.sender = before
    treasury.contracts.home = home


def sender_of(treasury: Treasury, signer: SignerClient) -> Sender:
    return Sender(
        database=treasury.database,
        rpc=treasury.rpc,
        check=treasury.check,
        signer=signer,
        clock=treasury.clock,
        deployment=treasury.contracts.deployment,
    )
