"""``nugpay invite``: a one-time code for a new phone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer


def command(
    hours: Annotated[int, typer.Option(min=1, max=24 * 30, help="How long the code can be used.")] = 24 * 7,
) -> None:
    """Print a one-time code with which somebody enrols a phone; it exists in the clear only here."""
    from identity.enrolment import issue_enrolment_code
    from ops.wiring import current_settings, open_parts

    async def issue() -> str:
        async with open_parts(current_settings()) as parts, parts.database.session() as session:
            return await issue_enrolment_code(session, parts.clock, lifetime=timedelta(hours=hours))

    typer.echo(asyncio.run(issue()))
