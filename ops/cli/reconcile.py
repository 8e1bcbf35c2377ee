"""``nugpay reconcile``: compare both books now, and show what explains each difference."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from foundation.settings import Settings
    from treasury.custody_balances import UnitsByPlace
    from treasury.reserves import Reserves

DISAGREE = 3
"""Exit status when a unit is unexplained, or nothing has been compared yet."""


def command(
    *, json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False
) -> None:
    """Compare the tokens on chain with the ledger at the newest final block, and show each token's books.

    A block that was compared before is shown as it was. Ends with 0 when all books agree,
    with 3 when they do not or nothing is to be compared yet. A difference that nothing
    explains trips the breaker, as in the worker's own reconciliation.
    """
    import msgspec
    from rich.console import Console

    from ops.wiring import current_settings

    found = asyncio.run(_reconcile(current_settings()))
    agree = bool(found.reserves) and all(reserve.books.agrees for reserve in found.reserves)
    if json:
        typer.echo(msgspec.json.encode({"agree": agree, "books": _plain(found)}).decode())
    else:
        console = Console(soft_wrap=True)
        console.print(_table(found))
        if not found.reserves:
            console.print("nothing has become final yet")
        if found.trip is not None:
            console.print(f"[bold red]withdrawals are stopped:[/] {found.trip.reason}")
        if found.hold is not None:
            console.print(f"[bold red]crediting waits:[/] {found.hold}")
    raise typer.Exit(0 if agree else DISAGREE)


async def _reconcile(settings: Settings) -> Reserves:
    from chain.deployments import load_deployment
    from chain.rpc import RPC
    from ledger.client import LedgerClient
    from ledger.door.tls import client_context
    from ops.wiring import open_parts
    from treasury.custody import custody_of
    from treasury.reconciliation import reconcile
    from treasury.reserves import read_reserves

    custody = custody_of(load_deployment(settings.home, settings.chain_id))
    rpc, ledger = RPC(settings.rpc_url), LedgerClient(settings.ledger_address, tls=client_context(settings))
    try:
        async with open_parts(settings) as parts:
            await reconcile(parts.database, ledger, rpc, parts.clock, custody)
            async with parts.database.session() as session:
                return await read_reserves(session, custody)
    finally:
        await ledger.close()
        await rpc.close()


def _plain(found: Reserves) -> list[dict[str, object]]:
    return [
        {
            "asset": reserve.books.asset.code,
            "block_number": reserve.books.block_number,
            "block_hash": reserve.books.block_hash,
            "chain_units": str(reserve.books.chain_units),
            "places": _plain_places(reserve.books.places),
            "ledger_amount": str(reserve.books.ledger_amount),
            "dust_units": str(reserve.books.dust_units),
            "items": [
                {"kind": item.kind.value, "id": str(item.id), "units": str(item.units)}
                for item in reserve.books.items
            ],
            "unexplained_units": str(reserve.books.unexplained_units),
            "compared_at": reserve.created_at.isoformat(),
        }
        for reserve in found.reserves
    ]


def _plain_places(places: UnitsByPlace | None) -> dict[str, str] | None:
    if places is None:
        return None
    return {"hot": str(places.hot), "deposit": str(places.deposit), "cold": str(places.cold)}


def _table(found: Reserves) -> Table:
    from rich.table import Table

    from foundation.money import Money
    from treasury.custody import decimal_units

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("token", "block", "on chain", "in ledger", "what", "difference"):
        table.add_column(title, justify="right" if title not in {"token", "what"} else "left")
    for reserve in found.reserves:
        books, decimals = reserve.books, reserve.token.decimals
        on_chain = decimal_units(books.chain_units, decimals)
        ledger = Money(books.ledger_amount, books.asset).format()
        state = "agree" if books.agrees else "[bold red]UNEXPLAINED[/]"
        rest = decimal_units(books.unexplained_units, decimals)
        table.add_row(books.asset.code, f"{books.block_number:,}", on_chain, ledger, state, rest)
        if books.places is not None:
            for place in ("hot", "deposit", "cold"):
                units = decimal_units(getattr(books.places, place), decimals)
                table.add_row("", "", units, "", f"of which {place}", "")
        if books.dust_units:
            table.add_row("", "", "", "", "dust", decimal_units(books.dust_units, decimals))
        for item in books.items:
            table.add_row("", "", "", "", f"{item.kind.value} {item.id}", decimal_units(item.units, decimals))
    return table
