"""The signer's breaker: what the signer itself knows of trips, and of their release.

It reads the trips from the database and believes each one, whoever wrote it: stopping
costs time, going on may cost the vault. What it has seen goes into its log, where
nobody can take it out. It believes nothing of a release but two officers' signatures
under that trip, by keys of its policy, alive at the moment at which it looks; so the
mark of a release in the database, which whoever has the worker's credentials can set,
changes nothing here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from chain.approvals import OFFICERS_NEEDED
from chain.breaker import TRIPS_READ_MAX, BreakerTrip, count_releases, read_releases, read_trips
from chain.errors import ChainCode
from chain.signer_rules import Rules, refused
from chain.signing_log import ReleaseEntry, SigningLog, TripEntry
from foundation.clock import Clock
from foundation.errors import Retryable

logger = structlog.get_logger()

_EXPLAINED: Final = {
    "too_few": "Fewer than two officers signed its release.",
    "unknown_key": "A signature under its release is of a key that the policy does not name.",
    "expired": "A signature under its release has expired.",
    "from_the_future": "A signature under its release lies ahead of the signer's clock.",
    "too_long": "A signature under its release was made to last longer than the policy allows.",
    "signature": "A signature under its release is not under this trip's content.",
}


class SignerBreaker:
    """The trips that stop one signer. One call at a time: it writes the log."""

    def __init__(self, log: SigningLog, clock: Clock) -> None:
        self._log: Final = log
        self._clock: Final = clock
        self._why: Final[dict[UUID, str]] = {}

    async def look(self, session: AsyncSession, rules: Rules) -> None:
        """Take in new trips, and the release of those that two officers signed.

        Raises ``InvariantViolation`` when the log cannot be written.
        """
        since = datetime.fromtimestamp(rules.policy.breaker_since, UTC)
        while True:
            # Each trip is taken in, so that taking its row away later frees nothing; but a
            # flood of rows stops no more than one does, and makes the log no longer.
            if len(self._log.trips) < TRIPS_READ_MAX:
                chain_id, known = rules.deployment.chain_id, self._log.known_trips
                for trip in await read_trips(session, chain_id, since=since, known=known):
                    self._note_trip(trip)
            open_before = self._log.trips
            for trip in open_before:
                await self._release_if_signed(session, rules, trip)
            # What a release has made room for is taken in before anything is signed.
            if self._log.trips == open_before:
                return

    def refuse_stopped(self) -> None:
        """Refuse as ``signing_stopped`` while a trip is not released, as the last look has found it."""
        for trip in self._log.trips:
            why = self._why.get(trip.id, "too_few")
            # As ``nugpay breaker restore`` takes it, should the row be gone or be another's word.
            at = trip.tripped_at.isoformat(timespec="microseconds")
            detail = f"Trip {trip.id} of the breaker at {at}: {trip.reason}. "
            raise refused(
                ChainCode.SIGNING_STOPPED,
                detail + _EXPLAINED[why],
                why,
                signed_before=False,
                retryable=Retryable.YES,
            )

    def _note_trip(self, trip: BreakerTrip) -> None:
        # Dies before: the next look finds it again. Dies after: it is known for ever, and
        # only its release ends it.
        self._log.append(
            TripEntry(
                at_ns=self._clock.now_ns(),
                kind="trip",
                trip_id=trip.id,
                reason=trip.reason,
                tripped_at=trip.tripped_at.astimezone(UTC),
                previous=self._log.previous,
            )
        )
        logger.warning("the breaker has tripped: nothing is paid out", trip_id=str(trip.id))

    async def _release_if_signed(self, session: AsyncSession, rules: Rules, trip: BreakerTrip) -> None:
        # The trip as it was first seen: whoever changes its row afterwards makes officers
        # sign a text that releases nothing.
        names, self._why[trip.id] = count_releases(
            trip,
            rules.deployment,
            await read_releases(session, trip.id, first=[one.key.key_id for one in rules.officers]),
            rules.officers,
            now_ns=self._clock.now_ns(),
            seconds_max=rules.policy.approval_seconds_max,
        )
        if len(names) < OFFICERS_NEEDED:
            return
        # Dies before: the signatures are there, and the next look counts them, if they still
        # live. Dies after: released, once, whatever becomes of the rows.
        self._log.append(
            ReleaseEntry(
                at_ns=self._clock.now_ns(),
                kind="release",
                trip_id=trip.id,
                officers=names,
                previous=self._log.previous,
            )
        )
        logger.warning("the breaker is released", trip_id=str(trip.id), officers=names)
