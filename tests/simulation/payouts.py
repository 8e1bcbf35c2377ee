"""Kill -9 at every step of a withdrawal, the long form: 100 times each, real processes throughout.

    python -m tests.simulation.payouts [--kills N] [--stuck N] [--together N] [--random N] [--signer N]

A node, PostgreSQL, the ledger process and the signer process are real; a process that
asks for a withdrawal and carries it on is killed after each of its effects, N times
each: of a payment, of one that is stuck and replaced, and of three that go in one
transaction; the signer is killed in the middle of signing. Another process goes on each
time. At the end each withdrawal has left the vault once and is posted once.
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
from tests.treasury.payout_kills import Theatre, theatre


def main() -> None:
    """Run it on a PostgreSQL of its own that goes with it."""
    parser = argparse.ArgumentParser(description="kill -9 at every step of a withdrawal")
    parser.add_argument("--kills", type=int, default=100, help="kills after each effect")
    parser.add_argument("--stuck", type=int, help="the same while it is stuck; as many as --kills")
    parser.add_argument("--together", type=int, help="the same of three that go together; as many as --kills")
    parser.add_argument("--signer", type=int, help="kills of the signer in each way; as many as --kills")
    parser.add_argument("--random", type=int, help="kills at random moments; as many as --kills")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="nl-bench-"))
    directory.chmod(0o711)
    try:
        url = postgres.ensure_running(directory / "postgres")
        try:
            migrate(url)
            asyncio.run(_run(url, arguments))
        finally:
            postgres.stop(directory / "postgres", immediate=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _run(url: str, arguments: argparse.Namespace) -> None:
    def many(given: int | None) -> int:
        return int(arguments.kills) if given is None else given

    def play(stage: Theatre) -> None:
        for how, stuck, members, kills in (
            ("a payment", False, 1, arguments.kills),
            ("a stuck payment", True, 1, many(arguments.stuck)),
            ("three that go together", False, 3, many(arguments.together)),
        ):
            if not kills:
                continue
            began = time.perf_counter()
            stage.kill_after_every_effect(kills, stuck=stuck, members=members)
            print(
                f"every effect of {how}, {kills} times each: {time.perf_counter() - began:.0f} s", flush=True
            )
        stage.kill_at_random(many(arguments.random))
        stage.kill_signer(many(arguments.signer))
        stage.kill_signer(many(arguments.signer) if many(arguments.together) else 0, members=3)

    began = time.perf_counter()
    async with theatre(url, seed=arguments.seed) as stage:
        await asyncio.to_thread(play, stage)
        await stage.verify()
        for where, count in sorted(stage.tally.kills.items()):
            print(f"{count:6,} {where}")
        print(
            f"{stage.tally.kills.total():,} kills in {time.perf_counter() - began:.0f} s: "
            f"{stage.tally.withdrawals:,} withdrawals, each paid once on chain and posted once; "
            f"{stage.tally.batches:,} transactions paid several",
            flush=True,
        )


if __name__ == "__main__":
    main()
