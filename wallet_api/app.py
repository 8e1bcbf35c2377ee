"""The application: routes, the gate around them, and how errors are answered.

    granian --interface asgi --http 1 --factory wallet_api.app:create_app

It is stateless: any number of processes may serve side by side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from foundation.errors import Refusal, Unavailable
from foundation.languages.catalogues import all_texts
from foundation.logs import configure_logging
from foundation.settings import Settings, get_settings
from wallet_api.connections import Connections, connect
from wallet_api.errors import ApiCode
from wallet_api.express import ExpressAPI
from wallet_api.gate import Gate, asker_of
from wallet_api.merchant import invoices, settlements, till_keys, till_refunds, till_staff, tills, webhooks
from wallet_api.mobile import (
    balances,
    blocked_receivers,
    breaker,
    bulk_payments,
    deposits,
    devices,
    duress_logins,
    enrolments,
    fees,
    handles,
    health,
    history,
    limits,
    memo_keys,
    officers,
    own_handle,
    payment_codes,
    payment_requests,
    payments,
    personal_data,
    pins,
    recall_votes,
    recalls,
    receipts,
    recovery,
    refunds,
    reviews,
    sessions,
    splits,
    standing_orders,
    statements,
    syncs,
    wallet,
    withdrawals,
)
from wallet_api.openapi import DOCUMENT
from wallet_api.problem import refusal_response, unavailable_response
from wallet_api.public import payment_links, reserves
from wallet_api.sandbox import routes as sandbox_routes
from wallet_api.sandbox.app import SANDBOX_EXPRESS, SandboxAPI
from wallet_api.wire import malformed

Connect = Callable[[Settings], AbstractAsyncContextManager[Connections]]
"""Opens what the routes need, and closes it at the end."""

RESOURCES = (
    payments, balances, history, handles, payment_requests, payment_codes, wallet, fees, limits, sessions,
    pins, devices, recovery, deposits, refunds, recalls, bulk_payments, withdrawals, enrolments, health,
    reserves, officers, breaker, blocked_receivers, duress_logins, receipts, statements, syncs,
    invoices, tills, till_refunds, till_staff, till_keys, settlements, webhooks,
    recall_votes, standing_orders, splits, memo_keys, personal_data, own_handle, reviews,
)  # fmt: skip
"""The modules whose routers make up /v1; they are tried in this order, so the busiest are first."""


EXPRESS: Final = {
    ("POST", "/v1/payments"): payments.make_payment,
    ("GET", "/v1/balances"): balances.own_balances,
}
"""Operations that skip the router; each is a route as well, which describes it."""


def create_app(settings: Settings | None = None, *, connect: Connect = connect) -> FastAPI:
    """The application; it connects when its lifespan begins."""
    # Read now, so that a catalogue that cannot be read is found at start and no answer waits for one.
    all_texts()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        chosen = settings or get_settings()
        configure_logging("api", chosen.log_level)
        async with connect(chosen) as connections:
            app.state.connections = connections
            yield

    # Decided here, once: nothing asks at a payment whether this is a sandbox.
    is_sandbox = (settings or get_settings()).sandbox
    make, express = (SandboxAPI, EXPRESS | SANDBOX_EXPRESS) if is_sandbox else (ExpressAPI, EXPRESS)
    app = make(
        express,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    for resource in RESOURCES:
        app.include_router(resource.router, prefix="/v1")
    if is_sandbox:
        app.include_router(sandbox_routes.router, prefix="/v1")
    app.add_api_route("/v1/openapi.json", _openapi, methods=["GET"], include_in_schema=False)
    app.add_api_route(payment_links.PATH, payment_links.payment_page, include_in_schema=False)
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(Unavailable, _answer_unavailable)
    app.add_exception_handler(DBAPIError, _answer_database_away)
    app.add_exception_handler(PoolTimeoutError, _answer_database_away)
    app.add_exception_handler(RequestValidationError, _answer_malformed)
    app.add_exception_handler(HTTPException, _answer_routing)
    app.add_middleware(Gate)
    return app


async def _openapi(_request: Request) -> Response:
    return Response(DOCUMENT.read_bytes(), media_type="application/json")


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refusal_response(error, **asker_of(request.scope))


async def _answer_unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, Unavailable)
    return unavailable_response(error, **asker_of(request.scope))


async def _answer_database_away(request: Request, error: Exception) -> Response:
    if isinstance(error, DBAPIError) and not error.connection_invalidated and not _is_outage(error):
        # A statement that the database refuses is a fault of ours: the gate answers it.
        raise error
    # The database may have gone while the ledger, which has a connection of its own,
    # had already paid: only a read is known to have changed nothing.
    away = Unavailable(
        "database_unavailable", "The database does not answer.", outcome_unknown=request.method != "GET"
    )
    return unavailable_response(away, **asker_of(request.scope))


def _is_outage(error: DBAPIError) -> bool:
    return type(error).__name__ in {"OperationalError", "InterfaceError"}


async def _answer_malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return refusal_response(malformed(list(error.errors())), **asker_of(request.scope))


async def _answer_routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        refusal = Refusal(
            ApiCode.METHOD_NOT_ALLOWED, f"{request.method} is not answered here.", allow=_allowed(error)
        )
    else:
        refusal = Refusal(ApiCode.ROUTE_NOT_FOUND, "There is nothing at this path.")
    response = refusal_response(refusal, **asker_of(request.scope))
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def _allowed(error: HTTPException) -> str:
    return (error.headers or {}).get("Allow", "")
