"""``nugpay bench``: measure, and say whether the targets hold."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str | None, typer.Argument(help="Which one; without a name they are listed.")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="About a minute, at smaller sizes.")] = False,
    only: Annotated[
        str,
        typer.Option(
            "--only",
            metavar="PATTERN",
            help="Only rows with this in their names; *, ? and | mean what they do.",
        ),
    ] = "",
    json: Annotated[Path | None, typer.Option("--json", help="Also write the rows to this file.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Also draw the rows into this file.")] = None,
    tigerbeetle: Annotated[
        str | None,
        typer.Option(
            "--tigerbeetle", metavar="ADDRESS", help="A running TigerBeetle to measure beside ours."
        ),
    ] = None,
) -> None:
    """Run a benchmark and show its table; ends with 1 when a target does not hold.

    The sizes of --quick are too small to tell: it shows the targets, and ends with 0.
    """
    import structlog
    from rich.console import Console

    from ops.bench import Options, registry, run_benchmark, write_rows
    from ops.bench_chart import write_chart
    from ops.errors import OperationError

    # What the parts log while they are measured would stand in the way of the progress.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = Console()
    benchmarks = registry()
    if name is None:
        for each, benchmark in benchmarks.items():
            console.print(f"[bold]{each}[/]  {(benchmark.__doc__ or '').strip().splitlines()[0]}")
        return
    if name not in benchmarks:
        raise OperationError(f"There is no benchmark {name}", f"There are: {', '.join(sorted(benchmarks))}")
    options = Options(quick=quick, only=only, tigerbeetle=tigerbeetle)
    rows = run_benchmark(benchmarks[name], console, options)
    if not rows:
        raise OperationError(
            f"No row of {name} has {only!r} in its name", "A run without --only shows all of them."
        )
    if json is not None:
        write_rows(rows, json)
    if svg is not None:
        write_chart(rows, svg, title=f"nugpay bench {name}")
    if not quick and any(row.holds is False for row in rows):
        raise typer.Exit(1)
