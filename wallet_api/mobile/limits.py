"""Limits: how much the caller may pay, and what of it is left."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import asset_by_code
from foundation.errors import FoundationCode
from foundation.money import Money
from wallet_api.callers import wallet_read
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET, OF_THE_LEDGER, problems, signed
from wallet_api.wire import AmountAnswer, Answer, AssetText, TimeAnswer, answered, instant_text, shown
from wallets.tiers import TIER_LIMITS

router = APIRouter(tags=["payments"])


class WindowAnswer(Answer):
    """A limit, and what of it is left now."""

    window: Annotated[str, Field(description="day: any 24 hours; week, month: of the calendar, UTC.")]
    limit: AmountAnswer
    left: AmountAnswer
    full_at: Annotated[TimeAnswer | None, Field(description="When all of it is free again at the latest.")]


class CeilingAnswer(Answer):
    """What payments may fill the wallet up to; what is on hold does not count."""

    limit: AmountAnswer
    left: Annotated[AmountAnswer, Field(description="How much more may come in by payments now.")]


class LimitsAnswer(Answer):
    """How much the wallet may pay in one asset. Fees do not count."""

    model_config = shown(
        {
            "tier": "standard",
            "asset": "USDT",
            "per_payment": "10000.000000",
            "windows": [
                {
                    "window": "day",
                    "limit": "20000.000000",
                    "left": "19975.000000",
                    "full_at": "2026-11-24T14:05:09.123456Z",
                },
                {
                    "window": "week",
                    "limit": "60000.000000",
                    "left": "59975.000000",
                    "full_at": "2026-11-30T00:00:00.000000Z",
                },
                {
                    "window": "month",
                    "limit": "150000.000000",
                    "left": "149975.000000",
                    "full_at": "2026-12-01T00:00:00.000000Z",
                },
            ],
            "ceiling": {"limit": "250000.000000", "left": "249250.000000"},
        }
    )

    tier: str
    asset: AssetText
    per_payment: Annotated[AmountAnswer | None, Field(description="Null where the asset has no limits.")]
    windows: list[WindowAnswer]
    ceiling: Annotated[
        CeilingAnswer | None, Field(description="What the wallet may hold; null where that has no end.")
    ]


@router.get(
    "/limits",
    response_model=LimitsAnswer,
    summary="Limits",
    description="What is left is the ledger's own room: a payment that fits is not refused for a limit.",
    responses=problems(OF_A_WALLET, OF_THE_LEDGER, FoundationCode.UNKNOWN_ASSET),
    openapi_extra=signed(or_token=True),
)
async def own_limits(
    request: Request,
    asset: Annotated[str, Query(max_length=16, description="The asset's code.")],
) -> Response:
    """What the caller may still pay."""
    wallet = await wallet_read(request)
    wanted = asset_by_code(asset)
    own = connections_of(request).limits
    rooms = await own.rooms(wallet, wanted)
    ceiling = await own.ceilings.ceiling(wallet, wanted)
    limits = TIER_LIMITS[wallet.tier].get(wanted)
    return answered(
        LimitsAnswer(
            tier=wallet.tier,
            asset=wanted.code,
            per_payment=Money(limits.per_payment, wanted).format() if limits is not None else None,
            windows=[
                WindowAnswer(
                    window=room.window,
                    limit=room.limit.format(),
                    left=room.left.format(),
                    full_at=instant_text(room.full_at) if room.full_at is not None else None,
                )
                for room in rooms
            ],
            ceiling=CeilingAnswer(limit=ceiling.limit.format(), left=ceiling.left.format())
            if ceiling is not None
            else None,
        )
    )
