"""Enrolments: a device becomes somebody's, with a one-time code and its own key."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from identity.enrolment import enrol_device
from identity.errors import IdentityCode
from identity.keys import PublicKey
from wallet_api.callers import signed_request
from wallet_api.connections import connections_of
from wallet_api.operations import SIGNED, WITH_BODY, asks, problems
from wallet_api.wire import Answer, Asked, UUIDText, answered, read, shown

router = APIRouter(tags=["devices"])

Coordinate = Annotated[str, Field(max_length=64, description="32 bytes in base64url without padding.")]


class PublicKeyRequest(Asked):
    """A public key as a JSON Web Key: Ed25519 (kty OKP) or P-256 (kty EC)."""

    kty: Literal["OKP", "EC"]
    crv: Literal["Ed25519", "P-256"]
    x: Coordinate
    y: Coordinate | None = None


class EnrolmentRequest(Asked):
    """A new device shows its code and its key; the request is signed with that key."""

    code: Annotated[
        str, Field(min_length=1, max_length=64, description="The one-time code, as it was given.")
    ]
    public_key: PublicKeyRequest


class EnrolmentAnswer(Answer):
    """The device is enrolled."""

    model_config = shown(
        {
            "device_id": "019ab0c4-5d10-7a3e-8f41-6b2c9d0e1f23",
            "key_id": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        }
    )

    device_id: UUIDText
    key_id: Annotated[str, Field(description="What the device's signatures name as keyid.")]


@router.post(
    "/enrolments",
    status_code=201,
    response_model=EnrolmentAnswer,
    summary="Enrol this device",
    description="Signed with the new key itself, which proves that the device holds it. "
    "The same code with the same key gives the same answer for ever.",
    responses=problems(
        SIGNED[:-2],
        WITH_BODY,
        IdentityCode.PUBLIC_KEY_MALFORMED,
        IdentityCode.ENROLMENT_CODE_WRONG,
        IdentityCode.ENROLMENT_CODE_EXPIRED,
        IdentityCode.ENROLMENT_CODE_USED,
        IdentityCode.DEVICE_ALREADY_ENROLLED,
    ),
    openapi_extra=asks(
        EnrolmentRequest,
        example={
            "code": "K7QF2M9X-3JD8WZ-PQ4T7V-N2C5RA",
            "public_key": {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            },
        },
    ),
)
async def enrol(request: Request) -> Response:
    """Enrol the device that sent the request."""
    connections = connections_of(request)
    message = signed_request(request)
    asked = read(EnrolmentRequest, message.body)
    enrolment = await enrol_device(
        connections.database,
        connections.clock,
        request=message,
        code=asked.code,
        key=PublicKey.from_jwk(asked.public_key.model_dump(exclude_none=True)),
    )
    device = enrolment.device
    return answered(
        EnrolmentAnswer(device_id=str(device.id), key_id=device.key.key_id),
        status=201,
        replayed=enrolment.replayed,
    )
