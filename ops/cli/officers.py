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

    from identity.officer_decisions import OfficerDecision
    from identity.roles import Role

app = typer.Typer(no_args_is_help=True, help="Who the officers are, what they may do, and large withdrawals.")

Name = Annotated[str, typer.Argument(help="The officer's name.")]
"""Which officer is meant."""

RoleOption = Annotated[
    list[str],
    typer.Option("--role", help="operator, support, compliance, treasury or auditor; once for each."),
]
"""What they may do."""

By = Annotated[
    list[str] | None,
    typer.Option(help="An operator who decided it; once for each of two. Left out until there are two."),
]
"""Who decided it."""

Reason = Annotated[str, typer.Option(help="Why, for those who look later.")]
"""Why it was decided."""


@app.command("list")
def show() -> None:
    """List the officers with their roles, and say whether the chain of decisions holds."""
    typer.echo(asyncio.run(_list()))


@app.command("decisions")
def decisions() -> None:
    """Print everything that was decided of officers, oldest first."""
    typer.echo(asyncio.run(_decisions()))


@app.command("rights")
def rights() -> None:
    """Print which roles may do what, and how many officers it takes."""
    typer.echo(_rights())


@app.command("appoint")
def appoint(
    handle: Annotated[str, typer.Argument(help="The handle of the officer's own wallet.")],
    name: Name,
    role: RoleOption,
    reason: Reason,
    by: By = None,
) -> None:
    """Make a person an officer; of treasury, print what the signer's owner needs to believe them.

    Two operators decide it. The first two are made by this command alone.
    """
    typer.echo(asyncio.run(_appoint(handle, name, role, by or [], reason)))


@app.command("roles")
def change_roles(name: Name, role: RoleOption, reason: Reason, by: By = None) -> None:
    """Give an officer exactly these roles, as two operators decide."""
    typer.echo(asyncio.run(_roles(name, role, by or [], reason)))


@app.command("dismiss")
def dismiss(name: Name, reason: Reason, by: By = None) -> None:
    """Close the officers' routes to one, as two operators decide; the signer's policy is told apart."""
    typer.echo(asyncio.run(_dismiss(name, by or [], reason)))


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


def _parsed(texts: list[str]) -> list[Role]:
    from identity.roles import Role
    from ops.errors import OperationError

    unknown = [one for one in texts if one not in set(Role)]
    if unknown:
        raise OperationError(f"There is no role {unknown[0]}", f"The roles are {', '.join(Role)}.")
    return [Role(one) for one in texts]


async def _list() -> str:
    from identity.officer_decisions import check_decisions, officer_decisions
    from identity.officers import list_officers
    from ops.wiring import current_settings, open_parts

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        officers = await list_officers(session)
        made = await officer_decisions(session)
        wrong = await check_decisions(session)
    lines = [
        f"{one.name}  {', '.join(sorted(one.roles)) or 'no role'}  since {one.appointed_at.isoformat()}"
        for one in officers
    ] or ["there are no officers"]
    newest = f", the newest {made[-1].hash.hex()}: keep it elsewhere" if made else ""
    return "\n".join([*lines, *wrong, f"{len(made)} decisions{newest}"])


async def _decisions() -> str:
    from identity.officer_decisions import officer_decisions
    from ops.wiring import current_settings, open_parts

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        made = await officer_decisions(session)
    lines = [
        f"{one.number}  {one.decided_at.isoformat()}  {one.name} {one.kind} {', '.join(one.roles)}  "
        f"by {', '.join(one.decided_by) or 'the command'}: {one.reason}"
        for one in made
    ]
    return "\n".join(lines) or "nothing was decided of officers"


def _rights() -> str:
    from identity.roles import RIGHTS

    return "\n".join(
        f"{action}  {', '.join(sorted(rule.roles))}  {rule.persons}"
        + ("" if rule.subjects_may else "  nobody whom it is about")
        for action, rule in RIGHTS.items()
    )


async def _appoint(handle: str, name: str, role: list[str], by: list[str], reason: str) -> str:
    from identity.devices import DeviceDirectory, list_devices
    from identity.officer_decisions import decide_appointment
    from identity.roles import Role
    from ledger.client import LedgerClient
    from ledger.door.tls import client_context
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from wallets.wallets import WalletDirectory

    settings, roles = current_settings(), _parsed(role)
    ledger = LedgerClient(settings.ledger_address, tls=client_context(settings))
    try:
        async with open_parts(settings) as parts:
            wallet = await WalletDirectory(parts.database, ledger, parts.clock).by_handle(
                handle.removeprefix("@")
            )
            if wallet is None:
                raise OperationError(f"There is no wallet {handle}", "The officer opens one first.")
            async with parts.database.session() as session:
                made = await decide_appointment(
                    session,
                    parts.clock,
                    person_id=wallet.person_id,
                    name=name,
                    roles=roles,
                    decided_by=by,
                    reason=reason,
                )
                devices = [one for one in await list_devices(session, wallet.person_id) if not one.revoked_at]
            directory = DeviceDirectory(parts.database)
            found = [await directory.find(one.key_id) for one in devices]
    finally:
        await ledger.close()
    told = _told(made)
    # Whose signatures move money is the signer's owner's to say, and of nobody else they hear.
    if Role.TREASURY not in roles:
        return told
    keys = "\n".join(json.dumps(device.key.to_jwk()) for device in found if device is not None)
    return (
        f"{told}\nOn the signer's machine, once the officer has read their key to you:\n"
        f"  ./nugpay signer trust {name} KEY.json --known-as {wallet.person_id} --known-as {wallet.id}\n"
        f"Keys of their devices, of which KEY.json has one:\n{keys}"
    )


async def _roles(name: str, role: list[str], by: list[str], reason: str) -> str:
    from identity.officer_decisions import decide_roles
    from identity.roles import Role
    from ops.wiring import current_settings, open_parts

    roles = _parsed(role)
    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        made = await decide_roles(session, parts.clock, name=name, roles=roles, decided_by=by, reason=reason)
    advice = "trust" if Role.TREASURY in roles else "distrust"
    return f"{_told(made)}; on the signer's machine: ./nugpay signer {advice} {name}"


async def _dismiss(name: str, by: list[str], reason: str) -> str:
    from identity.officer_decisions import decide_dismissal
    from ops.wiring import current_settings, open_parts

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        made = await decide_dismissal(session, parts.clock, name=name, decided_by=by, reason=reason)
    return f"{_told(made)}; on the signer's machine: ./nugpay signer distrust {name}"


def _told(made: OfficerDecision) -> str:
    held = f" as {', '.join(made.roles)}" if made.roles else ""
    return f"decision {made.number}: {made.name} {made.kind}{held}"


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
