"""Recall votes: officers see recalls that the payee did not agree to, and decide by twos."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode
from foundation.ids import parse_id
from identity.decoys import decoy_of
from identity.roles import Action
from wallet_api.callers import officer_of
from wallet_api.connections import connections_of
from wallet_api.mobile.recalls import RECALL_SHOWN, RecallAnswer, RecallPath, recall_answer
from wallet_api.operations import OF_AN_OFFICER, OF_THE_LEDGER, SIGNED, WITH_BODY, asks, problems, signed
from wallet_api.wire import Answer, Asked, UUIDText, answered, read, shown
from wallets.errors import WalletCode
from wallets.recall_decisions import Disputed, Verdict, disputed_recalls, vote_on_recall
from wallets.recall_errors import RecallCode
from wallets.recalls import PAGE_MAX

router = APIRouter(tags=["officers"], prefix="/officers/recalls")

_DISPUTED = {"recall": {**RECALL_SHOWN, "state": "disputed"}, "votes": [{"by": "may", "says": "return"}]}


class VoteRequest(Asked):
    """What an officer says; it stands."""

    says: Annotated[Verdict, Field(strict=False, description="Whether the payer gets it back.")]


class VoteAnswer(Answer):
    """What an officer has said."""

    by: Annotated[str, Field(description="The officer's name.")]
    says: Verdict


class DisputedAnswer(Answer):
    """A recall, and what officers who are in office have said to it."""

    model_config = shown(_DISPUTED)

    recall: RecallAnswer
    votes: list[VoteAnswer]


class DisputedQuery(Asked):
    """Which page."""

    after: Annotated[UUIDText | None, Field(description="The next_after of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=False, description="Most on a page.")] = 20


class DisputedListAnswer(Answer):
    """What awaits officers, the oldest first; a page may be short though another one follows."""

    model_config = shown({"disputed": [_DISPUTED], "next_after": None})

    disputed: list[DisputedAnswer]
    next_after: Annotated[UUIDText | None, Field(description="Null: this was the last page.")]


@router.get(
    "",
    response_model=DisputedListAnswer,
    summary="Recalls that await officers",
    description="Those to which the payee said no, or nothing until answer_until.",
    responses=problems(
        SIGNED,
        OF_THE_LEDGER,
        FoundationCode.ID_MALFORMED,
        OF_AN_OFFICER,
        RecallCode.RECALL_NOT_FOUND,
    ),
    openapi_extra=signed(),
)
async def disputed(request: Request, query: Annotated[DisputedQuery, Query()]) -> Response:
    """What awaits officers."""
    await officer_of(request, Action.SEE_RECALLS)
    page = await disputed_recalls(
        connections_of(request).recall_books(),
        after=parse_id(query.after) if query.after is not None else None,
        limit=query.limit,
    )
    return answered(
        DisputedListAnswer(
            disputed=[_answer(each) for each in page.disputed],
            next_after=str(page.next_after) if page.next_after is not None else None,
        )
    )


@router.post(
    "/{recall_id}/votes",
    response_model=DisputedAnswer,
    summary="Decide on a recall",
    description="Safe to repeat. The second officer who says the same ends it: return gives the amount to "
    "who has paid, keep leaves it with who was paid. An officer's first word stands.",
    responses=problems(
        SIGNED,
        WITH_BODY,
        OF_THE_LEDGER,
        FoundationCode.ID_MALFORMED,
        OF_AN_OFFICER,
        RecallCode.RECALL_NOT_FOUND,
        RecallCode.RECALL_OF_OWN,
        RecallCode.RECALL_VOTE_STANDS,
        RecallCode.RECALL_NOT_DISPUTED,
        RecallCode.RECALL_NOT_OPEN,
        WalletCode.WALLET_CLOSED,
    ),
    openapi_extra=asks(VoteRequest, example={"says": "return"}),
)
async def vote(request: Request, recall_id: RecallPath) -> Response:
    """Take in what the officer whose device sent it says."""
    connections = connections_of(request)
    device = await officer_of(request, Action.DECIDE_RECALL)
    asked = read(VoteRequest, await request.body())
    # An officer's decoy is the officer, though nobody can read that anywhere.
    persons = (device.person_id, decoy_of(connections.pins.pepper, device.person_id))
    done = await vote_on_recall(
        connections.recall_books(),
        device=device,
        persons=persons,
        recall_id=parse_id(recall_id),
        says=asked.says,
    )
    return answered(_answer(done))


def _answer(found: Disputed) -> DisputedAnswer:
    return DisputedAnswer(
        recall=recall_answer(found.recall),
        votes=[VoteAnswer(by=name, says=says) for name, says in found.votes.items()],
    )
