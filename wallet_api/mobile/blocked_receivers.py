"""Blocked receivers: officers see which addresses are never paid, and add to them.

One officer may block, since that holds money back and moves none. Paying an address
again weakens, and stays with the operator's command.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chain.addresses import checksum
from chain.errors import ChainCode
from identity.officers import officer_name
from identity.roles import Action
from treasury.blocked_receivers import BlockedReceiver, block_receiver, list_blocked
from wallet_api.callers import officer_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_AN_OFFICER, SIGNED, WITH_BODY, asks, problems, signed
from wallet_api.wire import Answer, Asked, TimeAnswer, answered, instant_text, read, shown

router = APIRouter(tags=["officers"], prefix="/officers/blocked_receivers")

_BLOCKED = {
    "address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "reason": "stolen in the theft of 2026-11-02",
    "blocked_by": "may",
    "blocked_at": "2026-11-23T14:05:09.123456Z",
}


class BlockedAnswer(Answer):
    """An address that is never paid."""

    model_config = shown(_BLOCKED)

    address: Annotated[str, Field(description="EIP-55 checksum.")]
    reason: str
    blocked_by: str
    blocked_at: TimeAnswer


class BlockedListAnswer(Answer):
    """Every address that is never paid, the newest first."""

    model_config = shown({"receivers": [_BLOCKED]})

    receivers: list[BlockedAnswer]


class BlockRequest(Asked):
    """An address to pay no more."""

    address: Annotated[str, Field(min_length=1, max_length=42)]
    reason: Annotated[
        str,
        Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$", description="For those who look later."),
    ]


@router.get(
    "",
    response_model=BlockedListAnswer,
    summary="Receivers that are never paid",
    responses=problems(SIGNED, OF_AN_OFFICER),
    openapi_extra=signed(),
)
async def blocked_receivers(request: Request) -> Response:
    """Every blocked address."""
    await officer_of(request, Action.SEE_BLOCKED_RECEIVERS)
    async with connections_of(request).database.session() as session:
        found = await list_blocked(session)
    return answered(BlockedListAnswer(receivers=[_answer(one) for one in found]))


@router.post(
    "",
    status_code=201,
    response_model=BlockedListAnswer,
    summary="Never pay a receiver",
    description="Safe to repeat: the first reason stays. What was asked for and is not signed yet goes back "
    "to its wallet. The signer's policy has a list of its own, which its owner keeps.",
    responses=problems(
        SIGNED,
        WITH_BODY,
        OF_AN_OFFICER,
        ChainCode.ADDRESS_MALFORMED,
        ChainCode.ADDRESS_CHECKSUM_MISMATCH,
    ),
    openapi_extra=asks(BlockRequest, example={"address": _BLOCKED["address"], "reason": _BLOCKED["reason"]}),
)
async def block(request: Request) -> Response:
    """Block an address in the name of the officer who asks."""
    connections = connections_of(request)
    device = await officer_of(request, Action.BLOCK_RECEIVER)
    asked = read(BlockRequest, await request.body())
    async with connections.database.session() as session:
        name = await officer_name(session, device.person_id, Action.BLOCK_RECEIVER)
        await block_receiver(
            session,
            connections.clock,
            address=asked.address,
            reason=asked.reason,
            blocked_by=name or str(device.person_id),
        )
        found = await list_blocked(session)
    return answered(BlockedListAnswer(receivers=[_answer(one) for one in found]), status=201)


def _answer(one: BlockedReceiver) -> BlockedAnswer:
    return BlockedAnswer(
        address=checksum(one.address),
        reason=one.reason,
        blocked_by=one.blocked_by,
        blocked_at=instant_text(one.blocked_at),
    )
