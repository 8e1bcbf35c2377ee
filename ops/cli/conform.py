"""``nugpay conform``: the same random stream to our ledger and to another one, every answer compared."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Annotated

import typer


def command(
    *,
    tigerbeetle: Annotated[
        str | None,
        typer.Option(
            "--tigerbeetle",
            metavar="ADDRESS",
            help="A running TigerBeetle with an empty cluster; without one our own ledger process.",
        ),
    ] = None,
    cluster: Annotated[int, typer.Option("--cluster", min=0, help="TigerBeetle's cluster id.")] = 0,
    seed: Annotated[int | None, typer.Option("--seed", help="Names the stream; drawn if not given.")] = None,
    events: Annotated[int, typer.Option("--events", min=1, help="How many events to send.")] = 10_000,
) -> None:
    """Send one random stream to two ledgers and compare all they say; ends with 1 at a difference."""
    from rich.console import Console
    from rich.markup import escape

    from benchmarks.conformance.run import Difference
    from benchmarks.conformance.sides import conform

    console = Console()
    seed = secrets.randbelow(2**32) if seed is None else seed
    other = "our own ledger process" if tigerbeetle is None else f"TigerBeetle at {tigerbeetle}"
    console.print(f"seed {seed}: {events:,} events to our engine and to {other}", highlight=False)
    began = time.monotonic()
    with console.status("starting") as status:
        try:
            run = asyncio.run(
                conform(seed=seed, events=events, address=tigerbeetle, cluster=cluster, report=status.update)
            )
        except Difference as difference:
            console.print(
                f"[bold red]different:[/] {escape(str(difference))}", highlight=False, soft_wrap=True
            )
            console.print(f"again: ./nugpay conform --seed {seed} --events {events}", highlight=False)
            raise typer.Exit(1) from None
    seconds = time.monotonic() - began
    console.print(
        f"no difference in {run.events:,} events of {run.requests:,} requests and {run.reads:,} reads "
        f"({len(run.statuses)} different statuses, {seconds:.0f} s)",
        highlight=False,
        soft_wrap=True,
    )
