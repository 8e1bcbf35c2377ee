"""Echo: what FastAPI costs by itself, served as the API is."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response


def create_app() -> FastAPI:
    """One route, which sends back what came."""
    app = FastAPI(openapi_url=None)

    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    app.add_api_route("/echo", echo, methods=["POST"])
    return app
