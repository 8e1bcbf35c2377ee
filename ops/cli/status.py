"""``nugpay status``: what runs, how far it is, what both books say."""

from __future__ import annotations

from typing import Annotated

import typer

NOT_WELL = 3
"""Exit status when something is down, behind its last word or in disagreement."""


def command(
    *, json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False
) -> None:
    """Show processes, heights, lag and the balances of both books in one table.

    Ends with 0 when all is well, with 3 when something is not.
    """
    import asyncio

    import msgspec
    from rich.console import Console

    from ops.status import read_status, status_table
    from ops.wiring import current_settings

    status = asyncio.run(read_status(current_settings()))
    if json:
        typer.echo(msgspec.json.encode({"well": status.is_well, **msgspec.to_builtins(status)}).decode())
    else:
        Console(soft_wrap=True).print(status_table(status))
        if not status.processes:
            typer.echo("nothing runs here; ./nugpay up starts everything")
    raise typer.Exit(0 if status.is_well else NOT_WELL)
