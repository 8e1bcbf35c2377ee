"""A second ledger process, and a second PostgreSQL, take over: in time, and nothing is lost or doubled.

The short form; ``tests/simulation/standby.py`` is the long one.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from ops import postgres
from ops.cluster import Cluster
from ops.migrations import migrate
from tests.fixtures.postgres import SMALLER
from tests.ledger.standbys import FailOvers, fail_over_ledger, fail_over_postgres


def check(outcome: FailOvers) -> None:
    assert outcome.violation is None
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert len(outcome.tally.stored) > 50
    assert outcome.holds, f"served again after {outcome.seconds} s"


@pytest.mark.slow
@pytest.mark.parametrize("one_address", [True, False], ids=["one socket", "an address each"])
async def test_a_waiting_process_serves_when_the_first_is_killed(
    database_url: str, *, one_address: bool
) -> None:
    check(await fail_over_ledger(database_url, kills=2, seed=1, pause=0.3, one_address=one_address))


@pytest.mark.slow
async def test_a_promoted_standby_has_everything_that_was_acknowledged(make_home: Callable[[], Path]) -> None:
    directory = make_home()
    first, second = directory / "a", directory / "b"
    try:
        migrate(postgres.ensure_running(first, changes=SMALLER))
        check(await fail_over_postgres(first, second, kills=1, seed=2, pause=0.3))
    finally:
        for home in (first, second):
            Cluster(home, lambda _: None).stop(immediate=True)
