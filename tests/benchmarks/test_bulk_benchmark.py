"""The benchmark of bulk payments measures every figure; what it measures is no matter of a test."""

from benchmarks.bulk import Sizes, measure
from ops.bench import Options, registry

TINY = Sizes(payees=30, lines=60, files=2, rounds=1)


def test_every_figure_is_measured_and_the_one_that_counts_has_its_target() -> None:
    rows = list(measure(TINY, Options()))
    assert [(row.unit, row.baseline is not None, str(row.target)) for row in rows] == [
        ("lines/s", False, "≥ 20,000"),
        ("lines/s", True, "None"),
        ("lines/s", False, "None"),
    ]
    assert all(row.value > 0 for row in rows)
    assert "bulk" in registry()
