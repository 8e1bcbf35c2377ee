"""Withdrawal approvals: what awaits officers, and their signatures, taken in.

What is taken in here is only kept: the signer reads it itself and verifies it with
the keys of its own policy. Verifying here too tells an officer at once what the
signer would say, and keeps nonsense out of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.addresses import checksum
from chain.approvals import (
    APPROVAL_SECONDS_MAX,
    CLOCK_SECONDS_MAX,
    Approval,
    read_approvals,
    statement,
    store_approval,
)
from chain.deployments import Deployment
from chain.models import ChainLane, ChainOrder
from chain.orders import Order, goes_in_batch, read_order
from foundation.assets import asset_by_code
from foundation.clock import SECOND_NS, Clock
from foundation.errors import Refusal
from foundation.money import Money
from identity.devices import Device
from identity.officers import officer_name
from identity.roles import Action
from treasury.errors import TreasuryCode
from treasury.models import TreasuryWithdrawal

LISTED_MAX: Final = 200
"""Most withdrawals in an officer's list, the oldest first."""

APPROVAL_SECONDS: Final = 3_600
"""How long an approval lasts that is signed without saying otherwise."""


@dataclass(frozen=True, slots=True)
class AwaitedWithdrawal:
    """A withdrawal that the signer will not sign without officers."""

    id: UUID
    requester: UUID
    amount: Money
    fee: Money
    to_address: str
    """With checksum."""
    awaits_since: datetime
    approvals: int
    """Officers' signatures that are there and have not expired."""


async def awaited_withdrawals(session: AsyncSession, clock: Clock) -> list[AwaitedWithdrawal]:
    """What awaits officers, the longest waiting first."""
    rows = await session.execute(
        select(TreasuryWithdrawal, ChainOrder.requester)
        .join(ChainOrder, ChainOrder.id == TreasuryWithdrawal.id)
        .where(
            TreasuryWithdrawal.awaits_officers_since.is_not(None),
            TreasuryWithdrawal.closed_at.is_(None),
            ChainOrder.revoked_at.is_(None),
            ~exists().where(ChainLane.order_id == ChainOrder.id),
            ~goes_in_batch(ChainOrder.id),
        )
        .order_by(TreasuryWithdrawal.awaits_officers_since, TreasuryWithdrawal.id)
        .limit(LISTED_MAX)
    )
    now = clock.now_ns() // SECOND_NS
    listed = []
    for row, requester in rows.all():
        approvals = await read_approvals(session, row.id)
        asset = asset_by_code(row.asset)
        assert row.awaits_officers_since is not None, "the query asks for it"
        listed.append(
            AwaitedWithdrawal(
                id=row.id,
                requester=requester or row.wallet_id,
                amount=Money(row.amount, asset),
                fee=Money(row.fee, asset),
                to_address=checksum(row.to_address),
                awaits_since=row.awaits_officers_since,
                approvals=len({one.key_id for one in approvals if one.expires_at > now}),
            )
        )
    return listed


async def approval_statement(
    session: AsyncSession,
    clock: Clock,
    deployment: Deployment,
    *,
    withdrawal_id: UUID,
    seconds: int = APPROVAL_SECONDS,
) -> tuple[bytes, int, int]:
    """What an officer signs now to approve a withdrawal, and its two times.

    Refused as ``withdrawal_not_found`` or ``approval_not_awaited``.
    """
    order = await _awaited_order(session, withdrawal_id)
    approved_at = clock.now_ns() // SECOND_NS
    expires_at = approved_at + seconds
    said = statement(order, deployment, approved_at=approved_at, expires_at=expires_at)
    return said, approved_at, expires_at


async def approve_withdrawal(
    session: AsyncSession,
    clock: Clock,
    deployment: Deployment,
    *,
    device: Device,
    withdrawal_id: UUID,
    approved_at: int,
    expires_at: int,
    signature: bytes,
) -> int:
    """Take in an officer's approval; how many officers' are there now. Safe to repeat.

    ``approved_at`` and ``expires_at`` are seconds since 1970, as signed; ``signature``
    is the device's over ``chain.approvals.statement``. Refused as
    ``approver_is_no_officer``, ``officer_role_missing``, ``withdrawal_not_found``, ``approval_not_awaited``,
    ``approval_of_own_withdrawal``, ``approval_times_malformed``, ``approval_expired``
    or ``approval_signature_wrong``, in this order.
    """
    if await officer_name(session, device.person_id, Action.APPROVE_WITHDRAWAL) is None:
        raise Refusal(TreasuryCode.APPROVER_IS_NO_OFFICER, "There is nothing at this path.")
    order = await _awaited_order(session, withdrawal_id)
    if order.requester == device.person_id:
        raise Refusal(
            TreasuryCode.APPROVAL_OF_OWN_WITHDRAWAL, "You asked for this withdrawal; others must approve it."
        )
    now = clock.now_ns() // SECOND_NS
    if approved_at > now + CLOCK_SECONDS_MAX or not 0 < expires_at - approved_at <= APPROVAL_SECONDS_MAX:
        raise Refusal(
            TreasuryCode.APPROVAL_TIMES_MALFORMED,
            f"An approval begins now and lasts at most {APPROVAL_SECONDS_MAX} s.",
        )
    if now >= expires_at:
        raise Refusal(TreasuryCode.APPROVAL_EXPIRED, "The approval's time is over.")
    said = statement(order, deployment, approved_at=approved_at, expires_at=expires_at)
    # An approval of another withdrawal, or of this one before it was changed, ends here.
    if not device.key.verifies(signature, said):
        raise Refusal(
            TreasuryCode.APPROVAL_SIGNATURE_WRONG,
            "The signature is not this device's under this withdrawal's content.",
        )
    approval = Approval(device.key.key_id, approved_at, expires_at, signature)
    await store_approval(session, clock, withdrawal_id, approval)
    there = await read_approvals(session, withdrawal_id)
    return len({one.key_id for one in there if one.expires_at > now})


async def _awaited_order(session: AsyncSession, withdrawal_id: UUID) -> Order:
    row = await session.get(TreasuryWithdrawal, withdrawal_id)
    order = await read_order(session, withdrawal_id)
    if row is None or order is None:
        raise Refusal(TreasuryCode.WITHDRAWAL_NOT_FOUND, "There is no such withdrawal.")
    has_nonce = await session.scalar(select(exists().where(ChainLane.order_id == withdrawal_id)))
    on_its_way = has_nonce or order.batch_id is not None
    if row.closed_at is not None or row.awaits_officers_since is None or order.revoked or on_its_way:
        raise Refusal(TreasuryCode.APPROVAL_NOT_AWAITED, "This withdrawal awaits no officers.")
    return order
