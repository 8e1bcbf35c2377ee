"""Payments of debts: an operator settles one out of the debtor's wallet, or two officers write it off.

    1  decide   one database transaction: the decision, under an id of its own
    2  pay      the ledger: less is owed and the money moves, both or neither
    3  close    the ledger's word is noted, for lists

The process may die between any two; the same call with the same id goes on where it
stands. That no more is paid than is owed, and than the payer has, is the ledger's to
say: nothing here reads a balance first. Neither way makes money. A settlement takes what
the debtor has, a write-off what the bank has earned and not spent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal
from foundation.money import Money
from identity.officers import deciders
from identity.roles import RIGHTS, Action
from ledger.contract import CreateTransferResult, CreateTransferStatus
from ledger.interface import Ledger
from treasury.debt_models import DebtPaymentKind, TreasuryDebtPayment
from treasury.debt_transfers import payment_of, payment_transfer_id
from treasury.debts import DebtPayment, payment_view
from treasury.deposit_transfers import AnyDeposit
from treasury.errors import TreasuryCode
from treasury.models import TreasuryDeposit, TreasuryReversedDeposit
from treasury.repayments import close_debts, has_repaid, open_debt, origins_of

_DONE = frozenset({CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS})
_DEBT_REFUSES = frozenset(
    {
        CreateTransferStatus.EXCEEDS_DEBITS,
        # Of all debts together less is left than that.
        CreateTransferStatus.EXCEEDS_CREDITS,
        CreateTransferStatus.ID_ALREADY_FAILED,
    }
)
_PAYER_REFUSES = frozenset(
    {
        CreateTransferStatus.DEBIT_ACCOUNT_NOT_FOUND,
        CreateTransferStatus.DEBIT_ACCOUNT_ALREADY_CLOSED,
        CreateTransferStatus.EXCEEDS_CREDITS,
        # An amount near the end of 64 bits; nobody has that much.
        CreateTransferStatus.OVERFLOWS_DEBITS_POSTED,
        CreateTransferStatus.OVERFLOWS_DEBITS,
        # The share was taken, so it was the payer who failed the last time.
        CreateTransferStatus.ID_ALREADY_FAILED,
    }
)

_DETAILS: Final = {
    TreasuryCode.DEBT_IS_LESS: "Less is owed than that, or nothing any more. Decide again with a new id.",
    TreasuryCode.DEBTOR_HAS_LESS: "The debtor's wallet has less, is closed, or is nobody's. "
    "Decide again with a new id.",
    TreasuryCode.FEES_ARE_LESS: "The bank has earned less fees than that. Decide again with a new id.",
}


async def settle_debt(
    database: Database,
    ledger: Ledger,
    clock: Clock,
    *,
    payment_id: UUID,
    deposit_id: UUID,
    amount: Money,
    decided_by: Collection[str] = (),
) -> DebtPayment:
    """Take ``amount`` of a debt out of the debtor's own wallet. Safe to repeat with the same id.

    Refused as ``debt_amount_not_positive``, ``debt_not_found``, ``debt_not_final``,
    ``debt_payment_exists_differently``, ``debt_is_less`` or ``debtor_has_less``.
    ``LedgerUnavailable``: repeat with the same id.
    """
    decision = TreasuryDebtPayment(
        id=payment_id,
        deposit_id=deposit_id,
        kind=DebtPaymentKind.SETTLEMENT,
        amount=amount.minor,
        decided_by=_names(decided_by),
        reason="",
        created_at=clock.now(),
    )
    return await _pay(database, ledger, clock, decision, amount)


async def write_off_debt(
    database: Database,
    ledger: Ledger,
    clock: Clock,
    *,
    payment_id: UUID,
    deposit_id: UUID,
    amount: Money,
    decided_by: Collection[str],
    reason: str,
    debtor: UUID | None = None,
) -> DebtPayment:
    """Cover ``amount`` of a debt with fees that the bank has earned. Safe to repeat with the same id.

    ``decided_by`` are the names of at least two officers who are in office when it is first
    asked for; ``debtor`` is the person who owes it, and cannot be one of them. Refused as
    ``settle_debt``, with ``debt_decided_by_too_few`` before
    ``debt_payment_exists_differently``, and ``fees_are_less`` in place of ``debtor_has_less``.
    """
    decision = TreasuryDebtPayment(
        id=payment_id,
        deposit_id=deposit_id,
        kind=DebtPaymentKind.WRITE_OFF,
        amount=amount.minor,
        decided_by=_names(decided_by),
        reason=reason.strip(),
        created_at=clock.now(),
    )
    return await _pay(database, ledger, clock, decision, amount, debtor)


async def debt_deposit(session: AsyncSession, deposit_id: UUID) -> TreasuryReversedDeposit:
    """The reversed deposit that a debt is. Refused as ``debt_not_found``."""
    row = await session.get(TreasuryReversedDeposit, deposit_id)
    if row is None:
        raise Refusal(TreasuryCode.DEBT_NOT_FOUND, "No reversed deposit has this id.")
    return row


def _names(names: Collection[str]) -> str:
    return ", ".join(sorted({name.strip() for name in names if name.strip()}))


async def _pay(
    database: Database,
    ledger: Ledger,
    clock: Clock,
    decision: TreasuryDebtPayment,
    amount: Money,
    debtor: UUID | None = None,
) -> DebtPayment:
    async with database.session() as session:
        row = await debt_deposit(session, decision.deposit_id)
        kept = await session.get(TreasuryDebtPayment, decision.id)
    if amount.asset.code != row.asset:
        raise Refusal(
            TreasuryCode.DEBT_NOT_FOUND, f"This deposit was in {row.asset}, not in {amount.asset.code}."
        )
    if kept is None:
        _refuse_amount(row, decision)
        if not await open_debt(ledger, row):
            raise Refusal(TreasuryCode.DEBT_NOT_FOUND, "This deposit has left nothing owed.")
        async with database.session() as session:
            await _refuse_too_few(session, decision, debtor)
            kept = await _decide(session, decision)
    _refuse_different(kept, decision)
    # Dies here: a decision without effect, listed as such; the same call carries it out.
    if not await ledger.lookup_transfers([payment_transfer_id(kept.id).int]):
        if kept.refusal_code is not None:
            raise _refused(TreasuryCode(kept.refusal_code))
        await _close_if_mined_again(database, ledger, row)
        refusal = await _move(ledger, row, kept)
        # Dies here: the ledger gives the same answer to the same ids for ever.
        if refusal is not None:
            await _close(database, clock, kept.id, refusal)
            raise _refused(refusal)
    await _close(database, clock, kept.id, None)
    return await payment_view(ledger, kept, row.asset)


def _refuse_amount(row: TreasuryReversedDeposit, decision: TreasuryDebtPayment) -> None:
    if decision.amount <= 0:
        raise Refusal(TreasuryCode.DEBT_AMOUNT_NOT_POSITIVE, "A payment of a debt pays something.")
    if row.corrected_at is None:
        raise Refusal(
            TreasuryCode.DEBT_NOT_FINAL, "The deposit is not corrected yet; what it leaves owed is not known."
        )


async def _refuse_too_few(session: AsyncSession, decision: TreasuryDebtPayment, debtor: UUID | None) -> None:
    if decision.kind != DebtPaymentKind.WRITE_OFF:
        return
    action = Action.WRITE_OFF_DEBT
    names = await deciders(session, action, decision.decided_by.split(", "), subjects=[debtor])
    if names is None or not decision.reason:
        rule = RIGHTS[action]
        raise Refusal(
            TreasuryCode.DEBT_DECIDED_BY_TOO_FEW,
            f"A debt is written off by {rule.persons} different officers in office who are "
            f"{' or '.join(sorted(rule.roles))}, with a reason, and not by the debtor.",
        )


async def _decide(session: AsyncSession, decision: TreasuryDebtPayment) -> TreasuryDebtPayment:
    columns = TreasuryDebtPayment.__table__.columns.keys()
    values = {name: getattr(decision, name) for name in columns}
    await session.execute(insert(TreasuryDebtPayment).values(values).on_conflict_do_nothing())
    # Where another call with this id came first, the insert has waited for it to commit.
    return await session.get_one(TreasuryDebtPayment, decision.id)


def _refuse_different(kept: TreasuryDebtPayment, decision: TreasuryDebtPayment) -> None:
    for name in ("deposit_id", "kind", "amount", "decided_by", "reason"):
        if getattr(kept, name) != getattr(decision, name):
            raise Refusal(
                TreasuryCode.DEBT_PAYMENT_EXISTS_DIFFERENTLY,
                f"The id was used for a payment with another {name}.",
                field=name,
            )


async def _close_if_mined_again(database: Database, ledger: Ledger, row: TreasuryReversedDeposit) -> None:
    """What the chain has again pays its debt itself: a payment of it comes too late."""
    if row.again_id is None:
        return
    async with database.session() as session:
        again: AnyDeposit | None = await session.get(TreasuryDeposit, row.again_id)
        if again is None:
            again = gone = await session.get_one(TreasuryReversedDeposit, row.again_id)
            # Corrected, it will pay nothing that it has not paid: the debt is still this one.
            if gone.corrected_at is not None and not await has_repaid(ledger, gone.id):
                return
    await close_debts(ledger, again, await origins_of(database, again.again_of))


async def _move(
    ledger: Ledger, row: TreasuryReversedDeposit, payment: TreasuryDebtPayment
) -> TreasuryCode | None:
    """Make the two transfers, or say whose limit they broke."""
    settles = payment.kind == DebtPaymentKind.SETTLEMENT
    payer = TreasuryCode.DEBTOR_HAS_LESS if settles else TreasuryCode.FEES_ARE_LESS
    if settles and row.wallet_id is None:
        return payer
    share, money = _statuses(await ledger.create_transfers(payment_of(row, payment)))
    # A chain that was made before answers so to its first member; it exists whole.
    if share is CreateTransferStatus.EXISTS or {share, money} <= _DONE:
        return None
    if share in _DEBT_REFUSES:
        return TreasuryCode.DEBT_IS_LESS
    if share is CreateTransferStatus.LINKED_EVENT_FAILED and money in _PAYER_REFUSES:
        return payer
    # All debts together are less than what is counted of each: somebody has paid one by a
    # transfer of their own.
    if share is CreateTransferStatus.LINKED_EVENT_FAILED and money is CreateTransferStatus.EXCEEDS_DEBITS:
        return TreasuryCode.DEBT_IS_LESS
    raise InvariantViolation(f"payment {payment.id} of a debt: {share.name}, {money.name}")


def _statuses(results: Sequence[CreateTransferResult]) -> tuple[CreateTransferStatus, CreateTransferStatus]:
    share, money = results
    return share.status, money.status


async def _close(database: Database, clock: Clock, payment: UUID, refusal: TreasuryCode | None) -> None:
    async with database.session() as session:
        await session.execute(
            update(TreasuryDebtPayment)
            .where(TreasuryDebtPayment.id == payment, TreasuryDebtPayment.closed_at.is_(None))
            .values(closed_at=clock.now(), refusal_code=refusal)
        )


def _refused(code: TreasuryCode) -> Refusal:
    return Refusal(code, _DETAILS[code])
