"""Changing a wallet's handle, and whether the wallet is found by it.

A handle that a wallet gives up is its own for ever: nobody else gets it, nor one that looks
like it, so that a payer who types an old handle, or scans an old code, never pays a
stranger. For ``PAYS_FOR`` it still pays the wallet; afterwards it is as one that nobody has,
until the wallet takes it again. What names the wallet by its id (requests, standing orders,
invoices, people at a till, trust of recovery) does not notice. What has happened is told with
the handles of that time (``Wallet.handle_at``), so that a payment's answer, its receipt and
its memo stay what they were.

An unlisted wallet is found by nobody who has not its pass (wallets.payee_passes).

One database transaction writes the former handle and the new one. If the process dies
before its commit nothing has changed, and after it the same request again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import InvariantViolation, Refusal, Retryable
from wallets.errors import WalletCode
from wallets.handle_models import FormerHandleRow
from wallets.handles import parse_new_handle, skeleton
from wallets.models import WalletRow
from wallets.wallets import Wallet, check_handle_is_free

PAYS_FOR: Final = timedelta(days=90)
"""How long a handle that was given up still pays its wallet."""

CHANGES_MAX: Final = 3
"""Changes of a wallet's handle within ``CHANGES_WITHIN``."""

CHANGES_WITHIN: Final = timedelta(days=30)
"""The time in which changes are counted."""

LISTED_MAX: Final = 20
"""Former handles that a wallet is shown."""


@dataclass(frozen=True, slots=True)
class FormerHandle:
    """A handle that the wallet gave up."""

    handle: str
    """Without @."""
    given_up_at: datetime
    pays_until: datetime
    """Until then whoever names it pays this wallet; nobody else gets it, ever."""


@dataclass(frozen=True, slots=True)
class OwnHandles:
    """How a wallet is found."""

    handle: str
    """Without @."""
    listed: bool
    """Whether the handle alone is enough to find the wallet."""
    former: Sequence[FormerHandle]
    """The newest first, ``LISTED_MAX`` at most; one that was given up twice stands twice."""


async def change_handle(database: Database, clock: Clock, *, wallet: Wallet, handle: str) -> OwnHandles:
    """Give a wallet another handle; the one that it has changes nothing, and counts as no change.

    Refused as ``handle_malformed``, ``handle_reserved``, ``handle_taken``, ``handle_too_similar``
    or ``too_many_handle_changes``.
    """
    wanted = parse_new_handle(handle)
    try:
        async with database.session() as session:
            return await _change(session, clock, wallet, wanted)
    except IntegrityError:
        pass
    # Somebody took it a moment ago; what they committed can be read now.
    async with database.session() as session:
        return await _change(session, clock, wallet, wanted)


async def set_listed(database: Database, clock: Clock, *, wallet: Wallet, listed: bool) -> OwnHandles:
    """Have the wallet be found by its handle, or only together with its pass; safe to repeat.

    Listed and unlisted again it has another pass: those in codes of before open nothing.
    """
    async with database.session() as session:
        row = await _locked(session, wallet)
        if listed:
            row.unlisted_at = None
        elif row.unlisted_at is None:
            row.unlisted_at = clock.now()
        return await _own(session, row)


async def own_handles(database: Database, *, wallet: Wallet) -> OwnHandles:
    """How a wallet is found, as the database has it now."""
    async with database.session() as session:
        row = await session.get(WalletRow, wallet.id)
        if row is None:
            raise InvariantViolation(f"wallet {wallet.id} is gone")
        return await _own(session, row)


async def _locked(session: AsyncSession, wallet: Wallet) -> WalletRow:
    # Changes of one wallet come one after the other, or two at once would both be the last.
    row = await session.scalar(
        select(WalletRow).where(WalletRow.id == wallet.id).with_for_update(key_share=True)
    )
    if row is None:
        raise InvariantViolation(f"wallet {wallet.id} is gone")
    return row


async def _change(session: AsyncSession, clock: Clock, wallet: Wallet, handle: str) -> OwnHandles:
    row = await _locked(session, wallet)
    if row.handle == handle:
        return await _own(session, row)
    now = clock.now()
    recent = [each for each in (await _own(session, row)).former if each.given_up_at > now - CHANGES_WITHIN]
    if len(recent) >= CHANGES_MAX:
        wait = recent[CHANGES_MAX - 1].given_up_at + CHANGES_WITHIN - now
        raise Refusal(
            WalletCode.TOO_MANY_HANDLE_CHANGES,
            f"A handle is changed {CHANGES_MAX} times in {CHANGES_WITHIN.days} days at most.",
            retryable=Retryable.YES,
            retry_after_seconds=int(wait.total_seconds()) + 1,
        )
    await check_handle_is_free(session, wallet.id, handle)
    before = await session.scalar(
        select(func.max(FormerHandleRow.number)).where(FormerHandleRow.wallet_id == row.id)
    )
    session.add(
        FormerHandleRow(
            wallet_id=row.id,
            number=(before or 0) + 1,
            handle=row.handle,
            skeleton=skeleton(row.handle),
            given_up_at=now,
            pays_until=now + PAYS_FOR,
        )
    )
    row.handle, row.skeleton = handle, skeleton(handle)
    # Both rows or none: between handles the wallet has one, and a reader sees either state.
    await session.flush()
    return await _own(session, row)


async def _own(session: AsyncSession, row: WalletRow) -> OwnHandles:
    former = await session.scalars(
        select(FormerHandleRow)
        .where(FormerHandleRow.wallet_id == row.id)
        .order_by(FormerHandleRow.number.desc())
        .limit(LISTED_MAX)
    )
    return OwnHandles(
        row.handle,
        row.unlisted_at is None,
        [FormerHandle(each.handle, each.given_up_at, each.pays_until) for each in former],
    )
