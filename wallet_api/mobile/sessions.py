"""Sessions: log in with the PIN, see where one is logged in, log out."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode
from foundation.ids import parse_id
from identity.pin_errors import PinCode
from identity.sessions import LISTED_MAX
from wallet_api.callers import device_of, session_of
from wallet_api.connections import connections_of
from wallet_api.mobile.pins import PinText
from wallet_api.operations import OF_A_SESSION, SIGNED, WITH_BODY, asks, problems, signed
from wallet_api.padding import pad_list
from wallet_api.wire import (
    Answer,
    Asked,
    TimeAnswer,
    UUIDText,
    answered,
    id_in_path,
    instant_text,
    read,
    shown,
)

router = APIRouter(tags=["security"])

LINE_BYTES: Final = 256
"""Longest line of the list."""


class SessionRequest(Asked):
    """The PIN, as it was typed."""

    pin: PinText


class SessionAnswer(Answer):
    """A session that was opened. Its token is shown this once."""

    model_config = shown(
        {
            "id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
            "token": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "created_at": "2026-11-23T14:05:09.123456Z",
            "expires_at": "2026-11-23T14:20:09.123456Z",
        }
    )

    id: UUIDText
    token: Annotated[str, Field(description="43 characters: Authorization: Bearer and the token.")]
    created_at: TimeAnswer
    expires_at: TimeAnswer


class SessionLineAnswer(Answer):
    """A session that is open."""

    id: UUIDText
    device_id: UUIDText
    created_at: TimeAnswer
    expires_at: TimeAnswer


class SessionsAnswer(Answer):
    """The open sessions of this wallet, newest first."""

    model_config = shown(
        {
            "sessions": [
                {
                    "id": "019ab0c4-6a2e-7c11-9d2b-3f6f0c1d2e4a",
                    "device_id": "019ab0c4-5d10-7a3e-8f41-6b2c9d0e1f23",
                    "created_at": "2026-11-23T14:05:09.123456Z",
                    "expires_at": "2026-11-23T14:20:09.123456Z",
                }
            ]
        }
    )

    sessions: list[SessionLineAnswer]


class SessionEndAnswer(Answer):
    """What was asked to end has ended."""

    model_config = shown({"revoked_at": "2026-11-23T14:05:09.123456Z"})

    revoked_at: TimeAnswer


@router.post(
    "/sessions",
    status_code=201,
    response_model=SessionAnswer,
    summary="Log in",
    description="Signed by the device, with the PIN. The token alone reads balances, history, limits, the "
    "wallet and payments; to pay, send it and sign it. After five wrong PINs a device waits, twice as "
    "long each time; after ten its key is stopped, and the person's other devices are not.",
    responses=problems(
        SIGNED,
        WITH_BODY,
        PinCode.PIN_MALFORMED,
        PinCode.PIN_CHECKS_BUSY,
        PinCode.PIN_NOT_SET,
        PinCode.PIN_DELAYED,
        PinCode.PIN_WRONG,
    ),
    openapi_extra=asks(SessionRequest, example={"pin": "730512"}),
)
async def open_session(request: Request) -> Response:
    """Open a session of the device that asks."""
    device = await device_of(request)
    asked = read(SessionRequest, await request.body())
    opened = await connections_of(request).sessions.open(device, asked.pin)
    return answered(
        SessionAnswer(
            id=str(opened.id),
            token=opened.token,
            created_at=instant_text(opened.created_at),
            expires_at=instant_text(opened.expires_at),
        ),
        status=201,
    )


@router.get(
    "/sessions",
    response_model=SessionsAnswer,
    summary="Open sessions",
    description="Those of this wallet, on all devices.",
    responses=problems(SIGNED, OF_A_SESSION),
    openapi_extra=signed(),
)
async def own_sessions(request: Request) -> Response:
    """The sessions that show what the caller's session shows."""
    live = await session_of(request)
    pad_list(request, lines_max=LISTED_MAX, line_bytes=LINE_BYTES)
    found = await connections_of(request).sessions.open_ones(live)
    return answered(
        SessionsAnswer(
            sessions=[
                SessionLineAnswer(
                    id=str(one.id),
                    device_id=str(one.device_id),
                    created_at=instant_text(one.created_at),
                    expires_at=instant_text(one.expires_at),
                )
                for one in found
            ]
        )
    )


@router.delete(
    "/sessions",
    response_model=SessionEndAnswer,
    summary="Log out everywhere",
    description="Ends every session of this wallet, the one that asks included.",
    responses=problems(SIGNED, OF_A_SESSION),
    openapi_extra=signed(),
)
async def end_sessions(request: Request) -> Response:
    """End all sessions that show what the caller's session shows."""
    live = await session_of(request)
    at = await connections_of(request).sessions.revoke(live, None)
    return answered(SessionEndAnswer(revoked_at=instant_text(at)))


@router.delete(
    "/sessions/{session_id}",
    response_model=SessionEndAnswer,
    summary="Log out",
    responses=problems(SIGNED, OF_A_SESSION, FoundationCode.ID_MALFORMED, PinCode.SESSION_NOT_FOUND),
    openapi_extra=signed(),
)
async def end_session(
    request: Request,
    session_id: Annotated[str, id_in_path("The session's id.")],
) -> Response:
    """End one session of the caller's wallet."""
    live = await session_of(request)
    at = await connections_of(request).sessions.revoke(live, parse_id(session_id))
    return answered(SessionEndAnswer(revoked_at=instant_text(at)))
