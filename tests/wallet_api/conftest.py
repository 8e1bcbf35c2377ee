"""The API in this process, on a real database and a real ledger, with a clock that tests move."""

import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from nugpay_client.keys import DeviceKey
from nugpay_client.signing import signature_headers

from foundation.assets import USDT, Asset
from foundation.clock import SECOND_NS, SettableClock
from foundation.database import Database
from foundation.ids import uuid7
from foundation.money import Money
from foundation.postgres import sync_url
from foundation.settings import Settings
from identity.enrolment import issue_enrolment_code
from ledger.chart import (
    LIMIT_LEDGERS,
    AccountCode,
    TransferCode,
    open_system_accounts,
    system_account_id,
    wallet_account_id,
)
from ledger.contract import CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from tests.ledger.invariants import check_journal
from wallet_api.app import create_app
from wallet_api.connections import Connections
from wallet_api.problem_kinds import PROBLEM_KINDS

BASE = "http://api.test"

_LEDGER_TABLES = {"ledger_transfer", "ledger_account"}
_OF_MONEY = f" WHERE ledger < {LIMIT_LEDGERS}"


@dataclass
class Phone:
    """A device that signs what it sends; every part of a request can be bent."""

    api: "API"
    key: DeviceKey
    handle: str = ""
    token: str | None = None
    """The session that requests carry, once there is one."""

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        key: DeviceKey | None = None,
        created: int | None = None,
        nonce: str | None = None,
        headers: dict[str, str] | None = None,
        sent: bytes | None = None,
        signed_path: str | None = None,
    ) -> httpx.Response:
        """``sent`` and ``headers`` replace what was signed after it was signed."""
        content = raw if raw is not None else json.dumps(body).encode() if body is not None else b""
        made = signature_headers(
            key or self.key,
            method=method,
            url=BASE + (signed_path or path),
            body=content,
            created=created if created is not None else self.api.clock.now_ns() // SECOND_NS,
            nonce=nonce,
            token=self.token,
        )
        if content:
            made["Content-Type"] = "application/json"
        made |= headers or {}
        return await self.api.http.request(
            method, path, content=sent if sent is not None else content, headers=made
        )

    def signed(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """The headers of a good signature, for requests that are put together by hand."""
        return signature_headers(
            self.key,
            method=method,
            url=BASE + path,
            body=body,
            created=self.api.clock.now_ns() // SECOND_NS,
        )

    async def get(self, path: str, **how: Any) -> httpx.Response:
        return await self.send("GET", path, **how)

    async def post(self, path: str, body: Any = None, **how: Any) -> httpx.Response:
        return await self.send("POST", path, body, **how)

    def payment(self, payee: "Phone | str", amount: str, asset: str = "USDT", **more: Any) -> dict[str, Any]:
        handle = payee if isinstance(payee, str) else payee.handle
        made = {"id": str(uuid7(self.api.clock)), "payee": handle, "amount": amount, "asset": asset}
        return {**made, **more}

    async def put(self, path: str, body: Any = None, **how: Any) -> httpx.Response:
        return await self.send("PUT", path, body, **how)

    async def delete(self, path: str, **how: Any) -> httpx.Response:
        return await self.send("DELETE", path, **how)

    async def set_pin(self, pin: str, **more: Any) -> httpx.Response:
        return await self.put("/v1/pin", {"pin": pin, **more})

    async def log_in(self, pin: str) -> httpx.Response:
        """Log in; from then on requests carry the session."""
        self.token = None
        answer = await self.post("/v1/sessions", {"pin": pin})
        self.token = answer.json().get("token")
        return answer

    async def read(self, path: str) -> httpx.Response:
        """Read with the session's token alone."""
        return await self.api.http.get(path, headers={"Authorization": f"Bearer {self.token}"})

    async def pay(self, payee: "Phone | str", amount: str, asset: str = "USDT") -> httpx.Response:
        return await self.post("/v1/payments", self.payment(payee, amount, asset))

    async def available(self, asset: str = "USDT") -> str:
        answer = (await self.get("/v1/balances")).json()
        return next(str(each["available"]) for each in answer["balances"] if each["asset"] == asset)


@dataclass
class API:
    """The application and what stands behind it."""

    http: httpx.AsyncClient
    clock: SettableClock
    database: Database
    ledger: LedgerEngine
    connections: Connections
    phones: list[Phone] = field(default_factory=list)

    async def code(self, **how: Any) -> str:
        async with self.database.session() as session:
            return await issue_enrolment_code(session, self.clock, **how)

    async def enrolled(self, key: DeviceKey | None = None) -> Phone:
        """A device of a new person, without a wallet."""
        phone = Phone(self, key or DeviceKey.generate())
        body = {"code": await self.code(), "public_key": phone.key.public_jwk}
        answer = await phone.post("/v1/enrolments", body)
        assert answer.status_code == 201, answer.text
        return phone

    async def phone(self, handle: str, funds: str | None = None, asset: Asset = USDT) -> Phone:
        """A device with a wallet and money."""
        phone = await self.enrolled()
        answer = await phone.post("/v1/wallet", {"handle": handle})
        assert answer.status_code == 201, answer.text
        phone.handle = answer.json()["handle"]
        if funds is not None:
            await self.fund(phone, funds, asset)
        return phone

    async def fund(self, phone: Phone, text: str, asset: Asset) -> None:
        wallet = await self.connections.wallets.by_handle(phone.handle.removeprefix("@"))
        assert wallet is not None
        (result,) = await self.ledger.create_transfers(
            [
                Transfer(
                    id=uuid7(self.clock).int,
                    debit_account_id=system_account_id(AccountCode.CUSTODY, asset),
                    credit_account_id=wallet_account_id(wallet.id, asset),
                    amount=Money.parse(text, asset).minor,
                    ledger=asset.ledger,
                    code=TransferCode.DEPOSIT,
                )
            ]
        )
        assert result.status is CreateTransferStatus.CREATED

    def rows(self) -> dict[str, int]:
        """How many rows each table has: what a refusal must leave as it is."""
        with psycopg.connect(sync_url(self.database.url)) as connection:
            # The journal's own tables come and go behind; the view is over all of them. What
            # limits are made of is no money: a wallet's first payment opens them, refused or not.
            names = ["ledger_transfer"] + [
                name
                for (name,) in connection.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                    " AND tablename !~ '^ledger_transfer_' ORDER BY 1"
                )
            ]
            counts = (
                connection.execute(
                    f'SELECT count(*) FROM "{name}"' + (_OF_MONEY if name in _LEDGER_TABLES else "")
                ).fetchone()
                for name in names
            )
            return {name: count[0] for name, count in zip(names, counts, strict=True) if count}


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    # The API is called by BASE, without a proxy before it.
    return Settings(home=tmp_path, database_url=database_url, api_host="api.test", api_port=80)


@pytest.fixture
async def api(settings: Settings, clock: SettableClock) -> AsyncIterator[API]:
    assert settings.database_url is not None
    database = Database(settings.database_url)
    ledger = await LedgerEngine.start(settings.database_url, clock)
    await open_system_accounts(ledger)
    connections = Connections(settings, clock, database, ledger)

    @asynccontextmanager
    async def connect(_settings: Settings) -> AsyncIterator[Connections]:
        yield connections

    app = create_app(settings, connect=connect)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=BASE) as http,
    ):
        yield API(http, clock, database, ledger, connections)
    await ledger.close()
    await database.close()
    check_journal(settings.database_url)


class Refusals:
    """Sends requests that must be refused, and checks that nothing has happened."""

    def __init__(self, api: API, *phones: Phone) -> None:
        self.api = api
        self.phones = phones

    async def state(self) -> tuple[list[Any], dict[str, int]]:
        balances = [(await phone.get("/v1/balances")).json() for phone in self.phones]
        return balances, {
            # Asking for balances leaves nonces of its own, and so does a request whose
            # signature is good and whose content is not. Looking a handle up is counted.
            name: count
            for name, count in self.api.rows().items()
            if name not in {"identity_nonce", "wallets_handle_lookups"}
        }

    async def code(self, sending: Awaitable[httpx.Response], *, nonces: int = 0) -> str:
        """The code of the problem that the request gets; ``nonces`` of them may be recorded."""
        before = await self.state()
        nonces_before = self.api.rows()["identity_nonce"]
        answer = await sending
        nonces_after = self.api.rows()["identity_nonce"]
        assert answer.status_code >= 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert answer.status_code == problem["status"] == PROBLEM_KINDS[problem["code"]].status
        assert problem["money_moved"] == "false"
        assert problem["retryable"] in {"true", "false"}
        assert problem["what_to_do"]
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert nonces_after - nonces_before == nonces
        balances, rows = await self.state()
        if problem.get("new_id_needed"):
            # The ledger remembers that this id failed: that is what makes it stay refused.
            for name in ("ledger_failed_id", "ledger_batch"):
                rows[name] = before[1][name]
        assert (balances, rows) == before
        return str(problem["code"])


@pytest.fixture
async def aye(api: API) -> Phone:
    return await api.phone("aye_aye", "100")


@pytest.fixture
async def ko(api: API) -> Phone:
    return await api.phone("ko_ko", "1")


@pytest.fixture
def refusals(api: API, aye: Phone, ko: Phone) -> Refusals:
    return Refusals(api, aye, ko)
