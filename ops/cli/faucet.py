"""``nugpay faucet``: tokens of the development chain for a wallet."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer


def command(
    handle: Annotated[str, typer.Argument(help="Whose deposit address gets the tokens, such as @aye.")],
    amount: Annotated[str, typer.Argument(help="How much, such as 250.")],
    asset: Annotated[str, typer.Argument(help="USDT or DMMK.")] = "USDT",
) -> None:
    """Send tokens on the development chain to a wallet's deposit address, as an outside person would.

    They are credited when their block is final. Works on the development chain alone.
    """
    typer.echo(asyncio.run(_send(handle, amount, asset)))


async def _send(handle: str, amount: str, asset_code: str) -> str:
    from chain.deployments import load_deployment
    from chain.development import mint
    from chain.keystore import ADMINISTRATOR_KEY, development_key
    from chain.rpc import RPC
    from foundation.assets import asset_by_code
    from foundation.money import Money
    from ledger.client import LedgerClient
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from treasury.custody import custody_of
    from treasury.deposit_addresses import deposit_address
    from wallets.handles import parse_handle
    from wallets.wallets import WalletDirectory

    settings = current_settings()
    if settings.environment != "development":
        raise OperationError("There is no faucet on a real chain", "Send tokens to the deposit address.")
    money = Money.parse(amount, asset_by_code(asset_code))
    async with open_parts(settings) as parts:
        ledger = LedgerClient(settings.ledger_address)
        wallet = await WalletDirectory(parts.database, ledger).by_handle(parse_handle(handle))
        await ledger.close()
        if wallet is None:
            raise OperationError(f"No wallet has the handle {handle}", "Enrol a phone and open it first.")
        deployment = load_deployment(settings.home, settings.chain_id)
        custody = custody_of(deployment)
        address = await deposit_address(
            parts.database, parts.clock, custody, wallet_id=wallet.id, asset=money.asset
        )
        rpc = RPC(settings.rpc_url)
        try:
            tx_hash = await mint(
                rpc,
                deployment,
                development_key(settings.home, ADMINISTRATOR_KEY),
                asset=money.asset.code,
                to=address.address,
                units=custody.token_of(money.asset).units_of(money.minor),
            )
        finally:
            await rpc.close()
    return f"{money} sent to {address.address} in {tx_hash}; credited when its block is final"
