"""``nugpay simulate``: several seeds beside each other, told as if one came after the other."""

import pytest
from typer.testing import CliRunner

from ops.cli import app, simulate
from tests.simulation.simulator import run


def test_runs_beside_each_other_are_the_runs_of_their_seeds() -> None:
    done = CliRunner().invoke(app, ["simulate", "--seed", "5", "--seeds", "2", "--events", "300"])
    assert done.exit_code == 0, done.output
    assert f"ends with {run(6, 300).hash.hex()[:16]}" in done.output
    assert "of 2 runs" in done.output


def test_the_first_seed_that_fails_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [run(5, 100), "seed 6, after 9 events: no\nagain: ./nugpay simulate --seed 6 --events 10"]
    monkeypatch.setattr(simulate, "_outcomes", lambda *_: iter(outcomes))
    done = CliRunner().invoke(app, ["simulate", "--seed", "5", "--seeds", "3", "--events", "100"])
    assert done.exit_code == 1
    assert "./nugpay simulate --seed 6 --events 10" in done.output
