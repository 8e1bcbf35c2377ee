"""``nugpay bench``: measure, and say whether the targets hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str | None, typer.Argument(help="Which one; without a name they are listed.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Also write the rows to this file.")] = None,
) -> None:
    """Run a benchmark and show its table; ends with 1 when a target does not hold."""
    from rich.console import Console

    from ops.bench import registry, run_benchmark, write_rows
    from ops.errors import OperationError

    console = Console()
    benchmarks = registry()
    if name is None:
        for each, benchmark in benchmarks.items():
            console.print(f"[bold]{each}[/]  {(benchmark.__doc__ or '').strip().splitlines()[0]}")
        return
    if name not in benchmarks:
        raise OperationError(f"There is no benchmark {name}", f"There are: {', '.join(sorted(benchmarks))}")
    rows = run_benchmark(benchmarks[name], console)
    if json is not None:
        write_rows(rows, json)
    if any(row.holds is False for row in rows):
        raise typer.Exit(1)
