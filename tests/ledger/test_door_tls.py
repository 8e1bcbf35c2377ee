"""The door on TCP: TLS 1.3 with certificates on both sides, an identity in the client's, or no entry."""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvloop
from structlog.testing import capture_logs

from foundation.assets import USDT
from foundation.clock import SettableClock, SystemClock
from foundation.settings import Settings
from ledger.chart import AccountCode, TransferCode, system_account_id
from ledger.client import LedgerClient
from ledger.contract import Account, CreateAccountStatus, CreateTransferStatus, Transfer
from ledger.door.judge import Door
from ledger.door.rights import OWNER, LedgerForbidden, load_rights
from ledger.door.tls import TLSRefused, client_context
from ledger.engine import LedgerEngine
from ledger.interface import LedgerUnavailable
from ledger.operations import PACKED
from ledger.records import pack_ids
from ledger.server import listening, make_door
from tests.ledger.certificates import VALID_DAYS, Authority

RIGHTS = """
[callers."nugpay:bank"]
full = true

[callers."nugpay:agents"]
[[callers."nugpay:agents".transfers]]
ledgers = ["USDT"]
codes = ["payment"]
debit = ["agent_float"]

[callers."reports.bank.example"]
read = true
"""

FLOAT = Account(id=1, ledger=1, code=int(AccountCode.AGENT_FLOAT))
WALLET = Account(id=2, ledger=1, code=int(AccountCode.WALLET))
CUSTODY = Account(id=3, ledger=1, code=int(AccountCode.CUSTODY))
BANK, AGENTS = ("nugpay:bank",), ("nugpay:agents",)


def _payment(transfer_id: int, **fields: int) -> Transfer:
    parties = {"debit_account_id": 1, "credit_account_id": 2} | fields
    return Transfer(id=transfer_id, amount=1, ledger=1, code=int(TransferCode.PAYMENT), **parties)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def rights(tmp_path: Path) -> Path:
    path = tmp_path / "rights.toml"
    path.write_text(RIGHTS)
    path.chmod(0o600)
    return path


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"https://127.0.0.1:{found.getsockname()[1]}"


@asynccontextmanager
async def _served(engine: LedgerEngine, settings: Settings) -> AsyncIterator[None]:
    door, tls = make_door(settings, settings.ledger_listen_address)
    async with listening(engine, settings.ledger_listen_address, door=door, tls=tls):
        yield


@pytest.fixture
async def url(engine: LedgerEngine, authority: Authority, rights: Path) -> AsyncIterator[str]:
    """The engine on TCP."""
    settings = authority.server_settings(rights, ledger_url=_free_address())
    async with _served(engine, settings):
        yield settings.ledger_address


@asynccontextmanager
async def _client(
    url: str, authority: Authority, *, seconds: float = 5, **names: Any
) -> AsyncIterator[LedgerClient]:
    pair = authority.issue(**names)
    tls = client_context(authority.client_settings(url, pair))
    client = LedgerClient(url, tls=tls, deadline_seconds=seconds)
    try:
        yield client
    finally:
        await client.close()


async def test_who_has_a_certificate_and_rights_is_served(url: str, authority: Authority) -> None:
    async with _client(url, authority, uris=BANK) as bank, _client(url, authority, uris=AGENTS) as agents:
        results = await bank.create_accounts([FLOAT, WALLET, CUSTODY])
        assert [result.status for result in results] == [CreateAccountStatus.CREATED] * 3
        (result,) = await agents.create_transfers([_payment(10)])
        assert result.status is CreateTransferStatus.CREATED
        with pytest.raises(LedgerForbidden) as refused:
            await agents.create_transfers([_payment(11), _payment(12, debit_account_id=3)])
        assert (refused.value.rule, refused.value.index) == ("debit", 1)
        with pytest.raises(LedgerForbidden) as refused:
            await agents.lookup_accounts([1])
        assert (refused.value.rule, refused.value.index) == ("read", None)
        assert [transfer.id for transfer in await bank.lookup_transfers([10, 11, 12])] == [10]


async def test_a_forbidden_call_does_not_refuse_those_it_travelled_with(
    url: str, authority: Authority, engine: LedgerEngine
) -> None:
    await engine.create_accounts([FLOAT, WALLET, CUSTODY])
    async with _client(url, authority, uris=AGENTS) as agents:
        answers = await asyncio.gather(
            *(
                agents.create_transfers([_payment(100 + n, debit_account_id=3 if n == 7 else 1)])
                for n in range(20)
            ),
            return_exceptions=True,
        )
    forbidden = [n for n, answer in enumerate(answers) if isinstance(answer, LedgerForbidden)]
    assert forbidden == [7]
    stored = await engine.lookup_transfers([100 + n for n in range(20)])
    assert [transfer.id for transfer in stored] == [100 + n for n in range(20) if n != 7]


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        ({"uris": ("nugpay:strangers",)}, "read"),
        ({"dns": ("reports.bank.example",)}, None),
        ({"common_names": ("reports.bank.example",)}, None),
        # The first kind that a certificate has is the one that counts.
        ({"uris": ("nugpay:strangers",), "dns": ("reports.bank.example",)}, "read"),
        ({"dns": ("strangers.example",), "common_names": ("nugpay:bank",)}, "read"),
        ({"addresses": ("127.0.0.1",), "common_names": ("nugpay:bank",)}, "identity"),
        ({}, "identity"),
        ({"uris": (*BANK, *AGENTS)}, "identity"),
        ({"dns": ("reports.bank.example", "two.example")}, "identity"),
        ({"common_names": ("nugpay:bank", "nugpay:agents")}, "identity"),
        ({"dns": ("*.bank.example",)}, "identity"),
        ({"uris": (OWNER,)}, "identity"),
        ({"common_names": (OWNER,)}, "identity"),
        ({"common_names": ("nugpay:bank\n",)}, "identity"),
        ({"common_names": ("nugpay:bank\0x",)}, "identity"),
    ],
)
async def test_a_certificate_is_who_it_names_or_nobody(
    url: str, authority: Authority, names: dict[str, Any], rule: str | None
) -> None:
    async with _client(url, authority, **names) as client:
        if rule is None:
            assert await client.lookup_accounts([1]) == []
            return
        with pytest.raises(LedgerForbidden) as refused:
            await client.lookup_accounts([1])
        assert refused.value.rule == rule


async def _refused_by_the_server(url: str, context: ssl.SSLContext) -> str:
    """Why the server ended the handshake; nothing was answered."""
    with capture_logs() as logs:
        async with httpx.AsyncClient(base_url=url, verify=context, trust_env=False) as http:
            with pytest.raises(httpx.TransportError):
                await http.post(
                    "/v1/lookup_accounts", content=pack_ids([1]), headers={"content-type": PACKED}
                )
        # With TLS 1.3 the client is done before the server has looked at its certificate.
        async with asyncio.timeout(5):
            while not logs:
                await asyncio.sleep(0.01)
    assert {entry["event"] for entry in logs} == {"ledger_handshake_refused"}
    return str(logs[0]["reason"])


async def test_without_a_certificate_there_is_no_connection(url: str, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.path))
    assert await _refused_by_the_server(url, context) == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


async def test_a_certificate_of_another_authority_is_refused(
    url: str, authority: Authority, tmp_path: Path
) -> None:
    # Of the same name, so that only the signature tells them apart.
    (tmp_path / "forged").mkdir()
    for name in ("forger", "authority"):
        forger = Authority(tmp_path / "forged", name)
        context = client_context(authority.client_settings(url, forger.issue(uris=BANK)))
        assert context is not None
        assert await _refused_by_the_server(url, context) == "CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize("start_days", [-VALID_DAYS - 1, 1], ids=["expired", "not valid yet"])
async def test_a_certificate_out_of_its_time_is_refused(
    url: str, authority: Authority, start_days: int
) -> None:
    pair = authority.issue(uris=BANK, valid_from=datetime.now(UTC) + timedelta(days=start_days))
    context = client_context(authority.client_settings(url, pair))
    assert context is not None
    assert await _refused_by_the_server(url, context) == "CERTIFICATE_VERIFY_FAILED"


async def test_tls_1_2_is_refused(url: str, authority: Authority) -> None:
    certificate, key = authority.issue(uris=BANK)
    context = ssl.create_default_context(cafile=str(authority.path))
    context.load_cert_chain(certificate, key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await _refused_by_the_server(url, context) == "UNSUPPORTED_PROTOCOL"


async def test_plain_http_gets_no_answer_at_a_port_with_tls(url: str) -> None:
    with capture_logs() as logs:
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(httpx.TransportError):
                await http.get(url.replace("https://", "http://") + "/health")
    assert [entry["event"] for entry in logs] == ["ledger_handshake_refused"]


async def test_a_session_is_not_resumed_without_its_certificate(url: str, authority: Authority) -> None:
    context = client_context(authority.client_settings(url, authority.issue(uris=BANK)))
    host, port = url.removeprefix("https://").split(":")

    def connect() -> ssl.SSLSession | None:
        with socket.create_connection((host, int(port))) as plain:
            assert context is not None
            with context.wrap_socket(plain, server_hostname=host) as secure:
                secure.sendall(b"GET /health HTTP/1.1\r\nhost: ledger\r\n\r\n")
                assert secure.recv(100).startswith(b"HTTP/1.1 200")
                session = secure.session
                return session if session is not None and session.has_ticket else None

    assert await asyncio.to_thread(connect) is None


async def test_a_server_that_is_not_the_ledger_is_refused_by_the_client(
    engine: LedgerEngine, authority: Authority, rights: Path, tmp_path: Path
) -> None:
    (tmp_path / "forged").mkdir()
    forger = Authority(tmp_path / "forged")
    address = _free_address()
    # Of another authority, and of ours but for another host.
    elsewhere = authority.issue(dns=("elsewhere.example",))
    for settings in (
        forger.server_settings(rights, ledger_url=address, ledger_tls_client_ca=authority.path),
        authority.server_settings(
            rights, ledger_url=address, ledger_tls_certificate=elsewhere[0], ledger_tls_key=elsewhere[1]
        ),
    ):
        async with _served(engine, settings), _client(address, authority, seconds=0.3, uris=BANK) as client:
            with pytest.raises(LedgerUnavailable) as refused:
                await client.create_accounts([FLOAT])
            assert refused.value.outcome_unknown is False
    assert engine.sequence == 0


async def test_a_connection_does_not_outlive_its_certificate(
    engine: LedgerEngine, authority: Authority, rights: Path
) -> None:
    settings = authority.server_settings(rights, ledger_url=_free_address())
    clock = SettableClock(SystemClock().now_ns())
    door = Door(load_rights(rights), clock=clock)
    _, tls = make_door(settings, settings.ledger_address)
    async with (
        listening(engine, settings.ledger_address, door=door, tls=tls),
        _client(settings.ledger_address, authority, uris=BANK) as client,
    ):
        assert await client.lookup_accounts([1]) == []
        clock.advance(VALID_DAYS * 86_400)
        with pytest.raises(LedgerForbidden) as refused:
            await client.lookup_accounts([1])
    assert refused.value.rule == "certificate_expired"


async def test_https_without_certificates_trusts_no_public_authority() -> None:
    with pytest.raises(ValueError, match="needs certificates"):
        LedgerClient("https://127.0.0.1:1")


async def test_listening_on_tcp_without_tls_is_refused(engine: LedgerEngine) -> None:
    for address in ("http://127.0.0.1:0", "https://127.0.0.1:0", "http://localhost:0"):
        with pytest.raises(TLSRefused):
            async with listening(engine, address):
                pass


def test_the_process_own_event_loop_tells_identities_too(
    database_url: str, authority: Authority, rights: Path
) -> None:
    async def ask() -> None:
        engine = await LedgerEngine.start(database_url, SystemClock())
        settings = authority.server_settings(rights, ledger_url=_free_address())
        try:
            async with _served(engine, settings):
                async with _client(settings.ledger_address, authority, uris=BANK) as bank:
                    (result,) = await bank.create_accounts([FLOAT])
                    assert result.status is CreateAccountStatus.CREATED
                async with _client(settings.ledger_address, authority, uris=AGENTS) as agents:
                    with pytest.raises(LedgerForbidden) as refused:
                        await agents.create_accounts([WALLET])
                    assert refused.value.rule == "accounts"
                context = ssl.create_default_context(cafile=str(authority.path))
                assert (
                    await _refused_by_the_server(settings.ledger_address, context)
                    == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
                )
        finally:
            await engine.close()

    uvloop.run(ask())


async def test_the_process_serves_tcp_from_its_settings(
    database_url: str, authority: Authority, rights: Path, tmp_path: Path
) -> None:
    url = _free_address()
    settings = authority.server_settings(rights, ledger_url=url)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUGPAY_")}
    environment |= {
        f"NUGPAY_{name.upper()}": str(value)
        for name, value in settings.model_dump().items()
        if name.startswith("ledger_") and value is not None
    }
    environment |= {"NUGPAY_HOME": str(tmp_path), "NUGPAY_DATABASE_URL": database_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "ops", "ledger"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with _client(url, authority, seconds=60, uris=AGENTS) as agents:
            with pytest.raises(LedgerForbidden) as refused:
                await agents.lookup_accounts([1])
            assert refused.value.rule == "read"
        async with _client(url, authority, seconds=60, uris=BANK) as bank:
            opened = system_account_id(AccountCode.CUSTODY, USDT)
            assert [account.id for account in await bank.lookup_accounts([opened])] == [opened]
    finally:
        process.terminate()
        _, logged = await process.communicate()
    lines = [msgspec.json.decode(line) for line in logged.splitlines()]
    (entry,) = [line for line in lines if line["event"] == "ledger_forbidden"]
    assert (entry["identity"], entry["operation"], entry["rule"]) == (AGENTS[0], "lookup_accounts", "read")
    assert process.returncode == 0
