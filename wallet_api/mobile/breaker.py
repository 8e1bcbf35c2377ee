"""The breaker's officers: its trips, their signatures under a release, and the release.

As with withdrawals, a signature is a detached one under a text that the device shows:
this API keeps it, and the signer process verifies it with the keys of its own policy.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chain.breaker import ReleaseSignature
from chain.errors import ChainCode
from foundation.errors import FoundationCode
from foundation.ids import parse_id
from identity.roles import Action
from treasury.breaker_release import (
    TripState,
    list_trips,
    release_breaker,
    sign_release,
    statement_of_release,
)
from treasury.errors import TreasuryCode
from wallet_api.callers import officer_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_AN_OFFICER, SIGNED, WITH_BODY, asks, problems, signed
from wallet_api.wire import (
    Answer,
    Asked,
    SignatureText,
    TimeAnswer,
    UUIDText,
    answered,
    id_in_path,
    instant_text,
    read,
    shown,
    signature_of,
)

router = APIRouter(tags=["officers"], prefix="/officers/breaker")

_STATEMENT = (
    "NUG Pay breaker release, version 1\nchain: 31337\nvault: 0x1111…\n"
    'trip: 019ab0c5-11aa-7e02-b6c1-0f9e8d7c6b5a\nreason: "the USDT books differ"\n…\n'
)

_TRIP = {
    "id": "019ab0c5-11aa-7e02-b6c1-0f9e8d7c6b5a",
    "reason": "5000000 units of 0x1111… left custody without an order: 0x9f9f…",
    "tripped_at": "2026-11-23T14:05:09.123456Z",
    "signed_by": ["may"],
    "released_at": None,
    "released_by": [],
}

_OF_A_TRIP = (
    SIGNED,
    FoundationCode.ID_MALFORMED,
    ChainCode.DEPLOYMENT_NOT_FOUND,
    OF_AN_OFFICER,
    TreasuryCode.TRIP_NOT_FOUND,
)


class TripAnswer(Answer):
    """A trip of the breaker and how far its release is."""

    model_config = shown(_TRIP)

    id: UUIDText
    reason: str
    tripped_at: TimeAnswer
    signed_by: Annotated[
        list[str], Field(description="Officers whose signature is there and has not expired.")
    ]
    released_at: Annotated[TimeAnswer | None, Field(description="Null while it stops withdrawals.")]
    released_by: list[str]


class TripsAnswer(Answer):
    """The breaker's last trips, the newest first."""

    model_config = shown({"stopped": True, "trips": [_TRIP]})

    stopped: Annotated[bool, Field(description="Whether withdrawals stand still.")]
    trips: list[TripAnswer]


class ReleaseStatementAnswer(Answer):
    """The text that a device signs to release one trip; it shows it to the officer first."""

    model_config = shown({"statement": _STATEMENT, "signed_at": 1_795_500_000, "expires_at": 1_795_503_600})

    statement: Annotated[str, Field(description="Signed as UTF-8, to the byte.")]
    signed_at: Annotated[int, Field(description="Seconds since 1970, as in the statement.")]
    expires_at: Annotated[int, Field(description="Seconds since 1970, as in the statement.")]


class ReleaseSignatureRequest(Asked):
    """An officer's signature under the statement with these times."""

    signed_at: Annotated[int, Field(ge=0, le=2**40)]
    expires_at: Annotated[int, Field(ge=0, le=2**40)]
    signature: SignatureText


class ReleaseRequest(Asked):
    """A trip to release; naming it keeps a release that was sent twice from a later trip."""

    trip_id: UUIDText


TripId = Annotated[str, id_in_path("The trip's id.")]


@router.get(
    "",
    response_model=TripsAnswer,
    summary="The breaker",
    responses=problems(SIGNED, ChainCode.DEPLOYMENT_NOT_FOUND, OF_AN_OFFICER),
    openapi_extra=signed(),
)
async def breaker(request: Request) -> Response:
    """Whether the breaker has tripped, and its last trips."""
    connections = connections_of(request)
    await officer_of(request, Action.SEE_BREAKER)
    async with connections.database.session() as session:
        trips = await list_trips(session, connections.clock, connections.deployment())
    stopped = any(one.released_at is None for one in trips)
    return answered(TripsAnswer(stopped=stopped, trips=[_answer(one) for one in trips]))


@router.get(
    "/{trip_id}/statement",
    response_model=ReleaseStatementAnswer,
    summary="What an officer signs to release the breaker",
    description="The statement of now, good for an hour. A device shows it and signs these bytes and no "
    "others. A trip that is released can be signed again, for a signer that was away.",
    responses=problems(*_OF_A_TRIP),
    openapi_extra=signed(),
)
async def release_statement_to_sign(request: Request, trip_id: TripId) -> Response:
    """The statement of a trip's release."""
    connections = connections_of(request)
    await officer_of(request, Action.SEE_BREAKER)
    async with connections.database.session() as session:
        said, signed_at, expires_at = await statement_of_release(
            session, connections.clock, connections.deployment(), trip_id=parse_id(trip_id)
        )
    return answered(
        ReleaseStatementAnswer(statement=said.decode(), signed_at=signed_at, expires_at=expires_at)
    )


@router.post(
    "/{trip_id}/signatures",
    status_code=201,
    response_model=TripAnswer,
    summary="Sign the release of the breaker",
    description="Safe to repeat. Releases nothing yet: two officers sign, then one of them releases.",
    responses=problems(
        *_OF_A_TRIP,
        WITH_BODY,
        TreasuryCode.RELEASE_TIMES_MALFORMED,
        TreasuryCode.RELEASE_EXPIRED,
        TreasuryCode.RELEASE_SIGNATURE_WRONG,
    ),
    openapi_extra=asks(
        ReleaseSignatureRequest,
        example={"signed_at": 1_795_500_000, "expires_at": 1_795_503_600, "signature": "A" * 86 + "=="},
    ),
)
async def sign(request: Request, trip_id: TripId) -> Response:
    """Take in the signature of the officer whose device sent it."""
    connections = connections_of(request)
    device = await officer_of(request, Action.RELEASE_BREAKER)
    asked = read(ReleaseSignatureRequest, await request.body())
    async with connections.database.session() as session:
        state = await sign_release(
            session,
            connections.clock,
            connections.deployment(),
            device=device,
            trip_id=parse_id(trip_id),
            signed=ReleaseSignature(
                device.key.key_id, asked.signed_at, asked.expires_at, signature_of(asked.signature)
            ),
        )
    return answered(_answer(state), status=201)


@router.post(
    "/releases",
    response_model=TripAnswer,
    summary="Release the breaker",
    description="Safe to repeat. Once two officers have signed this trip's release and the books have been "
    "compared since and agree, withdrawals go on. A later trip is not released by it.",
    responses=problems(
        *_OF_A_TRIP,
        *WITH_BODY,
        TreasuryCode.RELEASE_SIGNATURES_MISSING,
        TreasuryCode.RELEASE_AWAITS_CORRECTION,
        TreasuryCode.RELEASE_BOOKS_NOT_COMPARED,
        TreasuryCode.RELEASE_BOOKS_DIFFER,
    ),
    openapi_extra=asks(ReleaseRequest, example={"trip_id": _TRIP["id"]}),
)
async def release(request: Request) -> Response:
    """Let withdrawals go on after a trip."""
    connections = connections_of(request)
    await officer_of(request, Action.RELEASE_BREAKER)
    asked = read(ReleaseRequest, await request.body())
    async with connections.database.session() as session:
        state = await release_breaker(
            session,
            connections.clock,
            connections.custody(),
            connections.deployment(),
            trip_id=parse_id(asked.trip_id),
        )
    return answered(_answer(state))


def _answer(state: TripState) -> TripAnswer:
    return TripAnswer(
        id=str(state.trip.id),
        reason=state.trip.reason,
        tripped_at=instant_text(state.trip.tripped_at),
        signed_by=list(state.signed_by),
        released_at=instant_text(state.released_at) if state.released_at is not None else None,
        released_by=list(state.released_by),
    )
