"""Withdrawal quotes: the fee of a withdrawal, promised for a while.

A quote has an id, belongs to one wallet, is for one amount of one asset, and ends. A
withdrawal that names it has its fee, whatever the schedule says by then; one that
names none has the schedule's of the moment, to at most ``fee_max``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import CursorResult, delete
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.errors import Refusal
from foundation.ids import uuid7
from foundation.money import Money
from treasury.custody import Custody
from treasury.errors import TreasuryCode
from treasury.models import TreasuryWithdrawalQuote
from treasury.withdrawal_fees import withdrawal_fee

QUOTE_LIFETIME: Final = timedelta(minutes=10)
"""How long a fee is promised: time to read it and to agree on a slow line."""

QUOTE_KEPT: Final = timedelta(days=1)
"""How long after its end a quote is still known as expired, and not as unknown."""


@dataclass(frozen=True, slots=True)
class WithdrawalQuote:
    """A promised fee."""

    id: UUID
    amount: Money
    fee: Money
    expires_at: datetime


async def quote_withdrawal(
    session: AsyncSession, clock: Clock, custody: Custody, *, wallet_id: UUID, amount: Money
) -> WithdrawalQuote:
    """Promise the fee of now for ``amount`` to a wallet.

    Refused as ``asset_not_on_chain`` or ``withdrawal_amount_not_positive``. Each call
    makes a quote of its own: it moves nothing, so nothing is lost by asking twice.
    """
    custody.token_of(amount.asset)
    if amount.minor <= 0:
        raise Refusal(
            TreasuryCode.WITHDRAWAL_AMOUNT_NOT_POSITIVE, "The amount of a withdrawal is more than zero."
        )
    now = clock.now()
    quote = WithdrawalQuote(uuid7(clock), amount, withdrawal_fee(amount), now + QUOTE_LIFETIME)
    session.add(
        TreasuryWithdrawalQuote(
            id=quote.id,
            wallet_id=wallet_id,
            asset=amount.asset.code,
            amount=amount.minor,
            fee=quote.fee.minor,
            created_at=now,
            expires_at=quote.expires_at,
        )
    )
    return quote


async def quoted_fee(
    session: AsyncSession, clock: Clock, *, quote_id: UUID, wallet_id: UUID, amount: Money
) -> Money:
    """The fee that a quote promised.

    Refused as ``quote_not_found`` (another wallet's is not found either),
    ``quote_is_for_another`` or ``quote_expired``.
    """
    row = await session.get(TreasuryWithdrawalQuote, quote_id)
    if row is None or row.wallet_id != wallet_id:
        raise Refusal(TreasuryCode.QUOTE_NOT_FOUND, "There is no such quote of this wallet.")
    if (row.asset, row.amount) != (amount.asset.code, amount.minor):
        raise Refusal(TreasuryCode.QUOTE_IS_FOR_ANOTHER, "The quote was given for another asset or amount.")
    if clock.now() >= row.expires_at:
        raise Refusal(TreasuryCode.QUOTE_EXPIRED, "The quote's time is over.")
    return Money(row.fee, amount.asset)


async def forget_expired_quotes(session: AsyncSession, clock: Clock) -> int:
    """Delete quotes that ended a day ago; how many they were."""
    gone = await session.execute(
        delete(TreasuryWithdrawalQuote).where(TreasuryWithdrawalQuote.expires_at < clock.now() - QUOTE_KEPT)
    )
    assert isinstance(gone, CursorResult)
    return gone.rowcount
