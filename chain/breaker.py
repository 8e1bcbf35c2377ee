"""The breaker: a trip stops what pays out, and officers' signatures under it let it go on.

Two officers sign a text that names the chain, the vault, the trip, why and when it
tripped, and how long the signature lives. So a signature under one trip says nothing
about the next. The signer reads the trips and the signatures itself, writes the text
anew and verifies with the keys of its own policy: whoever can write the database can
stop what pays out, and cannot let it go on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.approvals import CLOCK_SECONDS_MAX, Officer
from chain.deployments import Deployment
from chain.models import ChainRelease, ChainTrip
from foundation.clock import SECOND_NS, Clock, datetime_from_ns
from foundation.ids import uuid7

RELEASES_READ_MAX: Final = 64
"""Signatures of one trip that are looked at, the longest-lived first: a flood of rows costs no time."""

TRIPS_READ_MAX: Final = 64
"""Trips that are looked at together, the oldest first; one of them is enough to stop."""

_TITLE: Final = "NUG Pay breaker release, version 1"


@dataclass(frozen=True, slots=True)
class BreakerTrip:
    """Why and since when what pays out stands still."""

    id: UUID
    reason: str
    tripped_at: datetime
    """UTC, to the microsecond."""


@dataclass(frozen=True, slots=True)
class ReleaseSignature:
    """A signature under a release as stored: a claim until it is verified. Times are seconds since 1970."""

    key_id: str
    signed_at: int
    expires_at: int
    signature: bytes


def release_statement(trip: BreakerTrip, deployment: Deployment, *, signed_at: int, expires_at: int) -> bytes:
    """What an officer signs to release one trip, as UTF-8 text; the two times are seconds since 1970.

    One field a line. The reason is quoted as JSON in ASCII, since it may hold whatever an
    error said: no line's end of it begins a field, so no two trips have one text.
    """
    lines = (
        _TITLE,
        f"chain: {deployment.chain_id}",
        f"vault: {deployment.vault}",
        f"trip: {trip.id}",
        f"reason: {json.dumps(trip.reason)}",
        f"tripped: {trip.tripped_at.astimezone(UTC).isoformat(timespec='microseconds')}",
        f"signed: {signed_at}",
        f"expires: {expires_at}",
    )
    return ("\n".join(lines) + "\n").encode()


def count_releases(
    trip: BreakerTrip,
    deployment: Deployment,
    signatures: Sequence[ReleaseSignature],
    officers: Collection[Officer],
    *,
    now_ns: int,
    seconds_max: int,
) -> tuple[tuple[str, ...], str]:
    """The names of the officers who released the trip, and in one word why there are not more.

    The word is the reason of the last signature that did not count (``unknown_key``,
    ``expired``, ``from_the_future``, ``too_long``, ``signature``), or ``too_few``.
    """
    by_key = {officer.key.key_id: officer for officer in officers}
    counted: set[str] = set()
    last = "too_few"
    for one in signatures:
        officer = by_key.get(one.key_id)
        if officer is None:
            last = "unknown_key"
            continue
        reason = _why_not_counted(trip, deployment, one, officer, now_ns // SECOND_NS, seconds_max)
        if reason is None:
            counted.add(officer.name)
        else:
            last = reason
    return tuple(sorted(counted)), last


def _why_not_counted(
    trip: BreakerTrip,
    deployment: Deployment,
    one: ReleaseSignature,
    officer: Officer,
    now: int,
    seconds_max: int,
) -> str | None:
    if now >= one.expires_at:
        return "expired"
    if one.signed_at > now + CLOCK_SECONDS_MAX:
        return "from_the_future"
    if one.expires_at - one.signed_at > seconds_max:
        return "too_long"
    said = release_statement(trip, deployment, signed_at=one.signed_at, expires_at=one.expires_at)
    return None if officer.key.verifies(one.signature, said) else "signature"


async def read_trips(
    session: AsyncSession, chain_id: int, *, since: datetime, known: Collection[UUID]
) -> list[BreakerTrip]:
    """Trips that are not among those ``known``, oldest first, whatever they say of their release.

    Before ``since`` what they say of it is believed.
    """
    rows = await session.scalars(
        select(ChainTrip)
        .where(
            ChainTrip.chain_id == chain_id,
            (ChainTrip.tripped_at >= since) | ChainTrip.released_at.is_(None),
            ChainTrip.id.not_in(known),
        )
        .order_by(ChainTrip.tripped_at, ChainTrip.id)
        .limit(TRIPS_READ_MAX)
    )
    return [BreakerTrip(row.id, row.reason, row.tripped_at) for row in rows]


async def store_release(session: AsyncSession, clock: Clock, trip_id: UUID, one: ReleaseSignature) -> bool:
    """Store a signature under a release; false if this key's of this lifetime is there already."""
    made = await session.scalar(
        insert(ChainRelease)
        .values(
            id=uuid7(clock),
            trip_id=trip_id,
            key_id=one.key_id,
            signed_at=datetime_from_ns(one.signed_at * SECOND_NS),
            expires_at=datetime_from_ns(one.expires_at * SECOND_NS),
            signature=one.signature,
            created_at=clock.now(),
        )
        .on_conflict_do_nothing(
            index_elements=[ChainRelease.trip_id, ChainRelease.key_id, ChainRelease.expires_at]
        )
        .returning(ChainRelease.id)
    )
    return made is not None


async def read_releases(
    session: AsyncSession, trip_id: UUID, *, first: Collection[str] = ()
) -> list[ReleaseSignature]:
    """The signatures under a trip's release: those of the keys ``first``, of each key the longest-lived.

    A key's second signature stands behind every such key's first: one officer who makes many
    keeps nobody else's from being read.
    """
    longest = ChainRelease.expires_at.desc()
    nth_of_key = func.row_number().over(partition_by=ChainRelease.key_id, order_by=longest)
    rows = await session.scalars(
        select(ChainRelease)
        .where(ChainRelease.trip_id == trip_id)
        .order_by(ChainRelease.key_id.in_(first).desc(), nth_of_key, longest)
        .limit(RELEASES_READ_MAX)
    )
    return [
        ReleaseSignature(row.key_id, _seconds(row.signed_at), _seconds(row.expires_at), row.signature)
        for row in rows
    ]


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
