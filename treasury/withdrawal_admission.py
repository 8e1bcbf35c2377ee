"""Withdrawal admission: between money that is held and an order that may be signed.

    hold ──▶ room of young funds ──▶ review, if much passes through ──▶ approval
                    └──▶ refused: never signed ──▶ given back ──▶ closed

The request does this at once, so that the customer hears it; the worker does it again
for whatever is not approved, since the request may have died anywhere in here. Both ask
the ledger the same question and get the same answer (treasury.young_funds).
"""

from __future__ import annotations

from sqlalchemy import update

from chain.orders import revoke_order
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from ledger.interface import Ledger
from treasury.models import TreasuryWithdrawal
from treasury.reviews import open_review
from treasury.withdrawal_transfers import return_withdrawal
from treasury.young_funds import admit, give_room_back, young_refusal


async def admit_withdrawal(
    database: Database, ledger: Ledger, clock: Clock, row: TreasuryWithdrawal
) -> Refusal | None:
    """Let a held withdrawal go on, or write down why not and return that refusal.

    What is refused is not given back yet: see ``give_back_refused``.
    """
    admission = await admit(ledger, row)
    if admission.refused_by is not None:
        refusal = await young_refusal(ledger, clock, row, admission)
        async with database.session() as session:
            await session.execute(
                update(TreasuryWithdrawal)
                .where(TreasuryWithdrawal.id == row.id, TreasuryWithdrawal.refusal_code.is_(None))
                .values(refusal_code=str(refusal.code))
            )
        return refusal
    if admission.passed_in_week is not None:
        # Before the approval: dying in between leaves a withdrawal that is not approved, and
        # whoever approves it asks here first.
        async with database.session() as session:
            await open_review(
                session,
                clock,
                withdrawal_id=row.id,
                passing=admission.parts.passing,
                passed_in_week=admission.passed_in_week,
            )
    return None


async def give_back_refused(
    database: Database, ledger: Ledger, clock: Clock, row: TreasuryWithdrawal
) -> None:
    """Give a refused withdrawal's money back at once, if nothing can be signed for it any more."""
    async with database.session() as session:
        if not await revoke_order(session, clock, row.id):
            # Signed after all, as a database that was restored may not know: the worker and
            # the chain decide, and until then the money stays held.
            return
    # Dies here: revoked and held; the worker gives back what is revoked.
    await return_withdrawal(ledger, row)
    await give_room_back(ledger, row)
    # Dies here: given back; the worker closes what is.
    async with database.session() as session:
        await session.execute(
            update(TreasuryWithdrawal)
            .where(TreasuryWithdrawal.id == row.id, TreasuryWithdrawal.closed_at.is_(None))
            .values(closed_at=clock.now())
        )
