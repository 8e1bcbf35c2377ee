"""``nugpay demo``: the money story, played for real."""

from __future__ import annotations

import typer


def command() -> None:
    """Play the story: deposit on chain, pay by signed request, withdraw, and compare both books.

    Starts what is not running and stops it afterwards. Ends with 0, or says what broke.
    """
    from ops.demo import run
    from ops.wiring import current_settings

    raise typer.Exit(run(current_settings()))
