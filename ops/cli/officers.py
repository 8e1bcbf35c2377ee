"""``nugpay officers``: who they are, what awaits them, and their approvals from a terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from nugpay_client import DeviceKey

app = typer.Typer(no_args_is_help=True, help="Officers who approve large withdrawals.")


@app.command("appoint")
def appoint(
    handle: Annotated[str, typer.Argument(help="The handle of the officer's own wallet.")],
    name: Annotated[str, typer.Argument(help="The officer's name.")],
) -> None:
    """Open the officers' routes to a person, and print what the signer's owner needs to believe them."""
    typer.echo(asyncio.run(_appoint(handle, name)))


@app.command("dismiss")
def dismiss(name: Annotated[str, typer.Argument(help="The officer's name.")]) -> None:
    """Close the officers' routes to one; take their key out of the signer's policy too."""
    typer.echo(asyncio.run(_dismiss(name)))


@app.command("awaited")
def awaited() -> None:
    """List the withdrawals that await officers, the longest waiting first."""
    typer.echo(asyncio.run(_awaited()))


@app.command("approve")
def approve(
    withdrawal: Annotated[str, typer.Argument(help="The withdrawal's id.")],
    key: Annotated[Path, typer.Option(help="The officer's device key (PEM).")],
    passphrase: Annotated[str, typer.Option(prompt=True, hide_input=True, help="Opens the key.")],
) -> None:
    """Show what is to be paid, and sign it with an officer's device key once they agree."""
    from nugpay_client import DeviceKey

    device_key = DeviceKey.load(key, passphrase.encode())

    def agree(said: str) -> bool:
        typer.echo(said)
        return typer.confirm("Sign this?")

    typer.echo(asyncio.run(_approve(UUID(withdrawal), device_key, agree)))


async def _appoint(handle: str, name: str) -> str:
    from identity.devices import DeviceDirectory, list_devices
    from identity.officers import appoint_officer
    from ledger.client import LedgerClient
    from ledger.door.tls import client_context
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from wallets.wallets import WalletDirectory

    settings = current_settings()
    ledger = LedgerClient(settings.ledger_address, tls=client_context(settings))
    try:
        async with open_parts(settings) as parts:
            wallet = await WalletDirectory(parts.database, ledger, parts.clock).by_handle(
                handle.removeprefix("@")
            )
            if wallet is None:
                raise OperationError(f"There is no wallet {handle}", "The officer opens one first.")
            async with parts.database.session() as session:
                await appoint_officer(session, parts.clock, person_id=wallet.person_id, name=name)
                devices = [one for one in await list_devices(session, wallet.person_id) if not one.revoked_at]
            directory = DeviceDirectory(parts.database)
            found = [await directory.find(one.key_id) for one in devices]
    finally:
        await ledger.close()
    keys = "\n".join(json.dumps(device.key.to_jwk()) for device in found if device is not None)
    return (
        f"{name} is an officer. On the signer's machine, once the officer has read their key to you:\n"
        f"  ./nugpay signer trust {name} KEY.json --known-as {wallet.person_id} --known-as {wallet.id}\n"
        f"Keys of their devices, of which KEY.json has one:\n{keys}"
    )


async def _dismiss(name: str) -> str:
    from identity.officers import dismiss_officer
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        if not await dismiss_officer(session, parts.clock, name=name):
            raise OperationError(f"There is no officer {name}", "./nugpay officers appoint makes one.")
    return f"{name} is no officer any more; on the signer's machine: ./nugpay signer distrust {name}"


async def _awaited() -> str:
    from ops.wiring import current_settings, open_parts
    from treasury.withdrawal_approvals import awaited_withdrawals

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        found = await awaited_withdrawals(session, parts.clock)
    lines = [
        f"{one.id}  {one.amount}  to {one.to_address}  since {one.awaits_since.isoformat()}  "
        f"approved by {one.approvals}"
        for one in found
    ]
    return "\n".join(lines) or "nothing awaits officers"


async def _approve(withdrawal_id: UUID, key: DeviceKey, agree: Callable[[str], bool]) -> str:
    from chain.deployments import load_deployment
    from ops.officer_devices import enrolled_device
    from ops.wiring import current_settings, open_parts
    from treasury.withdrawal_approvals import approval_statement, approve_withdrawal

    settings = current_settings()
    deployment = load_deployment(settings.home, settings.chain_id)
    async with open_parts(settings) as parts:
        device = await enrolled_device(parts, key)
        async with parts.database.session() as session:
            said, approved_at, expires_at = await approval_statement(
                session, parts.clock, deployment, withdrawal_id=withdrawal_id
            )
        if not agree(said.decode()):
            return "not signed"
        async with parts.database.session() as session:
            approvals = await approve_withdrawal(
                session,
                parts.clock,
                deployment,
                device=device,
                withdrawal_id=withdrawal_id,
                approved_at=approved_at,
                expires_at=expires_at,
                signature=key.sign(said),
            )
    return f"signed; approved by {approvals}"
