"""``nugpay standby``: a second PostgreSQL that can take over, and letting it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Make, watch, promote or detach PostgreSQL's standby.")

Directory = Annotated[
    Path | None, typer.Argument(help="The standby's directory; known while this home's disk is there.")
]


@app.command("create")
def create(directory: Annotated[Path, typer.Argument(help="Where it goes: another disk.")]) -> None:
    """Copy the running server to DIRECTORY and let every commit wait for both disks."""
    from foundation.settings import get_settings
    from ops.postgres_standby import create

    url = create(get_settings().home, directory.absolute(), report=_say)
    typer.echo("done: what is acknowledged from now on is on both disks.")
    typer.echo(f"./nugpay up knows it after a restart; anybody else needs NUGPAY_DATABASE_URL={url}")


@app.command("status")
def status() -> None:
    """Say how both servers stand; ends with 1 when something is not as it should be."""
    from foundation.settings import get_settings
    from ops.pair_status import pair_states

    states = pair_states(get_settings().home.absolute())
    for state in states:
        typer.echo(f"{state.part:<9}{state.home}: {state.words}")
    if not all(state.is_well for state in states):
        raise typer.Exit(1)


@app.command("promote")
def promote(
    directory: Directory = None,
    stop_primary: Annotated[
        bool, typer.Option("--stop-primary", help="Stop the primary first if it still runs.")
    ] = False,
) -> None:
    """Let the standby take over; the old primary is fenced off."""
    from foundation.settings import get_settings
    from ops.postgres_standby import promote

    home = get_settings().home if directory is None else directory
    promote(home.absolute(), stop_primary=stop_primary, report=_say)
    typer.echo("done: the standby takes writes now, alone.")
    typer.echo("When its disk is sound again, make the old primary the new standby: ./nugpay standby create")


@app.command("detach")
def detach() -> None:
    """Go on without the standby: for when it is lost, and commits wait for it."""
    from foundation.settings import get_settings
    from ops.postgres_standby import detach

    detach(get_settings().home.absolute(), report=_say)
    typer.echo("done: commits wait for one disk alone. A new standby: ./nugpay standby create DIRECTORY")


def _say(words: str) -> None:
    typer.echo(f"{words} ...")
