"""``nugpay review``: withdrawals that were let through and that officers look at."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look at withdrawals by which much passed through.")


@app.command("list")
def show() -> None:
    """List what nobody has looked at yet, the oldest first."""
    typer.echo(asyncio.run(_list()))


@app.command("close")
def close(
    withdrawal: Annotated[str, typer.Argument(help="The withdrawal's id, as review list shows it.")],
    by: Annotated[str, typer.Option(help="The officer who looked at it.")],
    reason: Annotated[str, typer.Option(help="What they found, in a few words.")],
) -> None:
    """Close one by an officer's word; closed already, it stays as it was closed."""
    typer.echo(asyncio.run(_close(withdrawal, by, reason)))


async def _list() -> str:
    from ops.wiring import current_settings, open_parts
    from treasury.reviews import open_reviews

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        found = await open_reviews(session)
    lines = [
        f"{one.withdrawal_id}  {one.amount}  of wallet {one.wallet_id}  {one.passed_in_week} in a week  "
        f"since {one.opened_at.isoformat()}"
        for one in found
    ]
    return "\n".join(lines) or "nothing to look at"


async def _close(withdrawal: str, by: str, reason: str) -> str:
    from foundation.ids import parse_id
    from identity.officers import officers_who_may
    from identity.roles import Action
    from ops.errors import OperationError
    from ops.wiring import current_settings, open_parts
    from treasury.reviews import close_review

    async with open_parts(current_settings()) as parts, parts.database.session() as session:
        persons = await officers_who_may(session, [by], Action.CLOSE_REVIEW)
        if by not in persons:
            raise OperationError(
                f"There is no officer of compliance called {by}", "./nugpay officers list shows who there is."
            )
        closed = await close_review(
            session,
            parts.clock,
            withdrawal_id=parse_id(withdrawal),
            person_id=persons[by],
            name=by,
            reason=reason,
        )
    return f"closed by {closed.closed_by}: {closed.reason}"
