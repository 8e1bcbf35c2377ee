"""Liquidity: whether the vault can pay a withdrawal now, asked before anything is signed.

A payment that reverts costs gas and gives the customer nothing, so one that the
vault would refuse waits instead: tokens not swept yet, the rate limit used up, the
vault or the token paused, the receiver frozen.
"""

from __future__ import annotations

from sqlalchemy import func, select

from chain.calldata import calldata, hexadecimal
from chain.contract_reads import ContractRead, read_contracts
from chain.errors import RPCError
from chain.lanes import is_signed
from chain.models import ChainOrder
from chain.orders import read_order, withdrawal_word
from chain.rpc import RPC
from foundation.database import Database
from treasury.custody import Custody
from treasury.models import TreasuryWithdrawal


async def why_unpayable(
    database: Database,
    rpc: RPC,
    custody: Custody,
    withdrawal: TreasuryWithdrawal,
    *,
    sender: str,
    beside: int = 0,
) -> str | None:
    """What would make the vault refuse the payment from ``sender`` now; None if nothing would.

    Payments that are signed and not closed count as made, and so do ``beside``: units
    of the token that are about to be sent with it. So several that each could be paid
    are not sent together when their sum could not. Raises the RPC's errors.
    """
    async with database.session() as session:
        order = await read_order(session, withdrawal.id)
        assert order is not None, "a withdrawal is written with its order"
        promised = await session.scalar(
            select(func.coalesce(func.sum(ChainOrder.amount), 0))
            .join(TreasuryWithdrawal, TreasuryWithdrawal.id == ChainOrder.id)
            .where(
                ChainOrder.token == order.token,
                TreasuryWithdrawal.closed_at.is_(None),
                is_signed(TreasuryWithdrawal.id),
            )
        )
    held, allowed = await read_contracts(
        rpc,
        [
            ContractRead(order.token, "balanceOf(address)", "uint256", (custody.vault,)),
            ContractRead(custody.vault, "withdrawable(address)", "uint256", (order.token,)),
        ],
    )
    # A node that lags may not have the contracts at its head yet: it answers nothing.
    if held is None or allowed is None:
        return "the vault or the token does not answer"
    needed = order.amount + int(promised or 0) + beside
    if needed > held:
        return "the vault holds too little"
    if needed > allowed:
        return "the vault's rate limit is used up"
    data = calldata(
        "withdraw(address,address,uint256,bytes32)",
        order.token,
        order.to_address,
        order.amount,
        withdrawal_word(order.id),
    )
    call = {"from": sender, "to": custody.vault, "data": hexadecimal(data)}
    try:
        await rpc.call("eth_call", call, "latest")
    except RPCError as error:
        return f"the vault refuses: {error.message}"
    return None
