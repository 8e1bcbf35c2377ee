"""Take-overs, the long form: kill -9 of the serving ledger process and of the primary PostgreSQL.

    python -m tests.simulation.standby [--ledger N] [--postgres N] [--seed S]

Clients send payments, chains and reservations without pause, and reconnect by
themselves. Each kill is followed by a take-over: by the second ledger process,
which waits for the lock; or by the synchronous standby, which is promoted, and
which the dead primary then follows. The time from the kill to the first
acknowledged transfer is shown, and at the end everything that any client was told
must be true. Ends with 1 when something was lost or doubled, or a take-over took
longer than three seconds. The moments are drawn from the seed, which is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ops import postgres
from ops.cluster import Cluster
from ops.migrations import migrate
from tests.ledger.standbys import FailOvers, fail_over_ledger, fail_over_postgres

KINDS = ("ledger", "postgres")


def main() -> None:
    """Run both, each on a PostgreSQL of its own that goes with it."""
    parser = argparse.ArgumentParser(description="kill -9 under load, take over, and check every promise")
    parser.add_argument("--ledger", type=int, default=50, help="kills of the serving ledger process")
    parser.add_argument("--postgres", type=int, default=50, help="kills of the primary PostgreSQL")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    parser.add_argument("--pause", type=float, default=1.0, help="longest time between two kills, in seconds")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    outcomes: dict[str, FailOvers] = {}
    loads = [os.getloadavg()[0]]
    directory = Path(tempfile.mkdtemp(prefix="nl-standby-"))
    directory.chmod(0o711)
    try:
        for kind in KINDS:
            if kills := getattr(arguments, kind):
                outcomes[kind] = _run(directory, kind, kills, arguments.seed, arguments.pause)
                loads.append(os.getloadavg()[0])
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    Console(width=100).print(_table(outcomes))
    print(
        f"load of the machine, {os.cpu_count()} processors: {' then '.join(f'{load:.1f}' for load in loads)}"
    )
    for kind, outcome in outcomes.items():
        if outcome.violation is not None:
            print(f"{kind}: {outcome.violation}", file=sys.stderr)
    sys.exit(not all(outcome.holds for outcome in outcomes.values()))


def _run(directory: Path, kind: str, kills: int, seed: int, pause: float) -> FailOvers:
    home, other = directory / kind, directory / f"{kind}-2"

    def tell(words: str) -> None:
        print(f"{kind} {words}", flush=True)

    try:
        url = postgres.ensure_running(home)
        migrate(url)
        if kind == "ledger":
            return asyncio.run(fail_over_ledger(url, kills=kills, seed=seed, pause=pause, tell=tell))
        return asyncio.run(fail_over_postgres(home, other, kills=kills, seed=seed, pause=pause, tell=tell))
    finally:
        for each in (home, other):
            Cluster(each, lambda _: None).stop(immediate=True)


def _table(outcomes: dict[str, FailOvers]) -> Table:
    table = Table(
        "killed", "times", "p50 s", "p99 s", "max s", "acknowledged", "repeated", "lost", "doubled", ""
    )
    for kind, outcome in outcomes.items():
        times = sorted(outcome.seconds) or [float("inf")]
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        table.add_row(
            kind,
            str(len(outcome.seconds)),
            *(f"{seconds:.2f}" for seconds in (statistics.median(times), p99, times[-1])),
            f"{len(outcome.tally.stored):,}",
            f"{outcome.tally.repeats:,}",
            str(outcome.lost),
            str(outcome.doubled),
            "holds" if outcome.holds else "VIOLATED",
        )
    return table


if __name__ == "__main__":
    main()
