"""What every test may ask for."""

import pytest

from foundation.clock import SettableClock

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.anvil",
    "tests.fixtures.contracts",
    "tests.fixtures.served",
]


@pytest.fixture
def clock() -> SettableClock:
    """A clock that stands still until the test moves it."""
    return SettableClock()
