"""PINs: set by a request that the device's key signed."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import Refusal
from identity.pin_errors import PinCode
from identity.pin_rules import PIN_LENGTH_MAX
from identity.pins import PinWish
from wallet_api.callers import device_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_THE_LEDGER, SIGNED, WITH_BODY, asks, problems
from wallet_api.wire import Answer, Asked, HandleText, TimeAnswer, answered, instant_text, read, shown
from wallets.decoys import open_decoy
from wallets.errors import WalletCode
from wallets.request_errors import AskingCode

router = APIRouter(tags=["security"])

PinText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=PIN_LENGTH_MAX + 1,
        description="6 to 12 digits, and none of those that are tried first.",
        examples=["730512"],
    ),
]
"""A PIN, as it was typed."""


class PinRequest(Asked):
    """The PIN that is to hold from now on."""

    pin: PinText
    current_pin: Annotated[PinText | None, Field(description="The PIN of now, where there is one.")] = None
    duress_pin: Annotated[
        PinText | None,
        Field(description="To be given to whoever forces you: it opens another wallet. Left out: as it is."),
    ] = None
    decoy_handle: Annotated[
        HandleText | None, Field(description="With duress_pin: the handle of the wallet that it opens.")
    ] = None
    alarm: Annotated[
        bool, Field(description="With duress_pin: whether officers are to hear when it is used.")
    ] = False


class PinAnswer(Answer):
    """The PIN is set."""

    model_config = shown({"set_at": "2026-11-23T14:05:09.123456Z"})

    set_at: TimeAnswer


@router.put(
    "/pin",
    response_model=PinAnswer,
    summary="Set the PIN",
    description="From then on everything that is signed for the wallet carries a session. A duress PIN "
    "opens a wallet of its own with another handle, money and history, in answers of the same form and "
    "size. Sessions that are open stay so.",
    responses=problems(
        SIGNED,
        WITH_BODY,
        OF_THE_LEDGER,
        PinCode.PIN_MALFORMED,
        PinCode.PIN_TOO_SIMPLE,
        PinCode.PINS_ALIKE,
        PinCode.DECOY_HANDLE_MISSING,
        PinCode.PIN_CHECKS_BUSY,
        PinCode.PIN_NOT_SET,
        PinCode.CURRENT_PIN_MISSING,
        PinCode.PIN_DELAYED,
        PinCode.PIN_WRONG,
        AskingCode.TOO_MANY_LOOKUPS,
        WalletCode.HANDLE_MALFORMED,
        WalletCode.HANDLE_RESERVED,
        WalletCode.HANDLE_TAKEN,
        WalletCode.HANDLE_TOO_SIMILAR,
        WalletCode.WALLET_ALREADY_OPEN,
    ),
    openapi_extra=asks(
        PinRequest,
        example={"pin": "730512", "current_pin": "402936", "duress_pin": "518274", "decoy_handle": "@aye_2"},
    ),
)
async def set_pin(request: Request) -> Response:
    """Set the PIN of the person whose device asks."""
    connections = connections_of(request)
    device = await device_of(request)
    asked = read(PinRequest, await request.body())
    if (asked.duress_pin is None) != (asked.decoy_handle is None):
        raise Refusal(
            PinCode.DECOY_HANDLE_MISSING, "Give duress_pin and decoy_handle together, or neither of them."
        )

    async def make_decoy(person_id: UUID) -> None:
        assert asked.decoy_handle is not None
        # Whether a handle is taken is what a look-up tells.
        await connections.lookups.count(device.person_id)
        await open_decoy(
            connections.database,
            connections.ledger,
            connections.clock,
            person_id=person_id,
            handle=asked.decoy_handle,
        )

    wish = PinWish(asked.pin, asked.current_pin, asked.duress_pin, asked.alarm)
    set_at = await connections.pins.set(device, wish, make_decoy)
    return answered(PinAnswer(set_at=instant_text(set_at)))
