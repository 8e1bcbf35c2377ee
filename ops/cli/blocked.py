"""``nugpay blocked``: receivers that are never paid."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Addresses that are never paid: sanctioned, or stolen money's.")

Address = Annotated[str, typer.Argument(help="0x and 40 hexadecimal digits.")]
"""An address on chain."""


@app.command("list")
def show() -> None:
    """List every blocked address, newest first."""
    typer.echo(asyncio.run(_list()))


@app.command("add")
def add(
    address: Address,
    reason: Annotated[str, typer.Option(help="Why, for those who look later.")],
    officer: Annotated[str, typer.Option(help="Who decided it.")],
) -> None:
    """Never pay an address; what was asked for and not signed yet goes back to its wallet.

    The signer's policy has a list of its own (blocked_receivers), which holds even when
    this database is in a thief's hands: put it there too.
    """
    typer.echo(asyncio.run(_add(address, reason, officer)))


@app.command("remove")
def remove(address: Address) -> None:
    """Pay an address again."""
    typer.echo(asyncio.run(_remove(address)))


async def _list() -> str:
    from chain.addresses import checksum
    from ops.wiring import current_settings, open_parts
    from treasury.blocked_receivers import list_blocked

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        found = await list_blocked(session)
    lines = [
        f"{checksum(one.address)}  since {one.blocked_at.isoformat()}  by {one.blocked_by}: {one.reason}"
        for one in found
    ]
    return "\n".join(lines) or "no address is blocked"


async def _add(address: str, reason: str, officer: str) -> str:
    from ops.wiring import current_settings, open_parts
    from treasury.blocked_receivers import block_receiver

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        await block_receiver(session, parts.clock, address=address, reason=reason, blocked_by=officer)
    return f"{address} is never paid from now on"


async def _remove(address: str) -> str:
    from ops.wiring import current_settings, open_parts
    from treasury.blocked_receivers import unblock_receiver

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        known = await unblock_receiver(session, address=address)
    return f"{address} is paid again" if known else f"{address} was not blocked"
