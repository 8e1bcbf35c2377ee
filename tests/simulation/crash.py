"""Kill -9, the long form: 200 times the ledger process, 50 times PostgreSQL, under load.

    python -m tests.simulation.crash [--ledger N] [--postgres N] [--seed S]

Clients send payments, chains and reservations without pause and repeat them until
they are answered. At the end everything that any of them was told must be true:
no acknowledged transfer lost, none doubled, every id answered as before, and the
laws of the journal hold. The moments are drawn from the seed, which is printed; a
run with the same seed kills after the same pauses, though no two runs interleave
alike.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from ops import postgres
from ops.migrations import migrate
from tests.ledger.crash_clients import Tally
from tests.ledger.crashes import crash_ledger, crash_postgres


def main() -> None:
    """Run both, on a PostgreSQL of their own that goes with them."""
    parser = argparse.ArgumentParser(description="kill -9 under load, and check every promise")
    parser.add_argument("--ledger", type=int, default=200, help="kills of the ledger process")
    parser.add_argument("--postgres", type=int, default=50, help="kills of PostgreSQL")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    parser.add_argument("--pause", type=float, default=1.0, help="longest time between two kills, in seconds")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="nl-bench-"))
    directory.chmod(0o711)
    try:
        _run(directory, arguments)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(directory: Path, arguments: argparse.Namespace) -> None:
    for number, what in enumerate(("ledger", "postgres")):
        kills = getattr(arguments, what)
        if not kills:
            continue
        # A fresh cluster each, so that each is verified from its first row.
        home = directory / what
        url = postgres.ensure_running(home)
        try:
            migrate(url)
            began = time.perf_counter()
            seed, pause = arguments.seed + number, arguments.pause
            if what == "ledger":
                tally = asyncio.run(crash_ledger(url, kills=kills, seed=seed, pause=pause))
            else:
                tally = asyncio.run(crash_postgres(home, url, kills=kills, seed=seed, pause=pause))
            _tell(what, kills, tally, time.perf_counter() - began)
        finally:
            postgres.stop(home, immediate=True)


def _tell(what: str, kills: int, tally: Tally, seconds: float) -> None:
    print(
        f"{kills} kills of {what} in {seconds:.0f} s: {len(tally.stored):,} transfers acknowledged and there "
        f"once, {len(tally.refused):,} refused and not there, {tally.repeats:,} requests repeated",
        flush=True,
    )


if __name__ == "__main__":
    main()
