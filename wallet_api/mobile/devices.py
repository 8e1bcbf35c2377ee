"""Devices: which are enrolled, taking one's rights away, and letting a further one in."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import FoundationCode, Refusal
from foundation.ids import parse_id
from identity.devices import list_devices, revoke_device
from identity.enrolment import issue_device_code
from identity.keys import KeyAlgorithm
from identity.pin_errors import PinCode
from wallet_api.callers import session_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_SESSION, SIGNED, problems, signed
from wallet_api.wire import Answer, TimeAnswer, UUIDText, answered, id_in_path, instant_text, shown

router = APIRouter(tags=["security"])

CODE_LIFETIME: Final = timedelta(minutes=15)
"""How long a further device may be enrolled with a code: both lie on one table."""


class DeviceAnswer(Answer):
    """A device of the caller."""

    id: UUIDText
    key_id: Annotated[str, Field(description="What the device's signatures name as keyid.")]
    algorithm: KeyAlgorithm
    created_at: TimeAnswer
    revoked_at: TimeAnswer | None


class DevicesAnswer(Answer):
    """The caller's devices, oldest first, revoked ones included."""

    model_config = shown(
        {
            "devices": [
                {
                    "id": "019ab0c4-5d10-7a3e-8f41-6b2c9d0e1f23",
                    "key_id": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                    "algorithm": "ed25519",
                    "created_at": "2026-11-23T14:05:09.123456Z",
                    "revoked_at": None,
                }
            ]
        }
    )

    devices: list[DeviceAnswer]


class DeviceEndAnswer(Answer):
    """The device can do nothing any more."""

    model_config = shown({"id": "019ab0c4-5d10-7a3e-8f41-6b2c9d0e1f23"})

    id: UUIDText


class DeviceCodeAnswer(Answer):
    """A code that enrols one further device of the caller."""

    model_config = shown(
        {"code": "K7QF2M9X-3JD8WZ-PQ4T7V-N2C5RA", "expires_at": "2026-11-23T14:20:09.123456Z"}
    )

    code: Annotated[str, Field(description="To be typed into the further device; shown this once.")]
    expires_at: TimeAnswer


@router.get(
    "/devices",
    response_model=DevicesAnswer,
    summary="Devices",
    responses=problems(SIGNED, OF_A_SESSION),
    openapi_extra=signed(),
)
async def own_devices(request: Request) -> Response:
    """The devices of the person whose device asks; the same in every session."""
    live = await session_of(request)
    async with connections_of(request).database.session() as session:
        found = await list_devices(session, live.owner_id)
    return answered(
        DevicesAnswer(
            devices=[
                DeviceAnswer(
                    id=str(one.id),
                    key_id=one.key_id,
                    algorithm=one.algorithm,
                    created_at=instant_text(one.created_at),
                    revoked_at=instant_text(one.revoked_at) if one.revoked_at is not None else None,
                )
                for one in found
            ]
        )
    )


@router.delete(
    "/devices/{device_id}",
    response_model=DeviceEndAnswer,
    summary="Revoke a device",
    description="From the next request on, for ever, with all its sessions; the one that asks too.",
    responses=problems(SIGNED, OF_A_SESSION, FoundationCode.ID_MALFORMED, PinCode.DEVICE_NOT_FOUND),
    openapi_extra=signed(),
)
async def end_device(
    request: Request,
    device_id: Annotated[str, id_in_path("The device's id.")],
) -> Response:
    """Take a device's rights away."""
    live = await session_of(request)
    connections = connections_of(request)
    wanted = parse_id(device_id)
    async with connections.database.session() as session:
        revoked = await revoke_device(session, connections.clock, person_id=live.owner_id, device_id=wanted)
    if not revoked:
        raise Refusal(PinCode.DEVICE_NOT_FOUND, "No device of yours has this id.")
    return answered(DeviceEndAnswer(id=str(wanted)))


@router.post(
    "/devices/codes",
    status_code=201,
    response_model=DeviceCodeAnswer,
    summary="A code for a further device",
    description="The further device enrols with it: POST /v1/enrolments. Three a day at most.",
    responses=problems(SIGNED, OF_A_SESSION, PinCode.TOO_MANY_DEVICE_CODES),
    openapi_extra=signed(),
)
async def make_device_code(request: Request) -> Response:
    """Let one further device in."""
    live = await session_of(request)
    connections = connections_of(request)
    async with connections.database.session() as session:
        code = await issue_device_code(
            session, connections.clock, person_id=live.owner_id, lifetime=CODE_LIFETIME
        )
    expires_at = connections.clock.now() + CODE_LIFETIME
    return answered(DeviceCodeAnswer(code=code, expires_at=instant_text(expires_at)), status=201)
