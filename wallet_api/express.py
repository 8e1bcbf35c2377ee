"""Express: the busiest operations, answered without FastAPI's way to a route.

A route's function takes a request and gives a response, so that whoever knows the
function can call it. For most operations the router finds it; for those that phones
call all day, a table does, which takes a quarter of the time. They are described,
refused and answered like all others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from wallet_api.gate import Gate

Endpoint = Callable[[Request], Awaitable[Response]]
"""A route's function that takes the request alone."""


class ExpressAPI(FastAPI):
    """The application, with a table of operations that skip the router."""

    def __init__(self, express: Mapping[tuple[str, str], Endpoint], **settings: Any) -> None:
        super().__init__(**settings)
        self._express: Final = {key: Gate(self._answering(endpoint)) for key, endpoint in express.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        gate = self._express.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if gate is None:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await gate(scope, receive, send)

    def _answering(self, endpoint: Endpoint) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            try:
                response = await endpoint(request)
            # The handlers that the router would ask; what none of them knows is the gate's to answer.
            except Exception as error:
                handler = self._handler(error)
                if handler is None:
                    raise
                response = await handler(request, error)
            await response(scope, receive, send)

        return answer

    def _handler(self, error: Exception) -> Any:
        handlers = self.exception_handlers
        return next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
