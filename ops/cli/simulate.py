"""``nugpay simulate``: the ledger's engine in a world where everything fails, repeatable from a seed."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from tests.simulation.simulator import Run

LONG_EVENTS = 1_000_000
"""A run of so many events must have met everything."""


def command(
    *,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Names the first run; drawn if not given.")
    ] = None,
    events: Annotated[int, typer.Option("--events", min=1, help="How many events a run has.")] = 10_000,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many runs, with seeds that follow.")] = 1,
    strength: Annotated[
        float, typer.Option("--strength", min=0, help="How often things fail: 0 never, 3 all the time.")
    ] = 1.0,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Show all that was met, and end with 1 if anything was not.")
    ] = False,
) -> None:
    """Run the engine against a plain ledger while its journal, clock and clients fail; 1 at a difference."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ops.errors import OperationError

    # ./nugpay keeps the directory that it stands in off the path, and an installation has no tests.
    sys.path.append(str(Path(__file__).parents[2]))
    try:
        from tests.simulation.coverage import never_met
    except ModuleNotFoundError as error:
        raise OperationError(
            "The simulator is not part of an installed package", "Run ./nugpay simulate in a clone."
        ) from error

    console = Console()
    first = secrets.randbelow(2**31) if seed is None else seed
    console.print(f"seed {first}: {seeds:,} × {events:,} events", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    counts: Counter[str] = Counter()
    done, last_hash, began = 0, b"", time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("events", total=seeds * events)
        report = partial(_advance, progress, task)
        for number, outcome in enumerate(_outcomes(range(first, first + seeds), events, strength, report), 1):
            progress.update(task, completed=number * events)
            if isinstance(outcome, str):
                progress.stop()
                console.print(f"[bold red]wrong:[/] {escape(outcome)}", highlight=False, soft_wrap=True)
                raise typer.Exit(1)
            counts += outcome.counts
            done, last_hash = done + outcome.events, outcome.hash
    seconds = time.monotonic() - began
    missing = never_met(counts)
    _show(console, counts, everything=coverage)
    console.print(
        f"no difference in {done:,} events of {seeds:,} runs ({seconds:.0f} s, "
        f"{done / seconds:,.0f} events/s); the last journal ends with {last_hash.hex()[:16]}",
        highlight=False,
        soft_wrap=True,
    )
    if missing and (coverage or done >= LONG_EVENTS):
        console.print(f"[bold red]never met:[/] {', '.join(missing)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


def _outcomes(
    seeds: Sequence[int], events: int, strength: float, report: Callable[[int], None]
) -> Iterator[Run | str]:
    """What became of each run, in order: one run in this process, several beside each other."""
    if len(seeds) == 1:
        yield _outcome(seeds[0], events, strength, report)
        return
    processes = min(len(seeds), os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as executor:
        try:
            yield from executor.map(_outcome, seeds, repeat(events), repeat(strength))
        finally:
            # After a difference nobody waits for the seeds that follow.
            executor.shutdown(wait=False, cancel_futures=True)


def _outcome(
    seed: int, events: int, strength: float, report: Callable[[int], None] | None = None
) -> Run | str:
    """One run, or the difference that it has found."""
    from tests.simulation.simulator import SimulationFailure, run

    try:
        return run(seed, events, strength=strength, report=report)
    except SimulationFailure as failure:
        return str(failure)


def _advance(progress: Progress, task: TaskID, by: int) -> None:
    progress.advance(task, by)


def _show(console: Console, counts: Counter[str], *, everything: bool) -> None:
    """What the runs have met: a line for each kind, or for each thing."""
    from rich.table import Table

    from tests.simulation.coverage import GROUPS

    table = Table("what", "of", "met", "least often", "times")
    for group, names in GROUPS.items():
        met = [name for name in names if counts[name]]
        rarest = min(names, key=lambda name: counts[name])
        table.add_row(group, f"{len(names)}", f"{len(met)}", rarest, f"{counts[rarest]:,}")
    console.print(table)
    if everything:
        each = Table("what", "times")
        for names in GROUPS.values():
            for name in names:
                each.add_row(name, f"{counts[name]:,}")
        console.print(each)
