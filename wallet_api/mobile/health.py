"""Health: whether this process can serve, the server's time, and the assets it knows."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final, Literal

import structlog
from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from foundation.assets import ASSETS
from foundation.errors import Unavailable
from wallet_api.connections import Connections, connections_of
from wallet_api.operations import OF_THE_LEDGER, problems
from wallet_api.wire import Answer, AssetText, TimeAnswer, answered, shown, time_text

log = structlog.get_logger()

router = APIRouter(tags=["service"])

PROBE_SECONDS: Final = 2.0
"""How long the database and the ledger together have to answer."""


class TimeOfServer(Answer):
    """The server's time, for a device whose clock is wrong."""

    model_config = shown({"server_time": "2026-11-23T14:05:09.123456Z"})

    server_time: TimeAnswer


class HealthAnswer(Answer):
    """This process serves."""

    model_config = shown({"status": "ok", "server_time": "2026-11-23T14:05:09.123456Z"})

    status: Literal["ok"]
    server_time: TimeAnswer


class AssetAnswer(Answer):
    """An asset."""

    asset: AssetText
    name: str
    scale: Annotated[int, Field(description="Most decimals of an amount.")]


class AssetsAnswer(Answer):
    """Every asset."""

    model_config = shown(
        {
            "assets": [
                {"asset": "USDT", "name": "Tether USD", "scale": 6},
                {"asset": "DMMK", "name": "Digital Myanmar Kyat", "scale": 2},
            ]
        }
    )

    assets: list[AssetAnswer]


@router.get(
    "/time",
    response_model=TimeOfServer,
    summary="The server's time",
    description="Open: not signed.",
    responses=problems(),
)
async def server_time(request: Request) -> Response:
    """The server's time."""
    return answered(TimeOfServer(server_time=time_text(connections_of(request).clock.now_ns())))


@router.get(
    "/health",
    response_model=HealthAnswer,
    summary="Whether payments can be made now",
    description="Open: not signed. Asks the database and the ledger.",
    responses=problems(OF_THE_LEDGER),
)
async def health(request: Request) -> Response:
    """Whether the database and the ledger answer."""
    connections = connections_of(request)
    await _probe(connections)
    return answered(HealthAnswer(status="ok", server_time=time_text(connections.clock.now_ns())))


@router.get(
    "/assets",
    response_model=AssetsAnswer,
    summary="Assets",
    description="Open: not signed.",
    responses=problems(),
)
async def assets() -> Response:
    """The assets that wallets hold."""
    return answered(
        AssetsAnswer(
            assets=[AssetAnswer(asset=each.code, name=each.name, scale=each.scale) for each in ASSETS]
        )
    )


async def _probe(connections: Connections) -> None:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            async with connections.database.connection() as connection:
                await connection.execute(text("SELECT 1"))
            await connections.ledger.lookup_accounts([1])
    except (TimeoutError, SQLAlchemyError, OSError) as error:
        log.warning("not_healthy", error=type(error).__name__)
        raise Unavailable(
            "database_unavailable", "The database or the ledger does not answer.", outcome_unknown=False
        ) from error
