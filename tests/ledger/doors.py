"""Asking the ledger's application as some caller, in every form that a question has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from ledger.contract import Account, Transfer
from ledger.door.application import create_app
from ledger.door.desk import Desk
from ledger.door.judge import Caller, Door
from ledger.door.peers import CALLER
from ledger.engine import LedgerEngine
from ledger.operations import BATCHES_HEADER, JSON, OPERATIONS, PACKED, to_json
from ledger.records import pack_accounts, pack_transfers

FORMS = ("json", "packed", "json, coalesced", "packed, coalesced")
"""How the same events can be sent; coalesced ones are a batch each of one request."""


class Visitor:
    """One caller in front of the application of an engine, without a connection between."""

    def __init__(self, engine: LedgerEngine, door: Door, caller: Caller | None) -> None:
        self._app: Starlette = create_app(Desk(engine, door), engine, door)
        self._caller = caller

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})[CALLER] = self._caller
        await self._app(scope, receive, send)

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Any request."""
        transport = httpx.ASGITransport(self._ask)
        async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as http:
            return await http.request(method, path, **more)

    async def post(self, operation: str, body: object, **headers: str) -> httpx.Response:
        """A question: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.request(
            "POST", f"/v1/{operation}", content=content, headers={"content-type": JSON} | headers
        )

    async def create(self, events: Sequence[Account | Transfer], form: str) -> httpx.Response:
        """Create accounts or transfers in one of the ``FORMS``."""
        transfers = [event for event in events if isinstance(event, Transfer)]
        accounts = [event for event in events if isinstance(event, Account)]
        operation = "create_transfers" if transfers else "create_accounts"
        headers = {BATCHES_HEADER: ",".join("1" for _ in events)} if "coalesced" in form else {}
        if form.startswith("json"):
            return await self.post(operation, to_json(events), **headers)
        body = pack_transfers(transfers) + pack_accounts(accounts)
        return await self.post(operation, body, **{"content-type": PACKED}, **headers)


READS = tuple(name for name in OPERATIONS if not name.startswith("create_"))
"""Every operation that changes nothing."""
