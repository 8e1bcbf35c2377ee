"""``nugpay breaker``: why withdrawals stand still, and two officers who let them go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from nugpay_client import DeviceKey

    from ops.wiring import Parts
    from treasury.breaker_release import TripState

app = typer.Typer(no_args_is_help=True, help="Show the breaker that stops withdrawals, sign its release.")

Trip = Annotated[str | None, typer.Option(help="A trip's id; without it the one that stops withdrawals.")]
"""Which trip is meant."""


@app.command("show")
def show() -> None:
    """Say whether withdrawals are stopped, and list the last trips and who signed their release."""
    typer.echo(asyncio.run(_show()))


@app.command("sign")
def sign(
    key: Annotated[Path, typer.Option(help="The officer's device key (PEM).")],
    passphrase: Annotated[str, typer.Option(prompt=True, hide_input=True, help="Opens the key.")],
    trip: Trip = None,
) -> None:
    """Show a trip, and sign its release with an officer's device key once they agree.

    A trip that is released already can be signed again, for a signer that was away.
    """
    from nugpay_client import DeviceKey

    device_key = DeviceKey.load(key, passphrase.encode())

    def agree(said: str) -> bool:
        typer.echo(said)
        return typer.confirm("Sign this?")

    typer.echo(asyncio.run(_sign(_id(trip), device_key, agree)))


@app.command("release")
def release(trip: Trip = None) -> None:
    """Let withdrawals go on, once two officers have signed the trip's release and the books agree.

    What the difference was must be known and mended first: a release repairs nothing. The
    signer goes on by itself, by the same two signatures.
    """
    typer.echo(asyncio.run(_release(_id(trip))))


@app.command("restore")
def restore(
    trip: Annotated[str, typer.Argument(help="The trip's id, as the signer names it.")],
    tripped: Annotated[str, typer.Option(help="When it tripped, as the signer says it.")],
    reason: Annotated[str, typer.Option(help="Why, to the letter as the signer says it.")],
) -> None:
    """Put back the row of a trip for which the signer stands still, so that officers can sign it.

    For a database that was restored from an older backup, or in which the row was changed.
    The signer's refusal (signing_stopped) and its log say all three. Releases nothing.
    """
    typer.echo(asyncio.run(_restore(trip, tripped, reason)))


def _id(text: str | None) -> UUID | None:
    from foundation.ids import parse_id

    return None if text is None else parse_id(text)


async def _show() -> str:
    from chain.deployments import load_deployment
    from ops.wiring import current_settings, open_parts
    from treasury.breaker_release import list_trips

    settings = current_settings()
    deployment = load_deployment(settings.home, settings.chain_id)
    async with open_parts(settings) as parts, parts.database.session() as session:
        trips = await list_trips(session, parts.clock, deployment)
    stopping = [one for one in trips if one.released_at is None]
    if not trips:
        return "withdrawals go on; the breaker has not tripped"
    first = "withdrawals go on"
    if stopping:
        trip = stopping[0].trip
        first = f"withdrawals are stopped since {trip.tripped_at.isoformat()}: {trip.reason}"
    return "\n".join([first, *map(_line, trips)])


def _line(one: TripState) -> str:
    state = "not released"
    if one.released_at is not None:
        state = f"released {one.released_at.isoformat()} by {', '.join(one.released_by)}"
    signed = ", ".join(one.signed_by) or "nobody"
    tripped = one.trip.tripped_at.isoformat()
    return f"{one.trip.id}  tripped {tripped}: {one.trip.reason}  {state}; signed now by {signed}"


async def _sign(trip_id: UUID | None, key: DeviceKey, agree: Callable[[str], bool]) -> str:
    from chain.breaker import ReleaseSignature
    from chain.deployments import load_deployment
    from ops.officer_devices import enrolled_device
    from ops.wiring import current_settings, open_parts
    from treasury.breaker_release import sign_release, statement_of_release

    settings = current_settings()
    deployment = load_deployment(settings.home, settings.chain_id)
    async with open_parts(settings) as parts:
        device = await enrolled_device(parts, key)
        chosen = trip_id or await _stopping(parts)
        async with parts.database.session() as session:
            said, signed_at, expires_at = await statement_of_release(
                session, parts.clock, deployment, trip_id=chosen
            )
        if not agree(said.decode()):
            return "not signed"
        signed = ReleaseSignature(device.key.key_id, signed_at, expires_at, key.sign(said))
        async with parts.database.session() as session:
            state = await sign_release(
                session, parts.clock, deployment, device=device, trip_id=chosen, signed=signed
            )
    return f"signed; signed now by {', '.join(state.signed_by)}"


async def _release(trip_id: UUID | None) -> str:
    from chain.deployments import load_deployment
    from ops.wiring import current_settings, open_parts
    from treasury.breaker_release import release_breaker
    from treasury.custody import custody_of

    settings = current_settings()
    deployment = load_deployment(settings.home, settings.chain_id)
    async with open_parts(settings) as parts:
        chosen = trip_id or await _stopping(parts)
        async with parts.database.session() as session:
            state = await release_breaker(
                session, parts.clock, custody_of(deployment), deployment, trip_id=chosen
            )
    return f"released by {', '.join(state.released_by)}"


async def _restore(trip: str, tripped: str, reason: str) -> str:
    from datetime import datetime

    from chain.breaker import BreakerTrip
    from chain.deployments import load_deployment
    from foundation.ids import parse_id
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from treasury.breaker_release import restore_trip

    try:
        tripped_at = datetime.strptime(tripped, "%Y-%m-%dT%H:%M:%S.%f%z")
    except ValueError as error:
        raise OperationError(
            "That is no time as the signer says it", "Such as 2026-11-27T08:00:00.123456+00:00."
        ) from error
    settings = current_settings()
    deployment = load_deployment(settings.home, settings.chain_id)
    seen = BreakerTrip(parse_id(trip), reason, tripped_at)
    async with open_parts(settings) as parts, parts.database.session() as session:
        state = await restore_trip(session, parts.clock, deployment, seen)
    return _line(state)


async def _stopping(parts: Parts) -> UUID:
    """The trip that stops withdrawals now."""
    from ops.errors import OperationError
    from treasury.breaker import breaker_trip

    async with parts.database.session() as session:
        trip = await breaker_trip(session, parts.settings.chain_id)
    if trip is None:
        raise OperationError("The breaker has not tripped", "./nugpay breaker show lists the last trips.")
    return trip.id
