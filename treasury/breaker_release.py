"""Releasing the breaker: two officers sign the same trip, and the books agree again.

Treasury goes on when two officers' signatures under one trip are there and the books
have been compared since, and agree. The signer reads the same signatures itself and
verifies them with the keys of its own policy; what is decided here moves it to nothing.
A signer that was away while the signatures lived hears of none, so a trip that is
released here can be signed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.approvals import APPROVAL_SECONDS_MAX, CLOCK_SECONDS_MAX, OFFICERS_NEEDED, Officer
from chain.breaker import (
    BreakerTrip,
    ReleaseSignature,
    count_releases,
    read_releases,
    release_statement,
    store_release,
)
from chain.deployments import Deployment
from chain.models import ChainTrip
from foundation.clock import SECOND_NS, Clock
from foundation.errors import Refusal
from identity.devices import Device
from identity.officers import officer_keys, officer_name
from identity.roles import Action
from treasury.custody import Custody
from treasury.errors import TreasuryCode
from treasury.models import TreasuryBookingCursor
from treasury.reserves import read_reserves
from treasury.reversals import unhandled_breaks

LISTED_MAX: Final = 20
"""Most trips in an officer's list, the newest first."""

RELEASE_SECONDS: Final = 3_600
"""How long a signature under a release lives that is made without saying otherwise."""


@dataclass(frozen=True, slots=True)
class TripState:
    """A trip of the breaker and how far its release is."""

    trip: BreakerTrip
    signed_by: tuple[str, ...]
    """Officers whose signature under its release is there, is right and has not expired."""
    released_at: datetime | None
    released_by: tuple[str, ...]
    """Names of the officers; in trips of before signatures, what was written then."""


async def list_trips(session: AsyncSession, clock: Clock, deployment: Deployment) -> list[TripState]:
    """The chain's trips: the one that stops withdrawals, if there is one, then the newest first."""
    rows = await session.scalars(
        select(ChainTrip)
        .where(ChainTrip.chain_id == deployment.chain_id)
        # By a clock that was set back the one that stops may be older than many that are over.
        .order_by(ChainTrip.released_at.is_(None).desc(), ChainTrip.tripped_at.desc(), ChainTrip.id.desc())
        .limit(LISTED_MAX)
    )
    return [await _state(session, clock, deployment, row) for row in rows.all()]


async def statement_of_release(
    session: AsyncSession,
    clock: Clock,
    deployment: Deployment,
    *,
    trip_id: UUID,
    seconds: int = RELEASE_SECONDS,
) -> tuple[bytes, int, int]:
    """What an officer signs now to release a trip, and its two times. Refused as ``trip_not_found``."""
    row = await _row(session, deployment, trip_id)
    signed_at = clock.now_ns() // SECOND_NS
    expires_at = signed_at + seconds
    said = release_statement(_trip(row), deployment, signed_at=signed_at, expires_at=expires_at)
    return said, signed_at, expires_at


async def sign_release(
    session: AsyncSession,
    clock: Clock,
    deployment: Deployment,
    *,
    device: Device,
    trip_id: UUID,
    signed: ReleaseSignature,
) -> TripState:
    """Take in an officer's signature under a trip's release; releases nothing yet. Safe to repeat.

    Refused as ``approver_is_no_officer``, ``officer_role_missing``, ``trip_not_found``,
    ``release_times_malformed``, ``release_expired`` or ``release_signature_wrong``, in this order.
    """
    if await officer_name(session, device.person_id, Action.RELEASE_BREAKER) is None:
        raise Refusal(TreasuryCode.APPROVER_IS_NO_OFFICER, "There is nothing at this path.")
    row = await _row(session, deployment, trip_id)
    now = clock.now_ns() // SECOND_NS
    lasts = signed.expires_at - signed.signed_at
    if signed.signed_at > now + CLOCK_SECONDS_MAX or not 0 < lasts <= APPROVAL_SECONDS_MAX:
        raise Refusal(
            TreasuryCode.RELEASE_TIMES_MALFORMED,
            f"A signature begins now and lives at most {APPROVAL_SECONDS_MAX} s.",
        )
    if now >= signed.expires_at:
        raise Refusal(TreasuryCode.RELEASE_EXPIRED, "The signature's time is over.")
    said = release_statement(_trip(row), deployment, signed_at=signed.signed_at, expires_at=signed.expires_at)
    # A signature under an earlier trip, or under this one before its row was changed, ends here.
    if signed.key_id != device.key.key_id or not device.key.verifies(signed.signature, said):
        raise Refusal(
            TreasuryCode.RELEASE_SIGNATURE_WRONG,
            "The signature is not this device's under the release of this trip.",
        )
    await store_release(session, clock, trip_id, signed)
    return await _state(session, clock, deployment, row)


async def release_breaker(
    session: AsyncSession, clock: Clock, custody: Custody, deployment: Deployment, *, trip_id: UUID
) -> TripState:
    """Let withdrawals go on after a trip. Safe to repeat: a later trip is not released by it.

    Refused as ``trip_not_found``, ``release_signatures_missing``, ``release_awaits_correction``,
    ``release_books_not_compared`` or ``release_books_differ``, in this order.
    """
    # Of two who release at once the second finds the trip released.
    row = await _row(session, deployment, trip_id, locked=True)
    state = await _state(session, clock, deployment, row)
    if row.released_at is not None:
        return state
    if len(state.signed_by) < OFFICERS_NEEDED:
        raise Refusal(
            TreasuryCode.RELEASE_SIGNATURES_MISSING,
            f"{OFFICERS_NEEDED} officers sign the release of this trip; {len(state.signed_by)} have.",
        )
    # First the mark, then the look at the books: whoever trips from here on waits until this
    # ends and writes a new trip. In the other order their trip would be lost, as one that
    # comes while another stands, and what they saw would be in no books that are looked at.
    row.released_at, row.released_by = clock.now(), ", ".join(state.signed_by)
    await session.flush()
    await _refuse_unless_books_agree(session, custody, row.tripped_at)
    return await _state(session, clock, deployment, row)


async def restore_trip(
    session: AsyncSession, clock: Clock, deployment: Deployment, trip: BreakerTrip
) -> TripState:
    """Put a trip's row back as the signer has first seen it, so that officers can sign its release.

    A database restored from an older backup does not have it, and a row that was changed
    has officers sign what releases nothing. The signer believes nothing of this: a row with
    other words than it has seen stays without effect. Where there is no row the new one says
    that it is released: treasury has not stopped for it, and does not now.
    """
    told = {"chain_id": deployment.chain_id, "reason": trip.reason, "tripped_at": trip.tripped_at}
    await session.execute(
        insert(ChainTrip)
        .values(id=trip.id, released_at=clock.now(), **told)
        .on_conflict_do_update(index_elements=[ChainTrip.id], set_=told)
    )
    return await _state(session, clock, deployment, await _row(session, deployment, trip.id))


async def _refuse_unless_books_agree(session: AsyncSession, custody: Custody, tripped_at: datetime) -> None:
    """What the difference was must be known and mended first: a release repairs nothing."""
    if await unhandled_breaks(session, custody.chain_id):
        raise Refusal(
            TreasuryCode.RELEASE_AWAITS_CORRECTION, "What a broken finality took back is not corrected yet."
        )
    found = {one.token: one for one in (await read_reserves(session, custody)).reserves}
    for token in custody.tokens:
        reserve, code = found.get(token), token.asset.code
        cursor = await session.get(TreasuryBookingCursor, (custody.chain_id, token.address))
        if reserve is None and cursor is None:
            # Nothing of it was ever written down: there are no books yet.
            continue
        # Books that were never compared agree with nothing.
        if reserve is None or reserve.created_at < tripped_at:
            raise Refusal(
                TreasuryCode.RELEASE_BOOKS_NOT_COMPARED,
                f"The {code} books have not been compared since the breaker tripped.",
                asset=code,
            )
        books = reserve.books
        if not books.agrees:
            raise Refusal(
                TreasuryCode.RELEASE_BOOKS_DIFFER,
                f"The {code} books still differ by {books.unexplained_units} units "
                f"at block {books.block_number}.",
                asset=code,
            )


async def _row(
    session: AsyncSession, deployment: Deployment, trip_id: UUID, *, locked: bool = False
) -> ChainTrip:
    query = select(ChainTrip).where(ChainTrip.id == trip_id, ChainTrip.chain_id == deployment.chain_id)
    row: ChainTrip | None = await session.scalar(query.with_for_update() if locked else query)
    if row is None:
        raise Refusal(TreasuryCode.TRIP_NOT_FOUND, "The breaker has no such trip.")
    return row


async def _state(session: AsyncSession, clock: Clock, deployment: Deployment, row: ChainTrip) -> TripState:
    signatures = await read_releases(session, row.id)
    known = await officer_keys(session, [one.key_id for one in signatures], Action.RELEASE_BREAKER)
    names, _ = count_releases(
        _trip(row),
        deployment,
        signatures,
        [Officer(one.name, one.key, frozenset()) for one in known],
        now_ns=clock.now_ns(),
        seconds_max=APPROVAL_SECONDS_MAX,
    )
    released_by = tuple(row.released_by.split(", ")) if row.released_by else ()
    return TripState(_trip(row), names, row.released_at, released_by)


def _trip(row: ChainTrip) -> BreakerTrip:
    return BreakerTrip(row.id, row.reason, row.tripped_at)
