"""The tests' own database: fresh for each of them, and at the newest revision."""

import psycopg
import pytest


@pytest.mark.parametrize("turn", range(4))
def test_each_test_finds_an_empty_database_at_the_newest_revision(database_url: str, turn: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("create table mark (turn int)")
        connection.execute("insert into mark values (%s)", [turn])
        assert connection.execute("select count(*) from mark").fetchone() == (1,)
        revision = connection.execute("select version_num from alembic_version").fetchone()
        assert revision is not None
        assert revision[0] >= "0001"
