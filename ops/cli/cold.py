"""``nugpay cold``: the cold address, and moves of tokens to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chain.rpc import RPC
    from ops.wiring import Parts
    from treasury.cold_models import TreasuryColdMove
    from treasury.custody import Custody

app = typer.Typer(no_args_is_help=True, help="The cold address, and moves of tokens from the vault to it.")

Move = Annotated[str, typer.Argument(help="The move's id.")]
"""A move, as ``cold show`` lists it."""

By = Annotated[str, typer.Option(help="Who decided it.")]
"""The name that is written down."""


@app.command("show")
def show() -> None:
    """Say which address the vault names, which count as custody, and how far the newest moves are."""
    typer.echo(asyncio.run(_show()))


@app.command("record")
def record(
    address: Annotated[str, typer.Argument(help="The vault's cold address, as you know it: 0x…")],
    officer: Annotated[list[str], typer.Option(help="Who decided it; give it once for each officer.")],
) -> None:
    """Count the vault's cold address as custody from now on, by decision of two officers.

    Both are officers now, as treasury. Until this is done, what is moved there has left the
    bank: the breaker trips.
    """
    typer.echo(asyncio.run(_record(address, officer)))


@app.command("move")
def move(
    asset: Annotated[str, typer.Argument(help="Such as USDT.")],
    amount: Annotated[str, typer.Argument(help="How much, such as 250000.")],
    by: By,
    move_id: Annotated[
        str | None, typer.Option("--id", help="The id that an earlier try printed: then it is the same move.")
    ] = None,
) -> None:
    """Have tokens moved from the vault to its cold address; the worker does it, also while stopped.

    The id is printed first. Where an answer is lost, give the same id again: nothing moves twice.
    """
    typer.echo(asyncio.run(_move(asset, amount, by, move_id)))


@app.command("approve")
def approve(move: Move, by: By) -> None:
    """Have a move carried out that the worker proposed."""
    typer.echo(asyncio.run(_approve(move, by)))


@app.command("give-up")
def give_up(move: Move) -> None:
    """Take back a move for which nothing is signed yet."""
    typer.echo(asyncio.run(_give_up(move)))


@contextlib.asynccontextmanager
async def _open() -> AsyncIterator[tuple[Parts, RPC, Custody]]:
    from chain.deployments import load_deployment
    from chain.rpc import RPC
    from ops.wiring import current_settings, open_parts
    from treasury.custody import custody_of

    settings = current_settings()
    rpc = RPC(settings.rpc_url)
    try:
        async with open_parts(settings) as parts:
            yield parts, rpc, custody_of(load_deployment(settings.home, settings.chain_id))
    finally:
        await rpc.close()


async def _show() -> str:
    from chain.addresses import checksum
    from treasury.cold_addresses import recorded_cold_addresses, vaults_cold_address
    from treasury.cold_moves import list_cold_moves

    async with _open() as (parts, rpc, custody):
        named = await vaults_cold_address(rpc, custody)
        async with parts.database.session() as session:
            recorded = await recorded_cold_addresses(session, custody)
            moves = await list_cold_moves(session, custody)
    lines = [f"the vault names {checksum(named) if named is not None else 'no cold address'}"]
    lines += [
        f"custody  {checksum(one.address)}  since {one.recorded_at.isoformat()}  by {one.recorded_by}"
        for one in recorded
    ]
    if named is not None and named not in {one.address for one in recorded}:
        lines.append("What the vault names is not recorded: nothing is moved there. ./nugpay cold record")
    return "\n".join([*lines, *(_line(one) for one in moves)])


def _line(move: TreasuryColdMove) -> str:
    from foundation.assets import asset_by_code
    from foundation.money import Money

    if move.closed_at is not None:
        state = str(move.outcome)
    else:
        state = "proposed" if move.approved_by is None else "under way"
    amount = Money(move.amount, asset_by_code(move.asset))
    return f"{move.id}  {amount}  {state}  asked by {move.asked_by} at {move.created_at.isoformat()}"


async def _record(address: str, officers: list[str]) -> str:
    from identity.officers import deciders
    from identity.roles import RIGHTS, Action
    from ops.errors import OperationError
    from treasury.cold_addresses import record_cold_address

    action = Action.RECORD_COLD_ADDRESS
    async with _open() as (parts, rpc, custody):
        async with parts.database.session() as session:
            names = await deciders(session, action, officers)
        if names is None:
            needed = " or ".join(sorted(RIGHTS[action].roles))
            raise OperationError(
                f"It takes {RIGHTS[action].persons} officers who are {needed} to say what is the bank's",
                "Name them: --officer NAME --officer NAME",
            )
        made = await record_cold_address(
            parts.database, rpc, parts.clock, custody, address=address, recorded_by=", ".join(names)
        )
    return f"{address} counts as custody " + ("from now on" if made else "already")


async def _move(asset: str, amount: str, by: str, move_id: str | None) -> str:
    from foundation.assets import asset_by_code
    from foundation.ids import parse_id, uuid7
    from foundation.money import Money
    from treasury.cold_moves import ask_cold_move

    money = Money.parse(amount, asset_by_code(asset))
    async with _open() as (parts, rpc, custody):
        chosen = uuid7(parts.clock) if move_id is None else parse_id(move_id)
        typer.echo(f"move {chosen}")
        made = await ask_cold_move(
            parts.database, rpc, parts.clock, custody, move_id=chosen, amount=money, asked_by=by
        )
    return _line(made)


async def _approve(move: str, by: str) -> str:
    from foundation.ids import parse_id
    from treasury.cold_moves import approve_cold_move

    async with _open() as (parts, _rpc, _custody), parts.database.session() as session:
        await approve_cold_move(session, parts.clock, move_id=parse_id(move), approved_by=by)
    return "approved; the worker carries it out"


async def _give_up(move: str) -> str:
    from foundation.ids import parse_id
    from treasury.cold_moves import give_up_cold_move

    async with _open() as (parts, _rpc, _custody), parts.database.session() as session:
        await give_up_cold_move(session, parts.clock, move_id=parse_id(move))
    return "given up; nothing of it is ever signed"
