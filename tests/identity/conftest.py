"""A database of its own for each test of identity."""

import pytest

from foundation.database import Database


@pytest.fixture
async def database(database_url):
    database = Database(database_url)
    yield database
    await database.close()
