"""The ledger process: the engine behind frames and HTTP on a Unix socket, or on TCP with mutual TLS.

The Unix socket belongs to its owner alone. A process that waits for the lock
listens on a name of its own and takes the public name only when it serves, so
that a standby never stands in the way. TCP is served with certificates on both
sides and a rights file, or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import structlog
import uvicorn
import uvloop

from foundation.garbage import keep_what_is_loaded
from foundation.logs import configure_logging
from foundation.sandbox_clock import clock_of
from foundation.settings import Settings, get_settings
from ledger.archived import SegmentFinder
from ledger.chart import open_system_accounts
from ledger.door.application import create_app
from ledger.door.desk import Desk
from ledger.door.judge import Door
from ledger.door.peers import protocol_for
from ledger.door.rights import RightsRefused, load_rights
from ledger.door.tls import TLSRefused, host_and_port, refuse_plain, server_context
from ledger.engine import LedgerEngine
from ledger.interface import LedgerUnavailable
from ledger.writer import Phase

log = structlog.get_logger()

PHASE_POLL_SECONDS = 0.02
"""How often a starting process looks whether its engine serves."""
GRACE_SECONDS = 10
"""How long an end waits for callers who do not read their answers; each has given up by then."""
SOCKET_MODE = 0o600
"""The socket is for its owner only."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process stops in its own order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(address: str) -> tuple[socket.socket, Path | None]:
    """A listening socket for ``unix:/path`` or ``https://host:port``; ``TLSRefused`` for plain TCP.

    A Unix socket gets a name of this process; :func:`publish` gives it the
    public one.
    """
    refuse_plain(address)
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{os.getpid()}")
        own.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listener.bind(str(own))
        finally:
            os.umask(mask)
        return listener, own
    host, port = host_and_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family), None


def publish(address: str, own: Path | None) -> None:
    """Give the socket its public name; what stood there belongs to a process that does not serve.

    It keeps its own name: another process may take the public one, and give it back.
    """
    if own is not None:
        second = own.with_name(f"{own.name}.public")
        second.unlink(missing_ok=True)
        second.hardlink_to(own)
        second.replace(address.removeprefix("unix:"))


def _inode(own: Path | None) -> int | None:
    return None if own is None else own.lstat().st_ino


def _withdraw(public: Path, inode: int | None) -> None:
    """Take our socket's public name away; one that another process has published meanwhile stays."""
    with contextlib.suppress(FileNotFoundError):
        if public.lstat().st_ino == inode:
            public.unlink()


@contextlib.asynccontextmanager
async def listening(
    engine: LedgerEngine, address: str, *, door: Door | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Path | None]:
    """Serve an engine's HTTP at an address; gives the socket's own name, for :func:`publish`.

    Without a door of its own it serves the process' owner only. ``tls`` is needed for ``https``.
    """
    door = door or Door()
    if tls is None and not address.startswith("unix:"):
        raise TLSRefused(f"{address} is served with TLS only")
    listener, own = bind(address)
    inode = _inode(own)
    desk = Desk(engine, door)
    config = uvicorn.Config(
        create_app(desk, engine, door),
        http=protocol_for(desk, door),
        ws="none",
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        log_config=None,
        lifespan="off",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield own
    finally:
        server.should_exit = True
        # Whoever waits for changes would keep us waiting too.
        engine.release_followers()
        await task
        if own is not None:
            own.unlink(missing_ok=True)
            _withdraw(Path(address.removeprefix("unix:")), inode)


def make_door(settings: Settings, address: str) -> tuple[Door, ssl.SSLContext | None]:
    """The callers and certificates that the settings name. Raises ``TLSRefused`` or ``RightsRefused``."""
    refuse_plain(address)
    rights = None if settings.ledger_rights is None else load_rights(settings.ledger_rights)
    if address.startswith("unix:"):
        return Door(rights), None
    tls = server_context(settings)
    if rights is None:
        raise RightsRefused("an https address of the ledger needs NUGPAY_LEDGER_RIGHTS: nobody had any right")
    return Door(rights), tls


async def serve(settings: Settings, database_url: str) -> None:
    """Run the ledger process until it is told to stop or its engine stops."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    address = settings.ledger_listen_address
    door, tls = make_door(settings, address)
    # A Unix socket has no public name until then; a port has, and a transfer that came before
    # the bank's own accounts would be told for ever that they are not there.
    door.is_open = False
    engine = await LedgerEngine.start(
        database_url,
        clock_of(settings),
        wait_until_serving=False,
        segment_rows=settings.ledger_segment_rows,
        files=_open_archive(settings.ledger_archive),
    )
    try:
        async with listening(engine, address, door=door, tls=tls) as own:
            await _watch(engine, stop, address, own, door)
    finally:
        await engine.close()


def _open_archive(directory: Path | None) -> SegmentFinder | None:
    """The files of archived segments, where a directory is set."""
    if directory is None:
        return None
    # Parquet's package is large, and nothing else here needs it.
    from ledger.parquet.segment_finder import ParquetFinder

    return ParquetFinder(directory)


async def _watch(
    engine: LedgerEngine, stop: asyncio.Event, address: str, own: Path | None, door: Door
) -> None:
    """Open the door whenever the engine begins to serve; end on a signal, or raise what stopped it.

    An engine that lost its database may find another one serving, stand by, and serve again.
    """
    published = False
    while not stop.is_set():
        engine.check()
        if engine.phase is not Phase.SERVING:
            published = False
        elif not published:
            # What is lost in the middle of this is found again like every other loss.
            with contextlib.suppress(LedgerUnavailable):
                await open_system_accounts(engine)
                door.is_open = True
                publish(address, own)
                published = True
                keep_what_is_loaded()
                log.info("ledger_serving", address=address, sequence=engine.sequence)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PHASE_POLL_SECONDS)


def main(settings: Settings | None = None, database_url: str | None = None) -> None:
    """Entry point of the process; ``database_url`` defaults to the setting."""
    settings = settings or get_settings()
    url = database_url or settings.database_url
    if url is None:
        raise SystemExit("NUGPAY_DATABASE_URL is not set; `nugpay ledger` finds the embedded database.")
    configure_logging("ledger", settings.log_level)
    uvloop.run(serve(settings, url))


if __name__ == "__main__":
    main()
