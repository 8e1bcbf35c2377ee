"""Duress logins: officers see which of those who wished for it have used their duress PIN."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from identity.roles import Action
from wallet_api.callers import officer_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_AN_OFFICER, SIGNED, problems, signed
from wallet_api.wire import Answer, TimeAnswer, UUIDText, answered, instant_text, shown

router = APIRouter(tags=["officers"], prefix="/officers/duress_logins")

LOOKED_BACK: Final = timedelta(days=7)
"""How far the list goes back."""


class DuressLoginAnswer(Answer):
    """Somebody was forced to log in."""

    person_id: UUIDText
    device_id: UUIDText
    at: TimeAnswer


class DuressLoginsAnswer(Answer):
    """Logins under duress in the last seven days, oldest first."""

    model_config = shown(
        {
            "duress_logins": [
                {
                    "person_id": "019ab0c4-1111-7a3e-8f41-6b2c9d0e1f23",
                    "device_id": "019ab0c4-5d10-7a3e-8f41-6b2c9d0e1f23",
                    "at": "2026-11-23T14:05:09.123456Z",
                }
            ]
        }
    )

    duress_logins: list[DuressLoginAnswer]


@router.get(
    "",
    response_model=DuressLoginsAnswer,
    summary="Logins under duress",
    description="Of those who wished for an alarm, and of nobody else. Nothing tells the device.",
    responses=problems(SIGNED, OF_AN_OFFICER),
    openapi_extra=signed(),
)
async def duress_logins(request: Request) -> Response:
    """Whom officers should think of."""
    await officer_of(request, Action.SEE_DURESS_LOGINS)
    connections = connections_of(request)
    found = await connections.sessions.duress_logins(connections.clock.now() - LOOKED_BACK)
    return answered(
        DuressLoginsAnswer(
            duress_logins=[
                DuressLoginAnswer(
                    person_id=str(one.person_id), device_id=str(one.device_id), at=instant_text(one.at)
                )
                for one in found
            ]
        )
    )
