"""Order status: what became of an order, read from its attempts and from the chain.

Nothing is stored: the status is computed from what was signed and from receipts,
so a reorg that takes a transaction away takes the status back by itself. Only
what is at or below the finalized block is for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from chain.contract_reads import ContractRead, read_contracts
from chain.deployments import Deployment
from chain.errors import RPCError, RPCMalformed, RPCUnavailable
from chain.lanes import Attempt
from chain.models import OrderKind
from chain.orders import Order, withdrawal_word
from chain.rpc import RPC, Header, Receipt
from foundation.errors import InvariantViolation

_REMEMBERED: Final = {OrderKind.WITHDRAWAL: "paid(bytes32)", OrderKind.COLD_MOVE: "moved(bytes32)"}
"""What the vault remembers of an order for ever, and the view that tells it."""


class OrderState(StrEnum):
    """How far an order is; the last three are for ever."""

    UNSIGNED = "unsigned"
    """Nothing is stored for it; it may be revoked if it has no nonce."""
    SIGNED = "signed"
    """Signed and stored; no node is known to have it."""
    BROADCAST = "broadcast"
    """A node took it; it is in no block."""
    MINED = "mined"
    """In a block that a reorg may still take away."""
    SUCCEEDED = "succeeded"
    """Final: it did what it was for. A payout batch: what it could; each member has a state of its own."""
    REVERTED = "reverted"
    """Final: it was mined and had no effect; nothing was paid and its nonce is used. So does a member of
    a batch end that the vault refused."""
    DISPLACED = "displaced"
    """Final: another transaction used its nonce; it was not and will never be mined."""

    @property
    def is_final(self) -> bool:
        """Whether no reorg and no retry can change it."""
        return self in {OrderState.SUCCEEDED, OrderState.REVERTED, OrderState.DISPLACED}

    @property
    def never_pays(self) -> bool:
        """Whether what was set aside for it can be given back."""
        return self in {OrderState.REVERTED, OrderState.DISPLACED}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatus:
    """An order's state and where it stands."""

    order_id: UUID
    state: OrderState
    nonce: int | None = None
    tx_hash: str | None = None
    """Of the attempt that was mined, else of the one with the highest fee."""
    block_number: int | None = None
    """Set from ``MINED`` on."""
    block_hash: str | None = None
    attempts: int = 0
    """How many times it was signed with different fees."""
    trouble: str | None = None
    """What the node last said against it, or the signer against a replacement."""


async def order_status(
    rpc: RPC, deployment: Deployment, order: Order, attempts: list[Attempt]
) -> OrderStatus:
    """The status of an order by its attempts. Raises the RPC's errors."""
    if not attempts:
        return OrderStatus(order_id=order.id, state=OrderState.UNSIGNED)
    # Finality is read before the receipts: what is then found at or below it lies in
    # a chain that no reorg could have changed between the two answers.
    finalized = (await rpc.read([("eth_getBlockByNumber", ("finalized", False))], Header))[0]
    receipt = await _receipt(rpc, attempts)
    if receipt is None and await _nonce_is_used(rpc, attempts[0], finalized):
        # The transaction may have been mined between the two questions, or a lagging
        # node answered one of them: ask for the receipts again before giving up.
        receipt = await _receipt(rpc, attempts)
        if receipt is None:
            return await _displaced(rpc, deployment, order, attempts, finalized)
    last = attempts[-1]
    if receipt is None:
        sent = any(attempt.broadcast_at is not None for attempt in attempts)
        return OrderStatus(
            order_id=order.id,
            state=OrderState.BROADCAST if sent else OrderState.SIGNED,
            nonce=last.nonce,
            tx_hash=last.tx_hash,
            attempts=len(attempts),
        )
    return OrderStatus(
        order_id=order.id,
        state=_mined_state(receipt, finalized),
        nonce=last.nonce,
        tx_hash=receipt.transaction_hash,
        block_number=receipt.height,
        block_hash=receipt.block_hash,
        attempts=len(attempts),
    )


async def member_status(rpc: RPC, deployment: Deployment, member: Order, batch: OrderStatus) -> OrderStatus:
    """The status of an order that goes in a batch, by the batch's. Raises the RPC's errors.

    Where the batch is final and succeeded, the vault is asked whether it paid the member:
    what it refused can never be paid by a transaction of ours, since the nonce is used.
    """
    if batch.state is not OrderState.SUCCEEDED or not member.is_withdrawal:
        return replace(batch, order_id=member.id)
    # Of the state that is final: a later one could be taken back, and an older one the
    # node may not have any more. What is paid stays paid, so any final state tells.
    finalized = (await rpc.read([("eth_getBlockByNumber", ("finalized", False))], Header))[0]
    if batch.block_number is None or finalized.height < batch.block_number:
        raise RPCUnavailable("eth_getBlockByNumber", "the node lags", outcome_unknown=False)
    [paid] = await _made(rpc, deployment, (member,), finalized)
    state = OrderState.SUCCEEDED if paid else OrderState.REVERTED
    return replace(batch, order_id=member.id, state=state)


async def confirmed(
    status: OrderStatus, ask: Callable[[RPC], Awaitable[OrderStatus]], check: RPC
) -> OrderStatus:
    """The status, final only if the second endpoint, asked the same, says so too.

    What has failed is given back, so one endpoint's word for it could pay twice. Silence
    is no agreement; it costs time. Raises ``InvariantViolation`` where the second one knows
    that the vault paid by other bytes than ours.
    """
    if not status.state.is_final:
        return status
    try:
        second = await ask(check)
        said = f"the second endpoint says {second.state}"
    except (RPCUnavailable, RPCError, RPCMalformed) as error:
        second, said = None, f"the second endpoint does not answer: {error}"
    if second is not None and (second.state, second.block_hash) == (status.state, status.block_hash):
        return status
    # Without a block it is in none that counts: then the same bytes are sent again, which is harmless.
    state = OrderState.BROADCAST if status.block_number is None else OrderState.MINED
    return replace(status, state=state, trouble=f"the node says {status.state}, {said}"[:300])


def _mined_state(receipt: Receipt, finalized: Header) -> OrderState:
    if receipt.height > finalized.height:
        return OrderState.MINED
    return OrderState.SUCCEEDED if receipt.succeeded else OrderState.REVERTED


async def _receipt(rpc: RPC, attempts: list[Attempt]) -> Receipt | None:
    """The receipt of whichever attempt was mined; one nonce is mined once."""
    calls = [("eth_getTransactionReceipt", (attempt.tx_hash,)) for attempt in attempts]
    found = [receipt for receipt in await rpc.find(calls, Receipt) if receipt is not None]
    return found[0] if found else None


async def _nonce_is_used(rpc: RPC, attempt: Attempt, finalized: Header) -> bool:
    calls = [("eth_getTransactionCount", (attempt.from_address, finalized.number))]
    return int((await rpc.read(calls, str))[0], 16) > attempt.nonce


async def _displaced(
    rpc: RPC, deployment: Deployment, order: Order, attempts: list[Attempt], finalized: Header
) -> OrderStatus:
    """Another transaction has the nonce, finally; the vault is asked whether it paid all the same."""
    # Done by bytes that are not in our tables: a database restored from before they were
    # stored, or a key used elsewhere. Giving the money back would pay twice.
    if any(await _made(rpc, deployment, order.parts, finalized)):
        raise InvariantViolation(f"order {order.id} was made by a transaction that is not stored")
    return OrderStatus(
        order_id=order.id,
        state=OrderState.DISPLACED,
        nonce=attempts[0].nonce,
        tx_hash=attempts[-1].tx_hash,
        attempts=len(attempts),
    )


async def _made(rpc: RPC, deployment: Deployment, orders: Sequence[Order], finalized: Header) -> list[bool]:
    """Whether the vault has made each payment and move among the orders, finally. It notes no sweeps."""
    reads = [
        ContractRead(deployment.vault, _REMEMBERED[OrderKind(one.kind)], "bool", (withdrawal_word(one.id),))
        for one in orders
        if one.kind in _REMEMBERED
    ]
    answers = await read_contracts(rpc, reads, block=finalized.number) if reads else []
    # A vault that does not answer has not said that it did not pay.
    if None in answers:
        raise RPCUnavailable("eth_call", "the vault does not answer", outcome_unknown=False)
    return answers
