"""Approvals: officers' signatures under one withdrawal's content, and who counts them.

Above a threshold two officers sign what is to be paid, each with the key of an own
device. What they sign is a text of eleven lines that a device can show before it
signs; every field of the order is in it, so that a signature under one withdrawal
says nothing about another, nor about the same one changed. The signer writes the
text anew from the order that it read and verifies the signatures with the keys of
its own policy: whoever can write the database can take approvals away, not make any.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.deployments import Deployment
from chain.models import ChainApproval
from chain.orders import Order
from foundation.clock import SECOND_NS, Clock, datetime_from_ns
from foundation.ids import uuid7

OFFICERS_NEEDED: Final = 2
"""Distinct officers who approve what is above the threshold; neither may be the requester."""

APPROVAL_SECONDS_MAX: Final = 86_400
"""Longest time from an approval to its expiry, unless the policy says less."""

CLOCK_SECONDS_MAX: Final = 300
"""How far ahead of the signer's clock an officer's may be."""

APPROVALS_READ_MAX: Final = 64
"""Approvals of one order that are looked at, the longest-lived first: a flood of rows costs no time."""

_TITLE: Final = "NUG Pay withdrawal approval, version 1"


class VerifyingKey(Protocol):
    """The public half of an officer's device key."""

    @property
    def key_id(self) -> str:
        """RFC 7638 thumbprint."""
        ...

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the other half made ``signature`` over ``message``."""
        ...


class ReadKey(Protocol):
    """Reads a JSON Web Key; the room of keys is beside this one, so it is handed in."""

    def __call__(self, jwk: Mapping[str, str], /) -> VerifyingKey:
        """The key. Raises ``Refusal`` for what is none."""
        ...


@dataclass(frozen=True, slots=True)
class Officer:
    """Who may approve, as the signer's own policy says."""

    name: str
    key: VerifyingKey
    known_as: frozenset[UUID]
    """Ids of the person and their wallets: as whom they may be the requester."""


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval as stored: a claim until its signature is verified."""

    key_id: str
    approved_at: int
    """Seconds since 1970."""
    expires_at: int
    """Seconds since 1970."""
    signature: bytes


def statement(order: Order, deployment: Deployment, *, approved_at: int, expires_at: int) -> bytes:
    """What an officer signs: the whole content of one withdrawal, as UTF-8 text.

    Amounts are whole units of the token, addresses lower case, times seconds since
    1970. One field a line, no field can hold a line's end, so no two orders have one text.
    """
    lines = (
        _TITLE,
        f"chain: {deployment.chain_id}",
        f"vault: {deployment.vault}",
        f"withdrawal: {order.id}",
        f"requester: {order.requester}",
        f"token: {order.token}",
        f"receiver: {order.to_address}",
        f"amount: {order.amount}",
        f"fee: {order.fee}",
        f"approved: {approved_at}",
        f"expires: {expires_at}",
    )
    return ("\n".join(lines) + "\n").encode()


def count_approvals(
    order: Order,
    deployment: Deployment,
    approvals: Sequence[Approval],
    officers: Collection[Officer],
    *,
    now_ns: int,
    seconds_max: int,
) -> tuple[tuple[str, ...], str]:
    """The names of the officers who approved, and in one word why there are not more.

    ``requester``: nobody is known to have asked for it, so nobody can be told from the
    requester. Else the reason of the last approval that did not count (``expired``,
    ``from_the_future``, ``too_long``, ``by_requester``, ``signature``), or ``too_few``.
    """
    if order.requester is None or order.fee is None:
        return (), "requester"
    by_key = {officer.key.key_id: officer for officer in officers}
    counted: set[str] = set()
    last = "too_few"
    for approval in approvals:
        officer = by_key.get(approval.key_id)
        if officer is None:
            continue
        reason = _why_not_counted(order, deployment, approval, officer, now_ns // SECOND_NS, seconds_max)
        if reason is None:
            counted.add(officer.name)
        else:
            last = reason
    return tuple(sorted(counted)), last


def _why_not_counted(
    order: Order, deployment: Deployment, approval: Approval, officer: Officer, now: int, seconds_max: int
) -> str | None:
    if order.requester in officer.known_as:
        return "by_requester"
    if now >= approval.expires_at:
        return "expired"
    if approval.approved_at > now + CLOCK_SECONDS_MAX:
        return "from_the_future"
    if approval.expires_at - approval.approved_at > seconds_max:
        return "too_long"
    said = statement(order, deployment, approved_at=approval.approved_at, expires_at=approval.expires_at)
    return None if officer.key.verifies(approval.signature, said) else "signature"


async def store_approval(session: AsyncSession, clock: Clock, order_id: UUID, approval: Approval) -> bool:
    """Store an approval; false if this officer's of this lifetime is there already."""
    made = await session.scalar(
        insert(ChainApproval)
        .values(
            id=uuid7(clock),
            order_id=order_id,
            key_id=approval.key_id,
            approved_at=datetime_from_ns(approval.approved_at * SECOND_NS),
            expires_at=datetime_from_ns(approval.expires_at * SECOND_NS),
            signature=approval.signature,
            created_at=clock.now(),
        )
        .on_conflict_do_nothing(
            index_elements=[ChainApproval.order_id, ChainApproval.key_id, ChainApproval.expires_at]
        )
        .returning(ChainApproval.id)
    )
    return made is not None


async def read_approvals(
    session: AsyncSession, order_id: UUID, *, key_ids: Collection[str] | None = None
) -> list[Approval]:
    """An order's approvals, of each key the longest-lived first; of the given keys only, if any are given.

    A key's second approval stands behind every key's first: one officer who makes many
    keeps nobody else's from being read.
    """
    longest = ChainApproval.expires_at.desc()
    nth_of_key = func.row_number().over(partition_by=ChainApproval.key_id, order_by=longest)
    query = (
        select(ChainApproval)
        .where(ChainApproval.order_id == order_id)
        .order_by(nth_of_key, longest)
        .limit(APPROVALS_READ_MAX)
    )
    if key_ids is not None:
        query = query.where(ChainApproval.key_id.in_(key_ids))
    return [
        Approval(row.key_id, _seconds(row.approved_at), _seconds(row.expires_at), row.signature)
        for row in await session.scalars(query)
    ]


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
