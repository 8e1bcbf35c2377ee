"""Officers: withdrawals that await them, and their signatures under what is paid.

Whoever is no officer finds nothing here. An approval is a detached signature of the
officer's device under the statement, beside the request's own signature: the first
convinces the signer process, which never sees a request, the second only this API.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chain.errors import ChainCode
from foundation.errors import FoundationCode
from foundation.ids import parse_id
from identity.roles import Action
from treasury.errors import TreasuryCode
from treasury.withdrawal_approvals import (
    AwaitedWithdrawal,
    approval_statement,
    approve_withdrawal,
    awaited_withdrawals,
)
from wallet_api.callers import officer_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_AN_OFFICER, SIGNED, WITH_BODY, asks, problems, signed
from wallet_api.wire import (
    AmountAnswer,
    Answer,
    Asked,
    AssetText,
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

router = APIRouter(tags=["officers"], prefix="/officers")

_STATEMENT = (
    "NUG Pay withdrawal approval, version 1\nchain: 31337\nvault: 0x1111…\n"
    "withdrawal: 019ab0c5-11aa-7e02-b6c1-0f9e8d7c6b5a\n…\n"
)

_AWAITED = {
    "id": "019ab0c5-11aa-7e02-b6c1-0f9e8d7c6b5a",
    "requester": "019ab0c4-5d10-7a3e-8f41-6b2c9d0e1f23",
    "asset": "USDT",
    "amount": "60000.000000",
    "fee": "1.000000",
    "to_address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "awaits_since": "2026-11-23T14:05:09.123456Z",
    "approvals": 1,
}


class AwaitedAnswer(Answer):
    """A withdrawal that the signer will not sign without two officers."""

    model_config = shown(_AWAITED)

    id: UUIDText
    requester: Annotated[UUIDText, Field(description="Who asked for it; may not approve it.")]
    asset: AssetText
    amount: AmountAnswer
    fee: AmountAnswer
    to_address: str
    awaits_since: TimeAnswer
    approvals: Annotated[int, Field(description="Officers whose approval is there and has not expired.")]


class AwaitedListAnswer(Answer):
    """What awaits officers, the longest waiting first."""

    model_config = shown({"withdrawals": [_AWAITED]})

    withdrawals: list[AwaitedAnswer]


class StatementAnswer(Answer):
    """The text that a device signs to approve a withdrawal; it shows it to the officer first."""

    model_config = shown({"statement": _STATEMENT, "approved_at": 1_795_500_000, "expires_at": 1_795_503_600})

    statement: Annotated[str, Field(description="Signed as UTF-8, to the byte.")]
    approved_at: Annotated[int, Field(description="Seconds since 1970, as in the statement.")]
    expires_at: Annotated[int, Field(description="Seconds since 1970, as in the statement.")]


class ApprovalRequest(Asked):
    """An officer's signature under the statement with these times."""

    approved_at: Annotated[int, Field(ge=0, le=2**40)]
    expires_at: Annotated[int, Field(ge=0, le=2**40)]
    signature: SignatureText


class ApprovalAnswer(Answer):
    """The approval is kept; the signer judges it."""

    model_config = shown({"approvals": 2})

    approvals: Annotated[int, Field(description="Officers whose approval is there and has not expired.")]


WithdrawalId = Annotated[str, id_in_path("The withdrawal's id.")]


@router.get(
    "/withdrawals",
    response_model=AwaitedListAnswer,
    summary="Withdrawals that await officers",
    responses=problems(SIGNED, OF_AN_OFFICER),
    openapi_extra=signed(),
)
async def awaited(request: Request) -> Response:
    """What awaits officers."""
    connections = connections_of(request)
    await officer_of(request, Action.SEE_WITHDRAWALS)
    async with connections.database.session() as session:
        found = await awaited_withdrawals(session, connections.clock)
    return answered(AwaitedListAnswer(withdrawals=[_answer(each) for each in found]))


@router.get(
    "/withdrawals/{withdrawal_id}/statement",
    response_model=StatementAnswer,
    summary="What an officer signs",
    description="The statement of now, good for an hour. A device reads the withdrawal from it, "
    "shows it, and signs these bytes and no others.",
    responses=problems(
        SIGNED,
        FoundationCode.ID_MALFORMED,
        ChainCode.DEPLOYMENT_NOT_FOUND,
        OF_AN_OFFICER,
        TreasuryCode.WITHDRAWAL_NOT_FOUND,
        TreasuryCode.APPROVAL_NOT_AWAITED,
    ),
    openapi_extra=signed(),
)
async def statement_to_sign(request: Request, withdrawal_id: WithdrawalId) -> Response:
    """The statement of a withdrawal."""
    connections = connections_of(request)
    await officer_of(request, Action.SEE_WITHDRAWALS)
    async with connections.database.session() as session:
        said, approved_at, expires_at = await approval_statement(
            session, connections.clock, connections.deployment(), withdrawal_id=parse_id(withdrawal_id)
        )
    return answered(StatementAnswer(statement=said.decode(), approved_at=approved_at, expires_at=expires_at))


@router.post(
    "/withdrawals/{withdrawal_id}/approvals",
    status_code=201,
    response_model=ApprovalAnswer,
    summary="Approve a withdrawal",
    description="Safe to repeat. Two officers must, and neither may be who asked for it; the signer "
    "process verifies the signatures itself, with the keys of its own policy.",
    responses=problems(
        SIGNED,
        WITH_BODY,
        FoundationCode.ID_MALFORMED,
        ChainCode.DEPLOYMENT_NOT_FOUND,
        OF_AN_OFFICER,
        TreasuryCode.WITHDRAWAL_NOT_FOUND,
        TreasuryCode.APPROVAL_NOT_AWAITED,
        TreasuryCode.APPROVAL_OF_OWN_WITHDRAWAL,
        TreasuryCode.APPROVAL_TIMES_MALFORMED,
        TreasuryCode.APPROVAL_EXPIRED,
        TreasuryCode.APPROVAL_SIGNATURE_WRONG,
    ),
    openapi_extra=asks(
        ApprovalRequest,
        example={"approved_at": 1_795_500_000, "expires_at": 1_795_503_600, "signature": "A" * 86 + "=="},
    ),
)
async def approve(request: Request, withdrawal_id: WithdrawalId) -> Response:
    """Take in the approval of the officer whose device sent it."""
    connections = connections_of(request)
    device = await officer_of(request, Action.APPROVE_WITHDRAWAL)
    asked = read(ApprovalRequest, await request.body())
    async with connections.database.session() as session:
        approvals = await approve_withdrawal(
            session,
            connections.clock,
            connections.deployment(),
            device=device,
            withdrawal_id=parse_id(withdrawal_id),
            approved_at=asked.approved_at,
            expires_at=asked.expires_at,
            signature=signature_of(asked.signature),
        )
    return answered(ApprovalAnswer(approvals=approvals), status=201)


def _answer(awaited: AwaitedWithdrawal) -> AwaitedAnswer:
    return AwaitedAnswer(
        id=str(awaited.id),
        requester=str(awaited.requester),
        asset=awaited.amount.asset.code,
        amount=awaited.amount.format(),
        fee=awaited.fee.format(),
        to_address=awaited.to_address,
        awaits_since=instant_text(awaited.awaits_since),
        approvals=awaited.approvals,
    )
