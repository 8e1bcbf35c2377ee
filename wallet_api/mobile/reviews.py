"""Reviews: officers see withdrawals by which much passed through, and say what they found."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode, Refusal
from foundation.ids import parse_id
from identity.officers import officer_name
from identity.roles import Action
from treasury.errors import TreasuryCode
from treasury.reviews import REASON_MAX, Review, close_review, open_reviews
from wallet_api.callers import officer_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_AN_OFFICER, SIGNED, WITH_BODY, asks, problems, signed
from wallet_api.wire import (
    AmountAnswer,
    Answer,
    Asked,
    AssetText,
    TimeAnswer,
    UUIDText,
    answered,
    id_in_path,
    instant_text,
    read,
    shown,
)

router = APIRouter(tags=["officers"], prefix="/officers/reviews")

_OPEN = {
    "withdrawal_id": "019ab0c5-11aa-7e02-b6c1-0f9e8d7c6b5a",
    "wallet_id": "019ab0c4-1111-7a3e-8f41-6b2c9d0e1f23",
    "asset": "USDT",
    "amount": "800.000000",
    "passing": "800.000000",
    "passed_in_week": "10500.000000",
    "opened_at": "2026-11-23T14:05:09.123456Z",
    "closed_at": None,
    "closed_by": None,
    "reason": None,
}


class CloseRequest(Asked):
    """What the officer found."""

    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX)]


class ReviewAnswer(Answer):
    """A withdrawal that was let through and is looked at."""

    model_config = shown(_OPEN)

    withdrawal_id: UUIDText
    wallet_id: UUIDText
    asset: AssetText
    amount: AmountAnswer
    passing: Annotated[
        AmountAnswer, Field(description="What of it came in on chain within 30 days, as what leaves.")
    ]
    passed_in_week: Annotated[
        AmountAnswer, Field(description="The same in the 7 days up to it, itself included.")
    ]
    opened_at: TimeAnswer
    closed_at: TimeAnswer | None
    closed_by: Annotated[str | None, Field(description="The officer's name.")]
    reason: str | None


class ReviewsAnswer(Answer):
    """What nobody has looked at yet, the oldest first."""

    model_config = shown({"reviews": [_OPEN]})

    reviews: list[ReviewAnswer]


@router.get(
    "",
    response_model=ReviewsAnswer,
    summary="Withdrawals to look at",
    description="Those by which more than 10,000 USDT passed through in a week. They are paid nonetheless.",
    responses=problems(SIGNED, OF_AN_OFFICER),
    openapi_extra=signed(),
)
async def reviews(request: Request) -> Response:
    """What officers should look at."""
    await officer_of(request, Action.SEE_REVIEWS)
    async with connections_of(request).database.session() as session:
        found = await open_reviews(session)
    return answered(ReviewsAnswer(reviews=[_answer(each) for each in found]))


@router.post(
    "/{withdrawal_id}/close",
    response_model=ReviewAnswer,
    summary="Close a review",
    description="Safe to repeat: what was closed stays as it was closed.",
    responses=problems(
        SIGNED,
        WITH_BODY,
        FoundationCode.ID_MALFORMED,
        OF_AN_OFFICER,
        TreasuryCode.REVIEW_NOT_FOUND,
        TreasuryCode.REVIEW_OF_OWN,
        TreasuryCode.REVIEW_WITHOUT_REASON,
    ),
    openapi_extra=asks(CloseRequest, example={"reason": "known trader"}),
)
async def close_one(
    request: Request, withdrawal_id: Annotated[str, id_in_path("The withdrawal's id.")]
) -> Response:
    """Close one by the word of the officer whose device sent it."""
    connections = connections_of(request)
    device = await officer_of(request, Action.CLOSE_REVIEW)
    asked = read(CloseRequest, await request.body())
    async with connections.database.session() as session:
        name = await officer_name(session, device.person_id, Action.CLOSE_REVIEW)
        if name is None:
            raise Refusal(TreasuryCode.APPROVER_IS_NO_OFFICER, "There is nothing at this path.")
        closed = await close_review(
            session,
            connections.clock,
            withdrawal_id=parse_id(withdrawal_id),
            person_id=device.person_id,
            name=name,
            reason=asked.reason,
        )
    return answered(_answer(closed))


def _answer(review: Review) -> ReviewAnswer:
    return ReviewAnswer(
        withdrawal_id=str(review.withdrawal_id),
        wallet_id=str(review.wallet_id),
        asset=review.amount.asset.code,
        amount=review.amount.format(),
        passing=review.passing.format(),
        passed_in_week=review.passed_in_week.format(),
        opened_at=instant_text(review.opened_at),
        closed_at=instant_text(review.closed_at) if review.closed_at is not None else None,
        closed_by=review.closed_by,
        reason=review.reason,
    )
