"""Changes that other processes make are told at once, and never believed to be told when they are not."""

import asyncio
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from foundation.changes import APPLICATION_NAME, CHANNEL, TRUST_SECONDS, Changes
from foundation.postgres import sync_url

PATIENCE_SECONDS = 20


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def tell(url: str, payload: str) -> None:
    with psycopg.connect(sync_url(url), autocommit=True) as connection:
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))


def cut(url: str) -> None:
    """End the connections that listen, as a server that stops does."""
    with psycopg.connect(sync_url(url), autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s",
            (APPLICATION_NAME,),
        )
        assert ended.fetchall() == [(True,)]


@pytest.fixture
async def forgotten(database_url: str) -> AsyncIterator[tuple[Changes, list[str | None]]]:
    names: list[str | None] = []
    changes = Changes(database_url)
    changes.subscribe("device", names.append)
    async with changes.followed():
        await until(lambda: changes.are_followed)
        yield changes, names


async def test_what_another_session_tells_is_forgotten_and_other_kinds_are_not(database_url, forgotten):
    _, names = forgotten
    names.clear()
    tell(database_url, "wallet 1")
    tell(database_url, "device 2")
    await until(lambda: bool(names))
    assert names == ["2"]


async def test_everything_is_forgotten_when_following_begins(forgotten):
    _, names = forgotten
    assert names == [None]


async def test_a_connection_that_is_lost_is_not_relied_on_and_everything_is_forgotten_when_it_is_back(
    database_url, forgotten
):
    changes, names = forgotten
    names.clear()
    cut(database_url)
    await until(lambda: names == [None])
    await until(lambda: changes.are_followed)


async def test_a_silent_connection_is_relied_on_for_seconds_only(database_url, monkeypatch):
    """A server that does not answer any more: nobody is told, and so nothing may be believed."""
    changes = Changes(database_url)
    execute = psycopg.AsyncConnection.execute
    silent = asyncio.Event()

    async def answer(self, query, *arguments, **how):
        if silent.is_set():
            await asyncio.sleep(3_600)
        return await execute(self, query, *arguments, **how)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", answer)
    async with changes.followed():
        await until(lambda: changes.are_followed)
        silent.set()
        await asyncio.sleep(TRUST_SECONDS + 1.5)
        assert not changes.are_followed


async def test_nothing_is_relied_on_before_it_is_followed(database_url):
    changes = Changes(database_url)
    assert not changes.are_followed


async def test_without_a_server_nothing_is_relied_on_and_nothing_fails(tmp_path):
    changes = Changes(f"postgresql:///nothing?host={tmp_path}")
    async with changes.followed():
        await asyncio.sleep(0.2)
        assert not changes.are_followed
