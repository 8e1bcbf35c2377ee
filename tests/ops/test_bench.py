"""The benchmarks' form: seven names a row, and a target that holds or does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ops.bench import Better, Options, Row, Target, registry, run_benchmark, shown, write_rows


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (Row("speed", 20.0, "transfers/s"), None),
        (Row("speed", 20.0, "transfers/s", target=Target(20)), True),
        (Row("speed", 19.9, "transfers/s", target=Target(20)), False),
        (Row("delay", 5.0, "ms", target=Target(5, Better.LOWER)), True),
        (Row("delay", 5.1, "ms", target=Target(5, Better.LOWER)), False),
        (Row("speed", 70.0, "transfers/s", 100.0, Target(0.7, of_ratio=True)), True),
        (Row("speed", 69.0, "transfers/s", 100.0, Target(0.7, of_ratio=True)), False),
        (Row("speed", 69.0, "transfers/s", None, Target(0.7, of_ratio=True)), False),
    ],
)
def test_target_holds_when_the_value_or_ratio_reaches_it(row: Row, holds: bool | None) -> None:
    assert row.holds is holds


def test_machine_form_has_seven_names_a_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    write_rows([Row("full batches", 800.0, "transfers/s", 1000.0, Target(0.7, of_ratio=True))], path)
    assert json.loads(path.read_text()) == [
        {
            "name": "full batches",
            "value": 800.0,
            "unit": "transfers/s",
            "baseline": 1000.0,
            "ratio": 0.8,
            "target": "≥ 0.7 × baseline",
            "holds": True,
        }
    ]


def test_people_see_a_table_with_every_row() -> None:
    console = Console(record=True, width=120)
    rows = [Row("one", 1_234_567.0, "transfers/s"), Row("two", 1.5, "ms", target=Target(1, Better.LOWER))]
    assert run_benchmark(lambda _options: rows, console) == rows
    text = console.export_text()
    assert "1,234,567 transfers/s" in text
    assert "≤ 1" in text
    assert "no" in text


@pytest.mark.parametrize("only", ["callers", "64*p99", "CALLERS, P99", "nothing | callers"])
def test_only_rows_that_were_asked_for_are_shown(only: str) -> None:
    rows = [Row("64 concurrent callers, p99", 4.0, "ms"), Row("linked pairs", 9.0, "transfers/s")]
    assert run_benchmark(lambda _options: rows, Console(quiet=True), Options(only=only)) == rows[:1]


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.1235"), (12.0, "12"), (999.96, "1000"), (1000.4, "1,000")]
)
def test_figures_are_shown_in_about_four_digits(value: float, text: str) -> None:
    assert shown(value) == text


def test_every_benchmark_says_in_a_line_what_it_measures() -> None:
    assert [name for name, benchmark in registry().items() if not (benchmark.__doc__ or "").strip()] == []


def test_benchmarks_are_listed_as_the_command_line_runs_them() -> None:
    # As ./nugpay starts it: without the clone's root in the path, so that a benchmark
    # that needs the tests would break every one of them.
    listed = subprocess.run(
        [sys.executable, "-P", "-m", "ops", "bench"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "ledger" in listed.stdout
