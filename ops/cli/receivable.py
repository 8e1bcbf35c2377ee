"""``nugpay receivable``: what a broken finality left owed, and who pays it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from ledger.client import LedgerClient
    from ops.wiring import Parts
    from treasury.debts import Debt, DebtPayment
    from treasury.models import TreasuryReversedDeposit

app = typer.Typer(
    no_args_is_help=True, help="Show what a broken finality left owed, settle it, write it off."
)

Deposit = Annotated[str, typer.Argument(help="The reversed deposit's id, as receivable show lists it.")]
"""Which debt is meant."""

Amount = Annotated[str, typer.Argument(help="How much, in the deposit's asset, such as 12.50.")]
"""How much of it."""

PaymentId = Annotated[
    str | None, typer.Option("--id", help="The id that an earlier try printed: then it is the same payment.")
]
"""The payment's own id."""


@app.command("show")
def show() -> None:
    """List who owes how much from which deposit, since when, and what was decided about it."""
    typer.echo(asyncio.run(_show()))


@app.command("settle")
def settle(
    deposit: Deposit,
    amount: Amount,
    by: Annotated[list[str] | None, typer.Option(help="Who decided it; may be given more than once.")] = None,
    payment_id: PaymentId = None,
) -> None:
    """Take what is owed out of the debtor's own wallet, never more than it has.

    The payment's id is printed first. Where an answer is lost, give the same id again:
    nothing is taken twice.
    """
    typer.echo(asyncio.run(_settle(deposit, amount, by or [], payment_id)))


@app.command("write-off")
def write_off(
    deposit: Deposit,
    amount: Amount,
    by: Annotated[list[str], typer.Option(help="An officer who decided it; give it once for each of them.")],
    reason: Annotated[str, typer.Option(help="Why, for those who look later.")],
    payment_id: PaymentId = None,
) -> None:
    """Have the bank bear what is owed, out of fees that it has earned, by decision of two officers.

    Both are officers now, and neither is the debtor. The payment's id is printed first; where
    an answer is lost, give the same id again.
    """
    typer.echo(asyncio.run(_write_off(deposit, amount, by, reason, payment_id)))


@contextlib.asynccontextmanager
async def _open() -> AsyncIterator[tuple[Parts, LedgerClient]]:
    from ledger.client import LedgerClient
    from ledger.door.tls import client_context
    from ops.wiring import current_settings, open_parts

    settings = current_settings()
    ledger = LedgerClient(settings.ledger_address, tls=client_context(settings))
    try:
        async with open_parts(settings) as parts:
            yield parts, ledger
    finally:
        await ledger.close()


async def _show() -> str:
    from chain.deployments import load_deployment
    from treasury.custody import custody_of
    from treasury.debts import list_debts

    async with _open() as (parts, ledger):
        custody = custody_of(load_deployment(parts.settings.home, parts.settings.chain_id))
        found = await list_debts(parts.database, ledger, custody)
    return "\n".join(line for debt in found for line in _lines(debt)) or "nothing is owed"


def _lines(debt: Debt) -> list[str]:
    first = (
        f"{debt.deposit_id}  {debt.owed} of {debt.owed_at_first}  {debt.state}  "
        f"wallet {debt.wallet_id or 'nobody'}  since {debt.since.isoformat()}"
    )
    return [first, *(f"  {_line(one)}" for one in debt.payments)]


def _line(payment: DebtPayment) -> str:
    parts = [str(payment.id), f"{payment.kind} {payment.amount}"]
    parts.append(
        payment.state if payment.refusal_code is None else f"{payment.state}: {payment.refusal_code}"
    )
    parts.append(f"by {payment.decided_by or 'an operator'} at {payment.decided_at.isoformat()}")
    if payment.reason:
        parts.append(payment.reason)
    return "  ".join(parts)


async def _settle(deposit: str, amount: str, by: list[str], payment_id: str | None) -> str:
    from foundation.assets import asset_by_code
    from foundation.money import Money
    from treasury.debt_payments import settle_debt

    async with _open() as (parts, ledger):
        row = await _deposit(parts, deposit)
        made = await settle_debt(
            parts.database,
            ledger,
            parts.clock,
            payment_id=_told(parts, payment_id),
            deposit_id=row.id,
            amount=Money.parse(amount, asset_by_code(row.asset)),
            decided_by=by,
        )
    return _line(made)


async def _write_off(deposit: str, amount: str, by: list[str], reason: str, payment_id: str | None) -> str:
    from foundation.assets import asset_by_code
    from foundation.money import Money
    from treasury.debt_payments import write_off_debt

    async with _open() as (parts, ledger):
        row = await _deposit(parts, deposit)
        made = await write_off_debt(
            parts.database,
            ledger,
            parts.clock,
            payment_id=_told(parts, payment_id),
            deposit_id=row.id,
            amount=Money.parse(amount, asset_by_code(row.asset)),
            decided_by=by,
            reason=reason,
            debtor=await _debtor(parts, ledger, row),
        )
    return _line(made)


async def _deposit(parts: Parts, deposit: str) -> TreasuryReversedDeposit:
    from foundation.ids import parse_id
    from treasury.debt_payments import debt_deposit

    async with parts.database.session() as session:
        return await debt_deposit(session, parse_id(deposit))


async def _debtor(parts: Parts, ledger: LedgerClient, row: TreasuryReversedDeposit) -> UUID | None:
    """The person who owes it, where it has an owner who is known."""
    from foundation.assets import asset_by_code
    from ledger.chart import wallet_account_id
    from wallets.wallets import WalletDirectory

    if row.wallet_id is None:
        return None
    account = wallet_account_id(row.wallet_id, asset_by_code(row.asset))
    found = await WalletDirectory(parts.database, ledger, parts.clock).by_accounts([account])
    return found[account].person_id if account in found else None


def _told(parts: Parts, payment_id: str | None) -> UUID:
    """The payment's id, printed before anything happens."""
    from foundation.ids import parse_id, uuid7

    chosen = uuid7(parts.clock) if payment_id is None else parse_id(payment_id)
    typer.echo(f"payment {chosen}")
    return chosen
