"""``nugpay contracts``: build the contracts, and have them on the chain."""

from __future__ import annotations

import typer

app = typer.Typer(help="Build and deploy the contracts.", no_args_is_help=True)


@app.command("build")
def build() -> None:
    """Compile the Solidity sources and write the committed ABI and bytecode."""
    from chain.artifacts import ARTIFACTS_DIR
    from ops.forge import build_artifacts

    for name, content in build_artifacts().items():
        path = ARTIFACTS_DIR / f"{name}.json"
        changed = not path.exists() or path.read_bytes() != content
        if changed:
            path.write_bytes(content)
        typer.echo(f"{name}: {'written' if changed else 'as before'}")


@app.command("deploy")
def deploy() -> None:
    """Have the contracts on the node's chain: deployed in development, verified anywhere else."""
    import asyncio

    from chain.rpc import RPC
    from ops.chain_setup import prepare_contracts
    from ops.wiring import current_settings

    async def have_them() -> None:
        settings = current_settings()
        rpc = RPC(settings.rpc_url)
        try:
            deployment = await prepare_contracts(settings, rpc)
        finally:
            await rpc.close()
        typer.echo(f"vault  {deployment.vault}")
        for code, token in deployment.tokens.items():
            typer.echo(f"{code:<6} {token.address}")

    asyncio.run(have_them())
