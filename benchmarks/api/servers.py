"""Servers: the API and the echo, each as processes of granian's, on a port that is free."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping

START_SECONDS_MAX = 60
"""How long a server may take to answer before the run is given up."""

HOST = "127.0.0.1"
"""Where servers listen."""


@contextlib.asynccontextmanager
async def api_server(database_url: str, ledger_url: str, workers: int) -> AsyncIterator[int]:
    """The API as ``./nugpay api`` serves it; its port."""
    with tempfile.TemporaryDirectory(prefix="nugpay-bench-") as home:
        environment = {
            "NUGPAY_HOME": home,
            "NUGPAY_DATABASE_URL": database_url,
            "NUGPAY_LEDGER_URL": ledger_url,
            "NUGPAY_LOG_LEVEL": "error",
        }
        program = ("-m", "ops", "api", "--workers", str(workers))
        async with _server(program, environment) as port:
            yield port


@contextlib.asynccontextmanager
async def echo_server(workers: int) -> AsyncIterator[int]:
    """The echo, served in the same way; its port."""
    program = (
        "-m", "granian", "benchmarks.api.echo:create_app", "--factory", "--interface", "asgi",
        "--http", "1", "--loop", "uvloop", "--workers", str(workers), "--host", HOST, "--log-level", "error",
    )  # fmt: skip
    async with _server(program, {}) as port:
        yield port


@contextlib.asynccontextmanager
async def _server(program: tuple[str, ...], environment: Mapping[str, str]) -> AsyncIterator[int]:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = int(free.getsockname()[1])
    port_names = {"NUGPAY_API_PORT": str(port), "GRANIAN_PORT": str(port)}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-P", *program, env={**os.environ, **environment, **port_names},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while not await _answers(port):
                if started.returncode is not None:
                    raise RuntimeError(f"the server ended with {started.returncode}")
                await asyncio.sleep(0.05)
        yield port
    finally:
        if started.returncode is None:
            started.terminate()
        await started.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
