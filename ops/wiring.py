"""Wiring: what each process is made of, and how it runs until it is told to end.

The one place that knows all rooms. Each process takes its settings from the
environment; the database is the one named there, or the embedded server, which
must be running (``nugpay up`` runs it).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import NUGPayError
from foundation.sandbox_clock import clock_of
from foundation.settings import Settings, get_settings
from ops import postgres
from ops.errors import OperationError
from ops.processes import running_roster


def current_settings() -> Settings:
    """The settings of this process: the environment's, and where ``nugpay up`` runs, what it chose.

    Makes both known to the environment, so that what is started from here sees the same.
    """
    settings = get_settings()
    roster = running_roster(settings.home)
    if roster is not None:
        for name, value in roster.environment.items():
            os.environ.setdefault(name, value)
    elif settings.database_url is None and postgres.running_pid(settings.home) is not None:
        os.environ["NUGPAY_DATABASE_URL"] = postgres.database_url(settings)
    get_settings.cache_clear()
    return get_settings()


def needed_database(settings: Settings) -> str:
    """The database's URL. Raises ``OperationError`` when there is none.

    Raises ``DurabilityRefused`` when the server there could forget a commit. One that does not answer
    at the moment is no reason to refuse: whoever works with it asks again.
    """
    if settings.database_url is None:
        raise OperationError(
            "PostgreSQL is not running",
            "./nugpay up starts it with everything else; or set NUGPAY_DATABASE_URL to a server of yours.",
        )
    with contextlib.suppress(psycopg.OperationalError):
        postgres.refuse_weak_server(settings.database_url)
    return settings.database_url


def run_ledger(settings: Settings) -> None:
    """Be the ledger process."""
    from ledger.server import main

    main(settings, needed_database(settings))


def run_signer(settings: Settings) -> None:
    """Be the signer process."""
    from chain.signer_server import run_signer as serve
    from foundation.logs import configure_logging
    from identity.keys import PublicKey

    configure_logging("signer", settings.log_level)
    url = needed_database(settings)

    async def until_told() -> None:
        serving = asyncio.create_task(serve(settings, url, read_key=PublicKey.from_jwk))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    asyncio.run(until_told())


def run_api(settings: Settings, workers: int) -> None:
    """Be the API: granian and its processes."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops

    from wallet_api.hosts import check_public_url

    needed_database(settings)
    try:
        # Each worker would refuse by itself, and be started again for ever.
        check_public_url(settings)
    except NUGPayError as error:
        raise OperationError("The API does not start", str(error)) from None
    Granian(
        "wallet_api.app:create_app",
        factory=True,
        address=settings.api_host,
        port=settings.api_port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.uvloop,
        # HTTP/2 keep-alive connections have kept granian from ending; phones need no more than HTTP/1.1.
        http=HTTPModes.http1,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        log_access=False,
    ).serve()


def run_worker(settings: Settings) -> None:
    """Be the worker: Celery and its schedule."""
    needed_database(settings)
    from ops.worker import main

    main()


@dataclass(frozen=True)
class Parts:
    """What a command line tool needs to ask the rooms something."""

    settings: Settings
    clock: Clock
    database: Database


@contextlib.asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Connect, and disconnect at the end."""
    database = Database(needed_database(settings), pool_size=2)
    try:
        yield Parts(settings, clock_of(settings), database)
    finally:
        await database.close()
