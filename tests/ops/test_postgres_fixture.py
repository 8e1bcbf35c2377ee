"""The tests' own database: fresh for each of them, and at the newest revision."""

import uuid
from typing import Any

import psycopg
import pytest

from tests.fixtures import postgres as fixture
from tests.fixtures.postgres import drop_database


@pytest.mark.parametrize("turn", range(4))
def test_each_test_finds_an_empty_database_at_the_newest_revision(database_url: str, turn: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("create table mark (turn int)")
        connection.execute("insert into mark values (%s)", [turn])
        assert connection.execute("select count(*) from mark").fetchone() == (1,)
        revision = connection.execute("select version_num from alembic_version").fetchone()
        assert revision is not None
        assert revision[0] >= "0001"


class Stumbling:
    """The administrator's connection, whose first drops fail as a failed checkpoint makes them fail."""

    def __init__(self, admin: psycopg.Connection, failures: int) -> None:
        self.admin = admin
        self.failures = failures

    def execute(self, statement: str) -> Any:
        if statement.startswith("drop database") and self.failures:
            self.failures -= 1
            # PostgreSQL's own error of that class and code, raised by the server.
            self.admin.execute(
                "do $$ begin raise exception 'checkpoint request failed' using errcode = 'XX000'; end $$"
            )
        return self.admin.execute(statement)


@pytest.fixture
def spare(postgres_admin: psycopg.Connection) -> str:
    name = f"test_{uuid.uuid4().hex}"
    postgres_admin.execute(f"create database {name}")
    return name


def exists(admin: psycopg.Connection, name: str) -> bool:
    return admin.execute("select 1 from pg_database where datname = %s", [name]).fetchone() is not None


def test_drop_that_a_failed_checkpoint_stops_is_tried_again(
    postgres_admin: psycopg.Connection, spare: str
) -> None:
    stumbling: Any = Stumbling(postgres_admin, failures=2)
    drop_database(stumbling, spare)
    assert stumbling.failures == 0
    assert not exists(postgres_admin, spare)


def test_drop_that_fails_every_time_tells_what_the_server_said(
    postgres_admin: psycopg.Connection, spare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixture, "DROP_PAUSES_SECONDS", (0.01, 0.01))
    stumbling: Any = Stumbling(postgres_admin, failures=100)
    with pytest.raises(psycopg.errors.InternalError_) as caught:
        drop_database(stumbling, spare)
    assert stumbling.failures == 97
    assert "checkpoint request failed" in caught.value.__notes__[0]
    drop_database(postgres_admin, spare)
