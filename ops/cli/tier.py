"""``nugpay tier``: how much a wallet may pay, as two officers decide it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Show a wallet's tier, and change it.")

Handle = Annotated[str, typer.Argument(help="The wallet's handle.")]
"""Which wallet is meant."""


@app.command("show")
def show(handle: Handle) -> None:
    """Print a wallet's tier, and every decision about it."""
    typer.echo(asyncio.run(_show(handle)))


@app.command("set")
def change(
    handle: Handle,
    tier: Annotated[str, typer.Argument(help="starter, standard or business.")],
    by: Annotated[list[str], typer.Option(help="An officer who decided it; give it once for each of them.")],
    reason: Annotated[str, typer.Option(help="Why, for those who look later.")],
) -> None:
    """Give a wallet another tier, by decision of two officers, none of whom owns it."""
    typer.echo(asyncio.run(_set(handle, tier, by, reason)))


async def _show(handle: str) -> str:
    from ops.wiring import current_settings, open_parts
    from wallets.tier_changes import tier_changes

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        tier, changes = await tier_changes(session, handle)
    lines = [
        f"{one.decided_at.isoformat()}  {one.before} to {one.after}  "
        f"by {', '.join(one.decided_by)}: {one.reason}"
        for one in changes
    ]
    return "\n".join([f"@{handle.removeprefix('@')} is {tier}", *lines])


async def _set(handle: str, tier: str, by: list[str], reason: str) -> str:
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from wallets.tier_changes import change_tier
    from wallets.tiers import Tier

    if tier not in set(Tier):
        raise OperationError(f"There is no tier {tier}", f"The tiers are {', '.join(Tier)}.")
    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        made = await change_tier(
            session, parts.clock, handle=handle, tier=Tier(tier), decided_by=by, reason=reason
        )
    return f"@{made.handle} is {made.after}; it was {made.before}"
