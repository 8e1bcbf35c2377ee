"""``nugpay breaker``: why withdrawals stand still, and letting them go on."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

OFFICERS_MIN = 2
"""What can hurt is decided by two people."""

app = typer.Typer(no_args_is_help=True, help="Show or release the breaker that stops withdrawals.")


@app.command("show")
def show() -> None:
    """Say whether withdrawals are stopped, since when and why."""
    typer.echo(asyncio.run(_show()))


@app.command("release")
def release(
    officer: Annotated[list[str], typer.Option(help="Who decided it; give it once for each officer.")],
) -> None:
    """Let withdrawals go on, by decision of two officers, once the newest books agree again.

    What the difference was must be known and mended first: a release repairs nothing.
    """
    typer.echo(asyncio.run(_release(sorted({name.strip() for name in officer if name.strip()}))))


async def _show() -> str:
    from ops.wiring import current_settings, open_parts
    from treasury.breaker import breaker_trip

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        trip = await breaker_trip(session, parts.settings.chain_id)
    if trip is None:
        return "withdrawals go on; the breaker has not tripped"
    return f"withdrawals are stopped since {trip.tripped_at.isoformat()}: {trip.reason}"


async def _release(officers: list[str]) -> str:
    from chain.deployments import load_deployment
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from treasury.breaker import release_breaker
    from treasury.custody import custody_of
    from treasury.reserves import read_reserves
    from treasury.reversals import unhandled_breaks

    if len(officers) < OFFICERS_MIN:
        raise OperationError(
            "One officer cannot release the breaker", "Name two: --officer NAME --officer NAME"
        )
    settings = current_settings()
    async with open_parts(settings) as parts, parts.database.session() as session:
        custody = custody_of(load_deployment(settings.home, settings.chain_id))
        if await unhandled_breaks(session, settings.chain_id):
            raise OperationError(
                "What a broken finality took back is not corrected yet", "The worker does it; wait for it."
            )
        found = await read_reserves(session, custody)
        for reserve in found.reserves:
            result = reserve.books
            if found.trip is not None and reserve.created_at < found.trip.tripped_at:
                raise OperationError(
                    f"The {result.asset.code} books have not been compared since the breaker tripped",
                    "The worker compares them at the next final block; so does ./nugpay reconcile.",
                )
            if not result.agrees:
                raise OperationError(
                    f"The {result.asset.code} books still differ by {result.unexplained_units} units "
                    f"at block {result.block_number}",
                    "Find the difference first; ./nugpay reconcile shows what explains the rest of it.",
                )
        released = await release_breaker(
            session, parts.clock, settings.chain_id, released_by=", ".join(officers)
        )
    return "released; withdrawals go on" if released else "the breaker had not tripped"
