"""The door on a Unix socket: the kernel says who asks, and only the owner is let in."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from ledger.client import LedgerClient
from ledger.contract import Account
from ledger.door.judge import Door
from ledger.door.peers import peer_uid
from ledger.door.rights import OWNER, LedgerForbidden, Rights, Rule
from ledger.engine import LedgerEngine
from ledger.server import listening, publish

ACCOUNT = Account(id=1, ledger=1, code=20)


@pytest.fixture
def address() -> Iterator[str]:
    # Unix sockets allow 107 bytes of path, and a test's own directory is often longer.
    with tempfile.TemporaryDirectory(prefix="nl-") as directory:
        yield f"unix:{directory}/ledger.sock"


@asynccontextmanager
async def _client(engine: LedgerEngine, address: str, door: Door) -> AsyncIterator[LedgerClient]:
    async with listening(engine, address, door=door) as own:
        publish(address, own)
        client = LedgerClient(address, deadline_seconds=2)
        yield client
        await client.close()


async def test_the_owner_may_do_everything(engine: LedgerEngine, address: str) -> None:
    async with _client(engine, address, Door()) as client:
        await client.create_accounts([ACCOUNT])
        assert [account.id for account in await client.lookup_accounts([1])] == [1]


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="this platform does not tell who asks")
async def test_another_user_is_refused_even_where_the_socket_lets_him_in(
    engine: LedgerEngine, address: str
) -> None:
    door = Door(owner_uid=os.geteuid() + 1)
    with capture_logs() as logs:
        async with _client(engine, address, door) as client:
            for _ in range(2):
                with pytest.raises(LedgerForbidden) as refused:
                    await client.create_accounts([ACCOUNT])
                assert refused.value.rule == "identity"
    assert door.refusals == {("unknown", Rule.IDENTITY): 2}
    strangers = [entry for entry in logs if entry["event"] == "ledger_peer_refused"]
    assert {(entry["reason"], entry["uid"]) for entry in strangers} == {("another user", os.geteuid())}
    assert engine.sequence == 0


def _open_to_all(path: Path) -> None:
    """Undo what keeps others away from the socket."""
    path.parent.chmod(0o755)
    path.chmod(0o666)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_the_kernel_tells_the_user_of_another_process(engine: LedgerEngine, address: str) -> None:
    path = Path(address.removeprefix("unix:"))
    code = (
        "import os, socket, sys; "
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(b'GET /health HTTP/1.1\\r\\nhost: l\\r\\n\\r\\n'); "
        "print(s.recv(4096).decode())"
    )
    async with _client(engine, address, Door()):
        _open_to_all(path)
        answers = {}
        for uid in (0, 65_534):
            asked = await asyncio.create_subprocess_exec(
                "python3", "-I", "-c", code, str(path), user=uid, stdout=asyncio.subprocess.PIPE
            )
            answers[uid] = (await asked.communicate())[0].decode()
    assert answers[0].startswith("HTTP/1.1 200")
    assert answers[65_534].startswith("HTTP/1.1 403")


async def test_the_rights_file_may_take_rights_from_the_owner_too(engine: LedgerEngine, address: str) -> None:
    async with _client(engine, address, Door({OWNER: Rights(read=True)})) as client:
        assert await client.lookup_accounts([1]) == []
        with pytest.raises(LedgerForbidden) as refused:
            await client.create_accounts([ACCOUNT])
        assert (refused.value.rule, refused.value.index) == ("accounts", 0)


async def test_nothing_that_a_request_says_of_itself_makes_an_identity(
    engine: LedgerEngine, address: str
) -> None:
    door = Door({"nugpay:bank": Rights(full=True)}, owner_uid=os.geteuid() + 1)
    async with _client(engine, address, door):
        transport = httpx.AsyncHTTPTransport(uds=address.removeprefix("unix:"))
        claims = {
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "https",
            "x-client-cert": "nugpay:bank",
            "nugpay_caller": "nugpay:bank",
            "authorization": "nugpay:bank",
        }
        async with httpx.AsyncClient(transport=transport, base_url="http://ledger", headers=claims) as http:
            answer = await http.get("/health")
    assert (answer.status_code, answer.json()["rule"]) == (403, "identity")


def test_where_the_platform_does_not_tell_the_sockets_mode_alone_protects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if hasattr(socket, "SO_PEERCRED"):
            assert peer_uid(ours) == os.geteuid()
        monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
        assert peer_uid(ours) is None
