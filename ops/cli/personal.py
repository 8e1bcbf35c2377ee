"""``nugpay personal``: what customers have told of themselves, and the keys over it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Read personal data as an officer, and change the key over it.")


@app.command("show")
def show(
    handle: Annotated[str, typer.Argument(help="The handle of the person's wallet.")],
    by: Annotated[str, typer.Option(help="The officer who reads it.")],
    reason: Annotated[str, typer.Option(help="Why; it is written down first, and the person sees the look.")],
) -> None:
    """Print what a person has told of themselves; it is written down who looked, and why."""
    typer.echo(asyncio.run(_show(handle, by, reason)))


@app.command("accesses")
def accesses(by: Annotated[str, typer.Option(help="The auditor who looks at them.")]) -> None:
    """List which officers read whose personal data, and why, the newest first."""
    typer.echo(asyncio.run(_accesses(by)))


@app.command("status")
def status() -> None:
    """Say how many have given data, and how many erasures wait for a rotation to reach backups."""
    typer.echo(asyncio.run(_status()))


@app.command("rotate")
def rotate(
    *,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="End what does not open, instead of keeping the old key for it.")
    ] = False,
) -> None:
    """Wrap every person's key anew and destroy the key of before; a first key is made where there is none.

    It can die anywhere, and goes on when it is run again. Backups of before are unreadable
    afterwards: for those who erased their data, and for everybody else.
    """
    typer.echo(asyncio.run(_rotate(give_up=give_up)))


async def _show(handle: str, by: str, reason: str) -> str:
    from identity.personal_accesses import read_as_officer
    from identity.personal_data import PersonalField, PersonalRecords
    from identity.personal_keys import PersonalKeyFile
    from ledger.client import LedgerClient
    from ledger.door.tls import client_context
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from wallets.wallets import WalletDirectory

    settings = current_settings()
    ledger = LedgerClient(settings.ledger_address, tls=client_context(settings))
    try:
        async with open_parts(settings) as parts:
            directory = WalletDirectory(parts.database, ledger, parts.clock)
            wallet = await directory.by_handle(handle.removeprefix("@"))
            if wallet is None:
                raise OperationError(f"There is no wallet {handle}", "Ask for the handle again.")
            key_file = PersonalKeyFile(settings.personal_keys_path)
            records = PersonalRecords(parts.database, parts.clock, key_file)
            found = await read_as_officer(records, person_id=wallet.person_id, by=by, reason=reason)
    finally:
        await ledger.close()
    if found.given_at is None:
        return "nothing is there"
    lines = [f"{each.value}  {found.texts[each]}" for each in PersonalField if each in found.texts]
    return "\n".join([*lines, f"given at {found.given_at.isoformat()}"])


async def _accesses(by: str) -> str:
    from identity.personal_accesses import recorded_accesses
    from identity.personal_data import PersonalRecords
    from identity.personal_keys import PersonalKeyFile
    from ops.wiring import current_settings, open_parts

    settings = current_settings()
    async with open_parts(settings) as parts:
        key_file = PersonalKeyFile(settings.personal_keys_path)
        found = await recorded_accesses(PersonalRecords(parts.database, parts.clock, key_file), by=by)
    lines = [
        f"{one.accessed_at.isoformat()}  person {one.person_id}  "
        f"by {one.officer_name} as {one.role}: {one.reason}"
        for one in found
    ]
    return "\n".join(lines) or "nobody has looked"


async def _status() -> str:
    from identity.personal_keys import PersonalKeyFile
    from identity.personal_rotation import personal_status
    from ops.wiring import current_settings, open_parts

    settings = current_settings()
    async with open_parts(settings) as parts:
        found = await personal_status(parts.database, PersonalKeyFile(settings.personal_keys_path))
    lines = [
        f"key {found.key_id} since {found.since}",
        f"{found.people} people have given data",
        f"{found.erased_since} erasures since: backups of before them open until the next rotation",
    ]
    if found.former:
        lines.append(f"{found.former} former keys: a rotation is not at its end, run it again")
    return "\n".join(lines)


async def _rotate(*, give_up: bool) -> str:
    from identity.personal_keys import PersonalKeyFile, make_personal_keys
    from identity.personal_rotation import rotate_personal_keys
    from ops.wiring import current_settings, open_parts

    settings = current_settings()
    path = settings.personal_keys_path
    async with open_parts(settings) as parts:
        if not path.exists():
            return f"key {make_personal_keys(path, parts.clock).current.key_id} made"
        done = await rotate_personal_keys(parts.database, parts.clock, PersonalKeyFile(path), give_up=give_up)
    left = f", {done.given_up} given up" if done.given_up else ""
    return f"key {done.key_id} wraps now: {done.rewrapped} rewrapped{left}; the key of before is destroyed"
