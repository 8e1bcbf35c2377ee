"""A client that knows several addresses finds the process that serves, whatever the others do."""

import asyncio
import contextlib
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger import connections as connections_module
from ledger.addresses import split_addresses
from ledger.client import LedgerClient
from ledger.contract import Account, CreateAccountStatus, CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from ledger.interface import LedgerUnavailable
from ledger.server import listening, publish
from ledger.writer import Phase

ACCOUNTS = [Account(id=1, ledger=1, code=1), Account(id=2, ledger=1, code=1)]


def transfer(transfer_id: int) -> Transfer:
    return Transfer(transfer_id, 1, 2, 1, ledger=1, code=1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # the engine's thread has no event loop to notify
            await asyncio.sleep(0.005)


@pytest.fixture
def directory() -> Iterator[Path]:
    # Unix sockets allow 107 bytes of path, and a test's own directory is often longer.
    with tempfile.TemporaryDirectory(prefix="nl-") as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def on_tcp(engine: LedgerEngine, path: Path) -> AsyncIterator[str]:
    """An engine's socket, reached through a TCP port that passes the bytes on."""
    address = f"unix:{path}"

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(path)
        await asyncio.gather(_relay(client, to_server), _relay(server, to_client))

    async with listening(engine, address) as own:
        publish(address, own)
        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        listener.close()


async def _relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """A port where nobody listens, and nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """A port that answers no connection, like a machine that has lost its power."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            # Nobody accepts them: the queue is full, and the kernel ignores whoever comes next.
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("unix:/run/ledger.sock", ["unix:/run/ledger.sock"]),
        ("http://a:1,http://b:2", ["http://a:1", "http://b:2"]),
        ("https://a:1, unix:/b,  https://[::1]:3", ["https://a:1", "unix:/b", "https://[::1]:3"]),
        ("unix:/with,comma,unix:/b", ["unix:/with,comma", "unix:/b"]),
    ],
)
def test_a_list_of_addresses_is_split_where_another_begins(url: str, addresses: list[str]) -> None:
    assert split_addresses(url) == addresses


@pytest.mark.parametrize("url", ["", "ledger:7000", "http://", "http://a:1,b:2", "unix:", "http://a/x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        split_addresses(url)


async def test_the_next_address_is_asked_when_one_refuses(engine: LedgerEngine, directory: Path) -> None:
    with refusing() as nobody:
        async with on_tcp(engine, directory / "a.sock") as somebody:
            client = LedgerClient(f"{nobody},{somebody},{nobody}")
            results = await client.create_accounts(ACCOUNTS)
            assert [r.status for r in results] == [CreateAccountStatus.CREATED] * 2
            await client.close()


async def test_a_dead_machine_costs_a_second_once_and_leaves_nothing_in_doubt(
    engine: LedgerEngine, directory: Path
) -> None:
    with silent() as dead:
        async with on_tcp(engine, directory / "a.sock") as alive:
            client = LedgerClient(f"{dead},{alive}")
            await client.create_accounts(ACCOUNTS)
            began = time.monotonic()
            for number in range(1, 20):
                await client.create_transfers([transfer(number)])
            assert time.monotonic() - began < connections_module.CONNECT_SECONDS, (
                "the dead one was asked again"
            )
            await client.close()
        alone = LedgerClient(dead, deadline_seconds=0.5)
        with pytest.raises(LedgerUnavailable) as refused:
            await alone.create_transfers([transfer(20)])
        assert not refused.value.outcome_unknown, "nothing was ever sent"
        await alone.close()


async def test_a_standby_sends_the_client_on_and_takes_over_unseen_by_callers(
    database_url: str, clock: SettableClock, directory: Path
) -> None:
    first = await LedgerEngine.start(database_url, clock)
    second = await LedgerEngine.start(database_url, clock, wait_until_serving=False)
    try:
        await until(lambda: second.phase is Phase.STANDBY)
        async with (
            on_tcp(first, directory / "a.sock") as serving,
            on_tcp(second, directory / "b.sock") as standing_by,
        ):
            client = LedgerClient(f"{standing_by},{serving}")
            await client.create_accounts(ACCOUNTS)
            calls = [asyncio.create_task(client.create_transfers([transfer(n)])) for n in range(1, 50)]
            await calls[0]
            await first.close()
            calls += [asyncio.create_task(client.create_transfers([transfer(n)])) for n in range(50, 100)]
            statuses = [results[0].status for results in await asyncio.gather(*calls)]
            assert set(statuses) <= {CreateTransferStatus.CREATED, CreateTransferStatus.EXISTS}
            [account] = await client.lookup_accounts([1])
            assert account.debits_posted == len(calls)
            assert second.phase is Phase.SERVING
            await client.close()
    finally:
        await first.close()
        await second.close()


async def test_when_every_address_stands_by_or_is_gone_the_caller_is_told(
    database_url: str, clock: SettableClock, directory: Path
) -> None:
    first = await LedgerEngine.start(database_url, clock)
    second = await LedgerEngine.start(database_url, clock, wait_until_serving=False)
    try:
        await until(lambda: second.phase is Phase.STANDBY)
        with refusing() as nobody:
            async with on_tcp(second, directory / "b.sock") as standing_by:
                client = LedgerClient(f"{nobody},{standing_by}", deadline_seconds=0.3)
                with pytest.raises(LedgerUnavailable, match="standby") as refused:
                    await client.create_transfers([transfer(1)])
                assert not refused.value.outcome_unknown
                await client.close()
    finally:
        await first.close()
        await second.close()


async def test_a_client_follows_the_sockets_name_though_the_process_that_had_it_lives_on(
    database_url: str, clock: SettableClock, directory: Path
) -> None:
    address = f"unix:{directory / 'ledger.sock'}"
    first = await LedgerEngine.start(database_url, clock)
    second = await LedgerEngine.start(database_url, clock, wait_until_serving=False)
    names = (address.replace("ledger.sock", "1.sock"), address.replace("ledger.sock", "2.sock"))
    try:
        async with listening(first, names[0]) as one, listening(second, names[1]) as two:
            publish(address, one)
            client = LedgerClient(address, deadline_seconds=5)
            # Several connections are kept.
            await asyncio.gather(*(client.lookup_accounts([n]) for n in range(5)))
            await client.create_accounts(ACCOUNTS)
            for name, (serving, waiting) in ((two, (first, second)), (one, (second, first))):
                await until(partial(_is_in, waiting, Phase.STANDBY))
                _end_session(database_url)
                await until(partial(_is_in, waiting, Phase.SERVING))
                publish(address, name)
                results = await client.create_transfers([transfer(100 + waiting.sequence)])
                assert results[0].status is CreateTransferStatus.CREATED
                with pytest.raises(LedgerUnavailable):
                    await serving.lookup_accounts([1])
            await client.close()
    finally:
        await first.close()
        await second.close()


def _end_session(url: str) -> None:
    """End the session that holds the lock, as a database that fails over does."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )


def _is_in(engine: LedgerEngine, phase: Phase) -> bool:
    return engine.phase is phase
