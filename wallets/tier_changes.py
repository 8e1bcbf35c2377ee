"""Tier changes: two officers decide how much a wallet may pay, and it stands written who and why.

The row and the wallet's new tier are one database transaction, so that there is no tier
that nobody decided. Room under limits follows by itself when the wallet next pays
(wallets.limits); what it has used stays used.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.errors import NUGPayError
from foundation.ids import uuid7
from identity.officers import deciders
from identity.roles import RIGHTS, Action
from wallets.handles import parse_handle
from wallets.models import WalletRow
from wallets.tier_models import TierChangeRow
from wallets.tiers import Tier


class TierChangeRefused(NUGPayError):
    """A tier was not changed; the text says why to an operator."""


@dataclass(frozen=True, slots=True)
class TierChange:
    """What was decided of a wallet's tier."""

    handle: str
    before: Tier
    after: Tier
    decided_by: tuple[str, ...]
    reason: str
    decided_at: datetime


async def change_tier(
    session: AsyncSession,
    clock: Clock,
    *,
    handle: str,
    tier: Tier,
    decided_by: Collection[str],
    reason: str,
) -> TierChange:
    """Give a wallet another tier; the one it has already is a decision too, and is written down.

    Raises ``TierChangeRefused`` where there is no such wallet, no reason, or fewer than two
    officers whose roles allow it, other than its owner; a ``Refusal`` where the handle is none.
    """
    if not reason.strip():
        raise TierChangeRefused("a tier is changed for a reason")
    row = await _wallet(session, handle, for_update=True)
    names = await deciders(session, Action.CHANGE_TIER, decided_by, subjects=[row.person_id])
    if names is None:
        rule = RIGHTS[Action.CHANGE_TIER]
        raise TierChangeRefused(
            f"{rule.persons} officers who are in office as {' or '.join(sorted(rule.roles))} decide it, "
            "and none of them for their own wallet"
        )
    change = TierChangeRow(
        id=uuid7(clock),
        wallet_id=row.id,
        before=row.tier,
        after=tier.value,
        decided_by=", ".join(names),
        reason=reason.strip(),
        decided_at=clock.now(),
    )
    session.add(change)
    row.tier = tier.value
    await session.flush()
    return _change(row, change)


async def tier_changes(session: AsyncSession, handle: str) -> tuple[Tier, list[TierChange]]:
    """A wallet's tier now, and what was decided of it, oldest first; raises as ``change_tier`` does."""
    row = await _wallet(session, handle)
    changes = await session.scalars(
        select(TierChangeRow)
        .where(TierChangeRow.wallet_id == row.id)
        .order_by(TierChangeRow.decided_at, TierChangeRow.id)
    )
    return Tier(row.tier), [_change(row, each) for each in changes]


async def _wallet(session: AsyncSession, handle: str, *, for_update: bool = False) -> WalletRow:
    query = select(WalletRow).where(WalletRow.handle == parse_handle(handle))
    row: WalletRow | None = await session.scalar(query.with_for_update() if for_update else query)
    if row is None:
        raise TierChangeRefused(f"there is no wallet @{parse_handle(handle)}")
    return row


def _change(row: WalletRow, change: TierChangeRow) -> TierChange:
    return TierChange(
        row.handle,
        Tier(change.before),
        Tier(change.after),
        tuple(change.decided_by.split(", ")),
        change.reason,
        change.decided_at,
    )
