"""Fail-overs: the serving ledger process, or the primary PostgreSQL, killed with -9 under load.

What is measured is the time from the kill to the first transfer that is acknowledged
afterwards, to a client that reconnects by itself. What is verified is what every crash
test verifies: each acknowledged transfer is in the journal once, and nothing else is.
"""

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import psutil

from ledger.client import LedgerClient
from ledger.contract import Transfer
from ops import postgres_standby
from ops.cluster import Cluster, stands_in
from ops.postgres_pair import serving_home
from tests.ledger.crash_clients import OPEN, Tally, count_stored
from tests.ledger.crashes import Kill, LedgerProcess, under_load

TAKE_OVER_SECONDS_MAX = 3.0
"""How long nobody may be answered after a kill."""
BOTH_DIE = 0.2
"""How often the ledger process dies together with PostgreSQL."""

Tell = Callable[[str], None]
"""Is told how each fail-over went."""


@dataclass
class FailOvers:
    """What a run of fail-overs showed."""

    tally: Tally = field(default_factory=Tally)
    seconds: list[float] = field(default_factory=list)
    """From each kill to the first acknowledgement after it."""
    lost: int = 0
    """Transfers that were acknowledged and are not in the journal."""
    doubled: int = 0
    """Transfers that are in the journal more than once."""
    violation: str | None = None
    """What else was not as it must be."""

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return (
            not self.lost
            and not self.doubled
            and self.violation is None
            and max(self.seconds) <= TAKE_OVER_SECONDS_MAX
        )


class _Probe:
    """A client that waits for the first acknowledgement after a kill."""

    def __init__(self, url: str, outcome: FailOvers, tell: Tell) -> None:
        self._ledger = LedgerClient(url, deadline_seconds=60)
        self._outcome, self._tell = outcome, tell
        # Beside the ids of the clients under load.
        self._ids = itertools.count(1 << 120)

    async def wait(self, killed_at: float) -> None:
        """Note how long it took until somebody serves, and that this transfer is acknowledged."""
        transfer = Transfer(next(self._ids), OPEN[0], OPEN[1], 1, ledger=1, code=1)
        results = await self._ledger.create_transfers([transfer])
        seconds = time.monotonic() - killed_at
        self._outcome.tally.note([transfer], results)
        self._outcome.seconds.append(seconds)
        self._tell(f"{len(self._outcome.seconds)}: served again after {seconds:.3f} s")

    async def close(self) -> None:
        await self._ledger.close()


async def fail_over_ledger(
    database_url: str, *, kills: int, seed: int, pause: float, one_address: bool = True, tell: Tell = print
) -> FailOvers:
    """Kill the serving process that often, with another one waiting.

    Both share one socket's name, or have an address each and clients know both.
    """
    names = ("ledger", "ledger") if one_address else ("a", "b")
    async with _pair_of_processes(database_url, names) as processes:
        url = ",".join(dict.fromkeys(process.url for process in processes))
        outcome = FailOvers()
        probe = _Probe(url, outcome, tell)

        async def kill() -> None:
            serving, waiting = processes
            assert await _phase(waiting) == "standby"
            killed_at = time.monotonic()
            await serving.end()
            await probe.wait(killed_at)
            assert await _phase(waiting) == "serving"
            processes.reverse()
            if len(outcome.seconds) < kills:
                await serving.start()
                await _until_phase(serving, {"standby"})

        return await _run(outcome, probe, database_url, url, kill, kills=kills, seed=seed, pause=pause)


async def fail_over_postgres(
    home: Path, directory: Path, *, kills: int, seed: int, pause: float, tell: Tell = print
) -> FailOvers:
    """Kill the primary that often, promote its standby, and make the dead one the next standby.

    Two ledger processes run on the pair, and now and then the serving one dies with the primary.
    """
    random = Random(f"postgres {seed}")
    database_url = await asyncio.to_thread(postgres_standby.create, home, directory)
    async with _pair_of_processes(database_url, ("ledger", "ledger")) as processes:
        url, outcome = processes[0].url, FailOvers()
        probe = _Probe(url, outcome, tell)

        async def kill() -> None:
            primary, killed_at = serving_home(home), time.monotonic()
            victim = None
            if random.random() < BOTH_DIE:
                # After a fail-over of the database either process may have got the lock.
                phases = [await _phase(process) for process in processes]
                victim = processes[phases.index("serving")]
                killed_at = time.monotonic()
                await victim.end()
            await asyncio.to_thread(_kill_server, primary, random)
            await asyncio.to_thread(postgres_standby.promote, home)
            await probe.wait(killed_at)
            if len(outcome.seconds) < kills:
                if victim is not None:
                    await victim.start()
                await asyncio.to_thread(postgres_standby.create, home, primary)
                for process in processes:
                    await _until_phase(process, {"serving", "standby"})

        return await _run(outcome, probe, database_url, url, kill, kills=kills, seed=seed, pause=pause)


async def _run(
    outcome: FailOvers,
    probe: _Probe,
    database_url: str,
    url: str,
    kill: Kill,
    *,
    kills: int,
    seed: int,
    pause: float,
) -> FailOvers:
    tally = outcome.tally
    try:
        await under_load(database_url, url, kill, kills=kills, seed=seed, pause=pause, tally=tally)
    except AssertionError as broken:
        outcome.violation = str(broken) or "an assertion"
    finally:
        await probe.close()
    stored = await asyncio.to_thread(count_stored, database_url, [*tally.stored, *tally.refused])
    outcome.lost = len(tally.stored.keys() - stored.keys())
    outcome.doubled = sum(1 for count in stored.values() if count > 1)
    return outcome


@contextlib.asynccontextmanager
async def _pair_of_processes(database_url: str, names: tuple[str, str]) -> AsyncIterator[list[LedgerProcess]]:
    """A process that serves and one that waits."""
    # Unix sockets allow 107 bytes of path, and a test's own directory is often longer.
    with tempfile.TemporaryDirectory(prefix="nl-pair-") as directory:
        processes: list[LedgerProcess] = []
        try:
            for name, phase in zip(names, ("serving", "standby"), strict=True):
                processes.append(LedgerProcess(database_url, Path(directory), name))
                await processes[-1].start()
                await _until_phase(processes[-1], {phase})
            yield processes
        finally:
            for process in processes:
                await process.stop()


async def _until_phase(process: LedgerProcess, phases: set[str]) -> None:
    async with asyncio.timeout(60):
        while await _phase(process) not in phases:
            await asyncio.sleep(0.02)


async def _phase(process: LedgerProcess) -> str | None:
    """What a process says of itself, on its own socket or, when it serves, on the public one."""
    public = process.url.removeprefix("unix:")
    for path in (f"{public}.{process.pid}", public):
        with contextlib.suppress(httpx.TransportError):
            transport = httpx.AsyncHTTPTransport(uds=path)
            async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as http:
                return str((await http.get("/health")).json()["phase"])
    return None


def _kill_server(home: Path, random: Random) -> None:
    """The postmaster and all its children, in any order."""
    postmaster = Cluster(home, lambda _: None).server_process()
    assert postmaster is not None
    victims = [postmaster, *postmaster.children(recursive=True)]
    random.shuffle(victims)
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    while any(stands_in(victim, home / "postgres" / "data") for victim in victims):
        time.sleep(0.001)
