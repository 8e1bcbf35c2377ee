"""``nugpay faucet``: tokens of the development chain for a wallet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chain.rpc import RPC
    from foundation.settings import Settings
    from ledger.client import LedgerClient

CREDITED_SECONDS_MAX = 60
"""How long a deposit may take to be final and credited."""
POLL_SECONDS = 0.2
"""Between two looks at it."""


def command(
    handle: Annotated[str, typer.Argument(help="Whose deposit address gets the tokens, such as @aye_aye.")],
    amount: Annotated[str, typer.Argument(help="How much, such as 250.")],
    asset: Annotated[str, typer.Argument(help="USDT or DMMK.")] = "USDT",
) -> None:
    """Send tokens on the development chain to a wallet's deposit address, as an outside person would.

    Returns when they are credited, which is when their block is final.
    """
    asyncio.run(_send(handle, amount, asset))


async def _send(handle: str, amount: str, asset_code: str) -> None:
    from chain.deployments import load_deployment
    from chain.development import mint
    from chain.keystore import ADMINISTRATOR_KEY, development_key
    from foundation.assets import asset_by_code
    from foundation.money import Money
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from treasury.custody import custody_of
    from treasury.deposit_addresses import deposit_address
    from treasury.deposits import DepositState, list_deposits
    from wallets.handles import parse_handle
    from wallets.wallets import WalletDirectory

    settings = current_settings()
    if settings.environment != "development":
        raise OperationError("There is no faucet on a real chain", "Send tokens to the deposit address.")
    money = Money.parse(amount, asset_by_code(asset_code))
    async with open_parts(settings) as parts, _node_and_ledger(settings) as (rpc, ledger):
        wallet = await WalletDirectory(parts.database, ledger, parts.clock).by_handle(parse_handle(handle))
        if wallet is None:
            raise OperationError(f"No wallet has the handle {handle}", "Enrol a phone and open it first.")
        deployment = load_deployment(settings.home, settings.chain_id)
        custody = custody_of(deployment)
        address = await deposit_address(
            parts.database, parts.clock, custody, wallet_id=wallet.id, asset=money.asset
        )
        administrator = development_key(settings.home, ADMINISTRATOR_KEY)
        units = custody.token_of(money.asset).units_of(money.minor)
        tx_hash = await mint(
            rpc, deployment, administrator, asset=money.asset.code, to=address.address, units=units
        )
        typer.echo(f"{money} sent to {address.address} in {tx_hash}")
        shown = None
        for _ in range(int(CREDITED_SECONDS_MAX / POLL_SECONDS)):
            deposits = await list_deposits(parts.database, ledger, custody, wallet_id=wallet.id)
            state = next((each.state for each in deposits if each.tx_hash == tx_hash), None)
            if state is not None and state is not shown:
                typer.echo(str(state))
                shown = state
            if shown is DepositState.CREDITED:
                return
            await asyncio.sleep(POLL_SECONDS)
        raise OperationError("The deposit is not credited yet", "./nugpay status shows what is behind.")


@contextlib.asynccontextmanager
async def _node_and_ledger(settings: Settings) -> AsyncIterator[tuple[RPC, LedgerClient]]:
    from chain.rpc import RPC
    from ledger.client import LedgerClient
    from ledger.door.tls import client_context

    rpc, ledger = RPC(settings.rpc_url), LedgerClient(settings.ledger_address, tls=client_context(settings))
    try:
        yield rpc, ledger
    finally:
        await rpc.close()
        await ledger.close()
