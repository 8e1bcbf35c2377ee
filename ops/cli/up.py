"""``nugpay up``: everything on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Annotated

import typer


def command(
    *,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write the logs to files only.")] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="A bank to try clients against: docs/api.md.")
    ] = False,
) -> None:
    """Start everything on this machine, print the addresses, and keep it running until Ctrl-C.

    The state is kept in NUGPAY_HOME, so that the next start goes on where this one ended.
    """
    from foundation.sandbox_clock import clock_of
    from foundation.settings import get_settings
    from ops.output import Output
    from ops.processes import Roster
    from ops.unprivileged import make_home
    from ops.up import Bank, home_lock, run

    began = time.monotonic()
    if sandbox:
        # In the environment, so that it is looked at with all other settings, and every process has it.
        os.environ["NUGPAY_SANDBOX"] = "1"
        get_settings.cache_clear()
    settings = get_settings()
    make_home(settings.home)
    output = Output(settings.home.absolute() / "logs", quiet=quiet)

    def show(roster: Roster) -> None:
        width = max(map(len, roster.addresses))
        lines = [f"  {label:<{width}}  {address}" for label, address in roster.addresses.items()]
        output.say("\n".join([f"ready in {time.monotonic() - began:.1f} s; Ctrl-C stops everything", *lines]))

    async def be_up() -> None:
        await run(Bank(settings, clock_of(settings), output), show)

    with home_lock(settings.home):
        asyncio.run(be_up())
