"""``nugpay signer``: the signer process by itself, its key's rotation, and its policy's officers.

The commands below it are for the signer's own user: they write its key, its log and
its policy, which nobody else may.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from foundation.settings import Settings

SUPERVISED_TRIES_MAX = 5
"""How often a signer that ``up`` starts again is ended, until its log can be had."""

app = typer.Typer(help="Be the signer process; rotate its key; say which officers it believes.")


@app.callback(invoke_without_command=True)
def command(context: typer.Context) -> None:
    """Be the signer process: it alone has the hot key, and its own caps."""
    if context.invoked_subcommand is not None:
        return
    from ops.wiring import current_settings, run_signer

    run_signer(current_settings())


@app.command("rotate")
def rotate() -> None:
    """Give the signer a new key; refused while anything of the old one is not final.

    The signer must be stopped; that of ``nugpay up`` is, and comes back by itself. On a
    real chain the vault's administrator makes the calls that are printed, and the command
    is run again; the development chain's are made here.
    """
    typer.echo(asyncio.run(_rotate()))


@app.command("reload")
def reload() -> None:
    """Have the running signer read its policy again: whole, or not at all.

    A policy that is not valid is refused here already. Without ``nugpay up`` send the
    signer's process SIGHUP; its log says what came of it.
    """
    from ops.signer_reload import reload_signer
    from ops.wiring import current_settings

    typer.echo(reload_signer(current_settings()))


@app.command("policy")
def policy() -> None:
    """Print the policy's file, which the signer has from its next reload or start on."""
    import msgspec

    from chain.signer_policy import load_policy
    from ops.wiring import current_settings

    loaded = load_policy(current_settings().home)
    typer.echo(msgspec.json.format(msgspec.json.encode(loaded), indent=2).decode())


@app.command("trust")
def trust(
    name: Annotated[str, typer.Argument(help="The officer's name, as it is to stand in the log.")],
    key: Annotated[Path, typer.Argument(help="A file with the device's public key as a JSON Web Key.")],
    known_as: Annotated[
        list[str], typer.Option(help="Ids of the officer's person and wallet; once for each.")
    ],
) -> None:
    """Believe an officer's device from the signer's next reload on; an earlier key of the name goes."""
    typer.echo(_trust(name, json.loads(key.read_text()), tuple(UUID(one) for one in known_as)))


@app.command("distrust")
def distrust(name: Annotated[str, typer.Argument(help="The officer's name in the policy.")]) -> None:
    """Believe an officer no more, from the signer's next reload on."""
    typer.echo(_distrust(name))


async def _rotate() -> str:
    from chain.deployments import load_deployment
    from chain.key_providers import KEYSTORE
    from chain.keystore import ADMINISTRATOR_KEY, development_key
    from chain.rotation import rotate_signer
    from chain.rpc import RPC
    from chain.signing_log import SigningLogInUse
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts

    settings = current_settings()
    if settings.signer_key_service != KEYSTORE:
        raise OperationError(
            f"The key service {settings.signer_key_service} holds the signer's key, not the keystore",
            "Rotate it there, and give its address the vault's role as docs/signer.md describes.",
        )
    deployment = load_deployment(settings.home, settings.chain_id)
    development = settings.environment == "development"
    administrator = development_key(settings.home, ADMINISTRATOR_KEY) if development else None
    rpc = RPC(settings.rpc_url)
    try:
        async with open_parts(settings) as parts:
            for _ in range(SUPERVISED_TRIES_MAX):
                _end_supervised(settings)
                # A signer that was started again in between has its log open: once more.
                with contextlib.suppress(SigningLogInUse):
                    rotation = await rotate_signer(
                        parts.database,
                        rpc,
                        parts.clock,
                        settings.home,
                        deployment,
                        administrator=administrator,
                    )
                    break
            else:
                raise OperationError("The signer runs", "Stop it first; it is started again afterwards.")
    finally:
        await rpc.close()
    if rotation.is_done:
        return (
            f"rotated from {rotation.old} to {rotation.new}; the signer's next start is with the new key\n"
            f"The old key has no role any more and is kept, with what gas money it has."
        )
    calls = "\n".join(call.text() for call in rotation.calls)
    return (
        f"The new key is {rotation.new}; send it gas money. The vault's administrator calls:\n{calls}\n"
        "Then run this again. Until it is done, withdrawals wait."
    )


def _end_supervised(settings: Settings) -> None:
    """End the signer of this home's ``up``, if there is one; its supervisor starts it again."""
    from ops.processes import end_processes
    from ops.signer_reload import supervised_signer

    mark = supervised_signer(settings)
    end_processes([mark] if mark is not None else [])


def _trust(name: str, jwk: dict[str, str], known_as: tuple[UUID, ...]) -> str:
    import msgspec

    from chain.signer_policy import OfficerText, load_policy, write_policy
    from identity.keys import PublicKey
    from ops.wiring import current_settings

    home = current_settings().home
    policy = load_policy(home)
    others = tuple(officer for officer in policy.officers if officer.name != name)
    changed = msgspec.structs.replace(policy, officers=(*others, OfficerText(name, jwk, known_as)))
    # Read as the signer will read it, so that what it would not start with is not written.
    [key_id] = [one.key.key_id for one in changed.officers_with(PublicKey.from_jwk) if one.name == name]
    write_policy(home, changed)
    return f"the signer believes {name} (key {key_id}) from its next reload or start on"


def _distrust(name: str) -> str:
    import msgspec

    from chain.signer_policy import load_policy, write_policy
    from ops.errors import OperationError
    from ops.wiring import current_settings

    home = current_settings().home
    policy = load_policy(home)
    others = tuple(officer for officer in policy.officers if officer.name != name)
    if others == policy.officers:
        raise OperationError(f"The policy names no officer {name}", "./nugpay signer policy shows it.")
    write_policy(home, msgspec.structs.replace(policy, officers=others))
    return f"the signer does not believe {name} from its next reload or start on"
