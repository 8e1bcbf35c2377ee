"""JSON-RPC: what each kind of answer, and each kind of silence, becomes."""

import asyncio
import contextlib
import gzip
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from chain.errors import RPCError, RPCMalformed, RPCUnavailable
from chain.rpc import RPC, Header, Receipt
from tests.fixtures.anvil import Anvil
from tests.fixtures.lying_node import LyingNode, Silence, lying_node

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def rpc(anvil: Anvil) -> AsyncIterator[RPC]:
    client = RPC(anvil.url, batch_max=3)
    yield client
    await client.close()


@pytest.fixture
def liar(anvil: Anvil) -> Iterator[LyingNode]:
    with lying_node(anvil.url) as node:
        yield node


@pytest.fixture
async def liar_rpc(liar: LyingNode) -> AsyncIterator[RPC]:
    client = RPC(liar.url)
    yield client
    await client.close()


async def test_call_returns_the_result(rpc: RPC) -> None:
    assert await rpc.call("eth_chainId") == "0x7a69"


async def test_batch_longer_than_the_limit_is_cut_and_keeps_its_order(anvil: Anvil, rpc: RPC) -> None:
    anvil.mine(10)
    headers = await rpc.read([("eth_getBlockByNumber", (hex(n), False)) for n in range(11)], Header)
    assert [header.height for header in headers] == list(range(11))
    assert all(child.parent_hash == parent.hash for parent, child in itertools.pairwise(headers))


async def test_error_of_the_node_carries_its_code(rpc: RPC) -> None:
    with pytest.raises(RPCError) as caught:
        await rpc.call("eth_noSuchMethod")
    assert caught.value.code == -32601


async def test_outcomes_keep_each_calls_own_error(rpc: RPC) -> None:
    good, bad = await rpc.outcomes([("eth_chainId", ()), ("eth_noSuchMethod", ())])
    assert good == "0x7a69"
    assert isinstance(bad, RPCError)


async def test_find_tells_absence_from_an_answer(rpc: RPC) -> None:
    found = await rpc.find([("eth_getTransactionReceipt", ("0x" + "11" * 32,))], Receipt)
    assert found == [None]


async def test_read_of_what_stays_null_is_unavailable(rpc: RPC) -> None:
    with pytest.raises(RPCUnavailable) as caught:
        await rpc.read([("eth_getBlockByNumber", ("0x999999", False))], Header)
    assert not caught.value.outcome_unknown


async def test_read_is_repeated_while_the_answer_is_null(liar: LyingNode, liar_rpc: RPC) -> None:
    asked = []

    def null_twice(_method: str, _params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        asked.append(1)
        return answer | {"result": None} if len(asked) <= 2 else answer

    liar.rule = null_twice
    (header,) = await liar_rpc.read([("eth_getBlockByNumber", ("0x0", False))], Header)
    assert header.height == 0
    assert len(asked) == 3


async def test_read_is_repeated_after_a_cut_connection(liar: LyingNode, liar_rpc: RPC) -> None:
    asked = []

    def silent_once(_method: str, _params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 1:
            raise Silence
        return answer

    liar.rule = silent_once
    assert await liar_rpc.call("eth_chainId") == "0x7a69"


async def test_what_has_an_effect_is_sent_once_and_its_outcome_is_unknown(
    liar: LyingNode, liar_rpc: RPC
) -> None:
    def silence(_method: str, _params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        raise Silence

    liar.rule = silence
    with pytest.raises(RPCUnavailable) as caught:
        await liar_rpc.call("eth_sendRawTransaction", "0x00")
    assert caught.value.outcome_unknown
    assert liar.calls == ["eth_sendRawTransaction"]


async def test_refused_connection_has_sent_nothing(anvil: Anvil) -> None:
    anvil.process.kill()
    anvil.process.wait()
    rpc = RPC(anvil.url)
    with pytest.raises(RPCUnavailable) as caught:
        await rpc.call("eth_sendRawTransaction", "0x00")
    assert not caught.value.outcome_unknown
    await rpc.close()


async def test_slow_node_is_unavailable() -> None:
    gone = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    rpc = RPC(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_seconds=0.05)
    with pytest.raises(RPCUnavailable) as caught:
        await rpc.call("eth_sendRawTransaction", "0x00")
    assert caught.value.outcome_unknown
    await rpc.close()
    await gone.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("status", [429, 500, 502])
async def test_overloaded_node_is_unavailable(liar: LyingNode, liar_rpc: RPC, status: int) -> None:
    liar.status = status
    liar.body = b"busy"
    with pytest.raises(RPCUnavailable):
        await liar_rpc.call("eth_chainId")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'[{"id":7,"result":"0x1"}]',
        b'[{"id":0,"result":"0x1"},{"id":0,"result":"0x2"}]',
        b'{"id":0,"result":"0x1"}',
        b'[{"id":"0","result":"0x1"}]',
    ],
)
async def test_nonsense_is_malformed(liar: LyingNode, liar_rpc: RPC, body: bytes) -> None:
    liar.body = body
    with pytest.raises(RPCMalformed):
        await liar_rpc.call("eth_chainId")


async def test_answer_of_another_shape_is_malformed(liar: LyingNode, liar_rpc: RPC) -> None:
    liar.rule = lambda _method, _params, answer: answer | {"result": {"number": 1}}
    with pytest.raises(RPCMalformed):
        await liar_rpc.read([("eth_getBlockByNumber", ("0x0", False))], Header)


async def test_batch_refused_as_a_whole_is_the_nodes_error(liar: LyingNode, liar_rpc: RPC) -> None:
    liar.body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batch too large"}}'
    with pytest.raises(RPCError) as caught:
        await liar_rpc.batch([("eth_chainId", ()), ("eth_blockNumber", ())])
    assert caught.value.code == -32600


async def test_answer_without_end_is_cut_off(
    liar: LyingNode, liar_rpc: RPC, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.rpc.ANSWER_BYTES_MAX", 1_000)
    liar.body = b"[" + b" " * 10_000
    with pytest.raises(RPCMalformed):
        await liar_rpc.call("eth_chainId")


@contextlib.asynccontextmanager
async def _served(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that does ``serve`` with each connection; its port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def test_redirection_is_not_followed(liar: LyingNode, anvil: Anvil) -> None:
    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"]")
        head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {liar.url}\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    async with _served(elsewhere) as port:
        rpc = RPC(f"http://127.0.0.1:{port}")
        with pytest.raises(RPCMalformed):
            await rpc.call("eth_sendRawTransaction", "0x00")
        await rpc.close()
    assert liar.calls == []


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_node_that_never_reads_is_unavailable() -> None:
    done = asyncio.Event()

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # A stream's transport can.
        await done.wait()
        writer.close()

    async with _served(deaf) as port:
        rpc = RPC(f"http://127.0.0.1:{port}", timeout_seconds=0.5)
        with pytest.raises(RPCUnavailable) as caught:
            # More than the sockets between us hold.
            await rpc.call("eth_sendRawTransaction", "0x" + "00" * 16_000_000)
        assert caught.value.outcome_unknown
        await rpc.close()
        done.set()


async def test_node_with_a_certificate_that_nobody_vouches_for_is_told_nothing(tmp_path: Path) -> None:
    heard = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    async with _served(listen, _self_signed(tmp_path)) as port:
        rpc = RPC(f"https://127.0.0.1:{port}")
        with pytest.raises(RPCUnavailable) as caught:
            await rpc.call("eth_sendRawTransaction", "0x00")
        assert not caught.value.outcome_unknown
        await rpc.close()
    assert b"".join(heard) == b""


async def test_proxy_of_the_environment_is_not_asked(anvil: Anvil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    rpc = RPC(anvil.url)
    assert await rpc.call("eth_chainId") == "0x7a69"
    await rpc.close()


async def test_small_answer_that_unpacks_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.rpc.ANSWER_BYTES_MAX", 1_000_000)
    packed = gzip.compress(b"[" + b" " * 50_000_000)

    async def bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"]")
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
        writer.write(head.encode() + packed)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async with _served(bomb) as port:
        rpc = RPC(f"http://127.0.0.1:{port}")
        with pytest.raises(RPCMalformed):
            await rpc.call("eth_chainId")
        await rpc.close()


def _self_signed(directory: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    began = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(began - timedelta(days=1))
        .not_valid_after(began + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
