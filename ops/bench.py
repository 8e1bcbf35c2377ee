"""Benchmarks: one form for all of them, for people a table, for machines a list of rows.

A benchmark is a function in a module of ``benchmarks``, entered in that module's
``BENCHMARKS`` under its name; it measures, and gives rows. A row may have a
baseline, measured in the same run on the same machine, and a target for the
value or for its ratio to the baseline; then it says whether the target holds.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

import benchmarks


class Better(StrEnum):
    """Which way a value is meant to go."""

    HIGHER = "higher"
    """More is better, such as transfers a second."""
    LOWER = "lower"
    """Less is better, such as milliseconds."""


class Target(msgspec.Struct, frozen=True):
    """What a row is to reach."""

    bound: float
    better: Better = Better.HIGHER
    of_ratio: bool = False
    """The bound is one of the ratio to the baseline, not of the value."""

    def __str__(self) -> str:
        sign = "≥" if self.better is Better.HIGHER else "≤"
        return f"{sign} {shown(self.bound)}{' × baseline' if self.of_ratio else ''}"


class Row(msgspec.Struct, frozen=True):
    """One measured figure."""

    name: str
    value: float
    unit: str
    """Such as ``transfers/s``, ``ms`` or ``bytes/transfer``."""
    baseline: float | None = None
    """The same work without ours, in the same unit, measured in the same run."""
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """The value in baselines."""
        return self.value / self.baseline if self.baseline else None

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        measured = self.ratio if self.target.of_ratio else self.value
        if measured is None:
            return False
        bound = self.target.bound
        return measured >= bound if self.target.better is Better.HIGHER else measured <= bound

    def as_json(self) -> dict[str, Any]:
        """The row in the machines' form, with the same seven names for every benchmark."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "baseline": self.baseline,
            "ratio": self.ratio,
            "target": str(self.target) if self.target is not None else None,
            "holds": self.holds,
        }


def _keep_quiet(_progress: str) -> None:
    """Nobody watches."""


class Options(msgspec.Struct, frozen=True):
    """How a benchmark is to be run; each honours what means something to it."""

    quick: bool = False
    """About a minute, at smaller sizes: for people in a hurry and for continuous integration."""
    only: str = ""
    """Measure only what gives rows with this in their names; may hold ``*``, ``?``, and ``|`` for "or"."""
    tigerbeetle: str | None = None
    """Address of a running TigerBeetle to measure beside ours."""
    report: Callable[[str], None] = _keep_quiet
    """Told what is going on, a short line each time."""

    def wants(self, name: str) -> bool:
        """Whether a row of that name was asked for."""
        return any(fnmatch(name.lower(), f"*{part.strip()}*") for part in self.only.lower().split("|"))


Benchmark = Callable[[Options], Iterable[Row]]
"""Measures as the options say, and gives rows, each as soon as it is known."""


def registry() -> dict[str, Benchmark]:
    """Every benchmark by name."""
    found: dict[str, Benchmark] = {}
    for module in pkgutil.iter_modules(benchmarks.__path__, "benchmarks."):
        found |= getattr(import_module(module.name), "BENCHMARKS", {})
    return found


def run_benchmark(benchmark: Benchmark, console: Console, options: Options | None = None) -> list[Row]:
    """Run one benchmark: each row is told when it is known, and at the end all are shown as a table."""
    rows = list(_telling(benchmark, console, options or Options()))
    console.print(table_of(rows))
    return rows


def _telling(benchmark: Benchmark, console: Console, options: Options) -> Iterator[Row]:
    with console.status("measuring") as status:
        options = msgspec.structs.replace(options, report=status.update)
        for row in benchmark(options):
            if options.wants(row.name):
                status.update(f"measured {row.name}: {shown(row.value)} {row.unit}")
                yield row


def write_rows(rows: list[Row], path: Path) -> None:
    """Write the machines' form."""
    path.write_bytes(
        msgspec.json.format(msgspec.json.encode([row.as_json() for row in rows]), indent=2) + b"\n"
    )


def table_of(rows: list[Row]) -> Table:
    """The people's form."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("what")
    for title in ("value", "baseline", "ratio"):
        table.add_column(title, justify="right")
    table.add_column("target")
    table.add_column("holds")
    for row in rows:
        table.add_row(
            row.name,
            f"{shown(row.value)} {row.unit}",
            shown(row.baseline) if row.baseline is not None else "",
            f"{row.ratio:.3f}" if row.ratio is not None else "",
            str(row.target) if row.target is not None else "",
            {None: "", True: "yes", False: "[bold red]no[/]"}[row.holds],
        )
    return table


def shown(value: float) -> str:
    """A number as people read it: about four digits, thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
