"""The chain's benchmark measures every figure; what it measures is no matter of a test."""

from benchmarks.chain import follower_runs, measure, reconciliation_runs
from benchmarks.chain.sizes import Sizes
from ops.bench import Options, registry

TINY = Sizes(final_blocks=30, young_blocks=20, events_each=5, addresses=40, rounds=1)


def test_every_figure_is_measured_with_its_target_and_baseline() -> None:
    rows = list(measure(TINY, Options()))
    assert [(row.name, str(row.target or "")) for row in rows] == [
        (follower_runs.FINAL, "≥ 50,000"),
        (follower_runs.BESIDE, "≥ 0.35 × baseline"),
        (follower_runs.PARSED, ""),
        (follower_runs.YOUNG, ""),
        (follower_runs.YOUNG_PARSED, ""),
        ("reconciliation of 40 deposit addresses, beside the bare balances", "≤ 2"),
    ]
    assert all(row.value > 0 for row in rows)
    assert all(row.baseline for row in rows if "beside" in row.name)


def test_only_what_is_asked_for_is_measured() -> None:
    rows = list(measure(TINY, Options(only="reconciliation")))
    assert len(rows) == 1
    assert rows[0].target is not None
    assert rows[0].target.bound == reconciliation_runs.SECONDS_MAX


def test_the_command_finds_it() -> None:
    assert "chain" in registry()
