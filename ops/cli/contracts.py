"""``nugpay contracts``: build the contracts, examine them, and have them on the chain."""

from __future__ import annotations

import typer

app = typer.Typer(help="Build, examine and deploy the contracts.", no_args_is_help=True)


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


@app.command("gas")
def gas() -> None:
    """Measure what each action costs and write the committed snapshot."""
    from ops.forge import GAS_SNAPSHOT, decode_gas, encode_gas, measure_gas

    before = decode_gas(GAS_SNAPSHOT.read_bytes()) if GAS_SNAPSHOT.exists() else {}
    figures = measure_gas()
    GAS_SNAPSHOT.parent.mkdir(exist_ok=True)
    GAS_SNAPSHOT.write_bytes(encode_gas(figures))
    for action, units in sorted(figures.items()):
        typer.echo(f"{action:<50} {units:>10,} {units - before.get(action, units):>+8,}")


@app.command("slither")
def slither() -> None:
    """Look for known mistakes in the contracts; fails if one is found that nothing explains."""
    from ops.contract_tools import EXPLAINED, find_mistakes

    findings = find_mistakes()
    unexplained = [one for one in findings if not one.is_explained]
    for check in sorted({one.check for one in findings if one.is_explained}):
        count = sum(one.check == check for one in findings)
        typer.echo(f"{check} ({count}): {EXPLAINED[check]}")
    for one in unexplained:
        typer.echo(f"\n{one.impact}: {one.check}\n{one.description}", err=True)
    typer.echo(f"slither: {len(findings)} findings, {len(unexplained)} unexplained")
    raise typer.Exit(code=1 if unexplained else 0)


@app.command("halmos")
def halmos() -> None:
    """Prove the contracts' central properties for all inputs; takes minutes."""
    from ops.contract_tools import prove_properties

    proofs = prove_properties()
    for proof in proofs:
        wanted = "refuted" if proof.name.startswith("refute_") else "proved"
        typer.echo(f"{wanted if proof.settled else 'NOT ' + wanted.upper():<12} {proof.name}")
    raise typer.Exit(code=0 if proofs and all(proof.settled for proof in proofs) else 1)


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
