"""Vault approvals: the approver's agreement on chain to one withdrawal beyond the bucket.

The vault keeps an agreement by the hash of token, receiver, amount and id, for seven
days. The call is built here from the order; a development machine's own key makes it, on
a real chain the approver's Safe does.
"""

from __future__ import annotations

from chain.administration import AdministrativeCall, execute, next_nonce
from chain.calldata import calldata
from chain.contract_reads import ContractRead, read_contracts
from chain.deployments import Deployment
from chain.keystore import SigningKey
from chain.orders import Order, withdrawal_word
from chain.rpc import RPC

APPROVAL_GAS = 150_000
"""Gas limit of the call."""


async def approved_until(rpc: RPC, deployment: Deployment, order: Order) -> int:
    """Until when (seconds since 1970) an agreement to the order can be used; 0 if there is none."""
    asked = "approvedUntil(address,address,uint256,bytes32)"
    arguments = (order.token, order.to_address, order.amount, withdrawal_word(order.id))
    [until] = await read_contracts(rpc, [ContractRead(deployment.vault, asked, "uint48", arguments)])
    return int(until or 0)


def approval_call(deployment: Deployment, order: Order) -> AdministrativeCall:
    """The call by which the approver agrees to exactly this order."""
    data = calldata(
        "approveWithdrawal(address,address,uint256,bytes32)",
        order.token,
        order.to_address,
        order.amount,
        withdrawal_word(order.id),
    )
    return AdministrativeCall(deployment.vault, data, APPROVAL_GAS)


async def approve_on_chain(rpc: RPC, deployment: Deployment, order: Order, key: SigningKey) -> int:
    """Agree with the approver's key, unless that is done; until when it can be used.

    Raises ``AdministrationFailed`` where the vault refuses, and the RPC's errors; asked
    again after a lost answer it finds the agreement.
    """
    if not (until := await approved_until(rpc, deployment, order)):
        nonce = await next_nonce(rpc, key.address)
        call = approval_call(deployment, order)
        await execute(rpc, key, [call], chain_id=deployment.chain_id, first_nonce=nonce)
        until = await approved_until(rpc, deployment, order)
    return until
