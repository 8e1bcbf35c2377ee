"""``nugpay vault``: what the vault's approver agrees to on chain."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Agree on chain to a withdrawal beyond the vault's rate limit.")


@app.callback()
def group() -> None:
    """Commands of the vault's approver."""


@app.command("approve")
def approve(withdrawal: Annotated[str, typer.Argument(help="The withdrawal's id.")]) -> None:
    """Have the vault's approver agree to exactly this withdrawal, beyond the rate limit.

    On a development machine its own key does it. On a real chain the call is printed, for
    the approver's Safe to make; run again, this says whether it was made.
    """
    typer.echo(asyncio.run(_approve(withdrawal)))


async def _approve(withdrawal: str) -> str:
    from chain.addresses import checksum
    from chain.calldata import hexadecimal
    from chain.deployments import load_deployment
    from chain.keystore import ADMINISTRATOR_KEY, development_key
    from chain.orders import read_order
    from chain.rpc import RPC
    from chain.vault_approvals import approval_call, approve_on_chain, approved_until
    from foundation.clock import SECOND_NS, datetime_from_ns
    from foundation.errors import Refusal
    from foundation.ids import parse_id
    from ops.wiring import current_settings, open_parts
    from treasury.errors import TreasuryCode
    from treasury.models import TreasuryWithdrawal

    settings = current_settings()
    deployment = load_deployment(settings.home, settings.chain_id)
    rpc = RPC(settings.rpc_url)
    try:
        async with open_parts(settings) as parts, parts.database.session() as session:
            order = await read_order(session, parse_id(withdrawal))
            row = await session.get(TreasuryWithdrawal, parse_id(withdrawal))
        if order is None or row is None:
            raise Refusal(TreasuryCode.WITHDRAWAL_NOT_FOUND, "There is no such withdrawal.")
        if row.closed_at is not None or order.revoked:
            raise Refusal(TreasuryCode.APPROVAL_NOT_AWAITED, "The withdrawal is over.")
        what = f"{order.amount} units of {checksum(order.token)} to {checksum(order.to_address)}"
        if settings.environment == "development":
            key = development_key(settings.home, ADMINISTRATOR_KEY)
            until = await approve_on_chain(rpc, deployment, order, key)
        else:
            until = await approved_until(rpc, deployment, order)
        if not until:
            data = hexadecimal(approval_call(deployment, order).data)
            return f"not agreed yet: {what}\nThe approver calls:\nto {checksum(deployment.vault)} data {data}"
        return f"agreed until {datetime_from_ns(until * SECOND_NS).isoformat()}: {what}"
    finally:
        await rpc.close()
