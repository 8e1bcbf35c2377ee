"""Crashes: the ledger process, or PostgreSQL, killed with -9 at random moments under load."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random

import psutil
import psycopg

from ledger.client import LedgerClient
from ops import postgres
from tests.ledger.crash_clients import CrashClient, Tally, open_accounts, verify

ROOT = Path(__file__).parents[2]
CLIENTS = 8

Kill = Callable[[], Awaitable[None]]
"""Kills something and sees to it that it comes back."""


class LedgerProcess:
    """``python -m ledger.server``, started again whenever it was killed."""

    def __init__(self, database_url: str, directory: Path, name: str = "ledger") -> None:
        self.url = f"unix:{directory / f'{name}.sock'}"
        self._log = directory / f"{name}.log"
        self._environment = os.environ | {
            "NUGPAY_DATABASE_URL": database_url,
            "NUGPAY_LEDGER_URL": self.url,
            "NUGPAY_HOME": str(directory),
        }

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ledger.server", cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def kill(self) -> None:
        """End it as a power cut would, and start the next one."""
        await self.end()
        await self.start()

    async def end(self) -> None:
        """End it as a power cut would."""
        assert self._process.returncode is None, f"it ended by itself:\n{self.last_words()}"
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()

    def last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


@contextlib.asynccontextmanager
async def ledger_process(database_url: str) -> AsyncIterator[LedgerProcess]:
    # Unix sockets allow 107 bytes of path, and a test's own directory is often longer.
    with tempfile.TemporaryDirectory(prefix="nl-crash-") as directory:
        process = LedgerProcess(database_url, Path(directory))
        await process.start()
        try:
            yield process
        finally:
            await process.stop()


async def crash_ledger(database_url: str, *, kills: int, seed: int, pause: float) -> Tally:
    """Kill the ledger process that often; everything that clients were told must be true."""
    random = Random(f"ledger {seed}")

    async with ledger_process(database_url) as process:

        async def kill() -> None:
            await process.kill()
            if random.random() < 0.2:
                # Once more, while it starts or recovers.
                await asyncio.sleep(random.random() * pause)
                await process.kill()

        return await under_load(database_url, process.url, kill, kills=kills, seed=seed, pause=pause)


async def crash_postgres(home: Path, database_url: str, *, kills: int, seed: int, pause: float) -> Tally:
    """Kill PostgreSQL that often; the ledger process must find its way back by itself."""
    random = Random(seed)

    async def kill() -> None:
        await asyncio.to_thread(kill_postgres, home, random)
        await asyncio.to_thread(bring_back_postgres, home)

    async with ledger_process(database_url) as process:
        return await under_load(database_url, process.url, kill, kills=kills, seed=seed, pause=pause)


def kill_postgres(home: Path, random: Random) -> None:
    """The postmaster and its children, the postmaster alone, or one child, at once."""
    pid = postgres.running_pid(home)
    assert pid is not None
    postmaster = psutil.Process(pid)
    children = postmaster.children(recursive=True)
    victims = random.choice([[postmaster, *children], [postmaster], [random.choice(children)]])
    random.shuffle(victims)
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    if postmaster in victims:
        postmaster.wait(timeout=60)


def bring_back_postgres(home: Path) -> None:
    """Start the server if it is gone; one that lost a child alone recovers by itself, at any moment."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(psycopg.OperationalError):
            postgres.ensure_running(home)
            break
        time.sleep(0.05)
    else:
        raise TimeoutError("PostgreSQL does not come back")


async def under_load(
    database_url: str,
    url: str,
    kill: Kill,
    *,
    kills: int,
    seed: int,
    pause: float,
    tally: Tally | None = None,
) -> Tally:
    """Kill that often while clients send; then everything that they were told must be true."""
    random, tally, stop = Random(seed), Tally() if tally is None else tally, asyncio.Event()
    ledgers = [LedgerClient(url, deadline_seconds=5) for _ in range(CLIENTS)]
    await _patiently(lambda: open_accounts(ledgers[0]))
    clients = [CrashClient(n, ledger, tally, Random(f"{seed} {n}")) for n, ledger in enumerate(ledgers)]
    tasks = [asyncio.create_task(client.run(stop)) for client in clients]
    try:
        for _ in range(kills):
            answered = sum(tally.statuses.values())
            await _until_progress(tally, tasks, answered)
            # From right after the first answer to well under way.
            await asyncio.sleep(random.random() ** 2 * pause)
            await kill()
        await _until_progress(tally, tasks, sum(tally.statuses.values()))
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    await verify(ledgers[0], tally, database_url)
    for ledger in ledgers:
        await ledger.close()
    return tally


async def _until_progress(tally: Tally, tasks: list[asyncio.Task[None]], answered: int) -> None:
    """Wait until somebody was answered: only then is there something to lose."""
    async with asyncio.timeout(120):
        while sum(tally.statuses.values()) <= answered:
            for task in tasks:
                if task.done():
                    await task
            await asyncio.sleep(0.005)


async def _patiently(ask: Callable[[], Awaitable[None]]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            return await ask()
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
