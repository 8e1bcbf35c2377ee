"""The sandbox's own operations: its clock, and a list of what amounts force.

They are there in a sandbox alone, for anybody who reaches it, and unsigned: whoever has
moved the clock could not sign by it before knowing it. So they are no part of the API's
description, which says what a bank answers; docs/api.md describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import USDT
from foundation.errors import Refusal
from foundation.sandbox_clock import ADVANCE_SECONDS_MAX, AHEAD_SECONDS_MAX, SandboxClock
from wallet_api.connections import connections_of
from wallet_api.errors import ApiCode
from wallet_api.sandbox.forcing import MODULUS, Magic, example_amount
from wallet_api.sandbox.magic_amounts import MAGIC_PAYMENTS, MAGIC_WITHDRAWALS
from wallet_api.wire import Answer, Asked, TimeAnswer, answered, read, time_text

router = APIRouter(prefix="/sandbox", include_in_schema=False)

EXAMPLES_IN: Final = USDT
"""The asset in which magic amounts are shown."""


class AdvanceRequest(Asked):
    """How far the clock is to be moved."""

    advance_seconds: Annotated[int, Field(ge=1, le=ADVANCE_SECONDS_MAX)]


class ClockAnswer(Answer):
    """The sandbox's time."""

    now: TimeAnswer
    ahead_seconds: int
    """How far it is ahead of the machine's."""


class MagicAnswer(Answer):
    """A magic amount."""

    minor_units_end_in: int
    example: str
    code: str
    says: str


class SandboxAnswer(Answer):
    """What a client may try here."""

    clock: ClockAnswer
    asset: str
    """In which examples are."""
    modulus: int
    payments: list[MagicAnswer]
    withdrawals: list[MagicAnswer]


@router.get("")
async def sandbox(request: Request) -> Response:
    """The clock, and the magic amounts."""
    return answered(
        SandboxAnswer(
            clock=_shown(_clock(request)),
            asset=EXAMPLES_IN.code,
            modulus=MODULUS,
            payments=_listed(MAGIC_PAYMENTS),
            withdrawals=_listed(MAGIC_WITHDRAWALS),
        )
    )


@router.post("/clock")
async def advance_clock(request: Request) -> Response:
    """Move the clock forward, for every process of this bank."""
    asked = read(AdvanceRequest, await request.body())
    clock = _clock(request)
    if not clock.advance(asked.advance_seconds):
        raise Refusal(
            ApiCode.REQUEST_MALFORMED,
            f"advance_seconds: A sandbox is at most {AHEAD_SECONDS_MAX} seconds ahead.",
            field="advance_seconds",
        )
    return answered(_shown(clock))


def _clock(request: Request) -> SandboxClock:
    clock = connections_of(request).clock
    assert isinstance(clock, SandboxClock), "a sandbox runs by the sandbox's clock"
    return clock


def _shown(clock: SandboxClock) -> ClockAnswer:
    return ClockAnswer(now=time_text(clock.now_ns()), ahead_seconds=clock.ahead_seconds)


def _listed(table: Mapping[int, Magic]) -> list[MagicAnswer]:
    return [
        MagicAnswer(
            minor_units_end_in=magic.number,
            example=example_amount(magic, EXAMPLES_IN).format(),
            code=magic.code,
            says=magic.says,
        )
        for magic in table.values()
    ]
