"""``nugpay up``: everything on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer


def command(
    *, quiet: Annotated[bool, typer.Option("--quiet", help="Write the logs to files only.")] = False
) -> None:
    """Start everything on this machine, print the addresses, and keep it running until Ctrl-C.

    The state is kept in NUGPAY_HOME, so that the next start goes on where this one ended.
    """
    from foundation.clock import SystemClock
    from foundation.settings import get_settings
    from ops.output import Output
    from ops.processes import Roster
    from ops.unprivileged import make_home
    from ops.up import Bank, home_lock, run

    began = time.monotonic()
    settings = get_settings()
    make_home(settings.home)
    output = Output(settings.home.absolute() / "logs", quiet=quiet)

    def show(roster: Roster) -> None:
        width = max(map(len, roster.addresses))
        lines = [f"  {label:<{width}}  {address}" for label, address in roster.addresses.items()]
        output.say("\n".join([f"ready in {time.monotonic() - began:.1f} s; Ctrl-C stops everything", *lines]))

    async def be_up() -> None:
        await run(Bank(settings, SystemClock(), output), show)

    with home_lock(settings.home):
        asyncio.run(be_up())
