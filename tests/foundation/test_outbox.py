"""The outbox on a real PostgreSQL: at least once, and inside the database exactly once."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.clock import SettableClock
from foundation.database import Database
from foundation.outbox import RETRY_SECONDS_MAX, drain, enqueue
from foundation.postgres import sync_url

TOPIC = "things"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    async with database.session() as session:
        await session.execute(text("create table effect (message uuid, number integer)"))
    yield database
    await database.close()


async def put(database: Database, clock: SettableClock, number: int, **more: Any) -> UUID:
    async with database.session() as session:
        return await enqueue(session, clock, TOPIC, {"number": number}, **more)


async def note(session: AsyncSession, message_id: UUID, payload: dict[str, Any]) -> None:
    """A handler whose effect is a row of the same database transaction."""
    await session.execute(
        text("insert into effect values (:message, :number)"),
        {"message": message_id, "number": payload["number"]},
    )


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(sync_url(url)) as connection:
        return connection.execute(query).fetchall()


def effects(url: str) -> list[int]:
    return [row[0] for row in rows(url, "select number from effect order by number")]


async def test_a_message_is_carried_out_once(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    message_id = await put(database, clock, 7)
    assert await drain(database, clock, {TOPIC: note}) == 1
    assert await drain(database, clock, {TOPIC: note}) == 0
    assert rows(database_url, "select * from effect") == [(message_id, 7)]
    [(attempts, done, error)] = rows(
        database_url, "select attempts, done_at, last_error from foundation_outbox"
    )
    assert (attempts, done, error) == (1, clock.now(), None)


async def test_a_message_lives_and_dies_with_the_transaction_that_writes_it(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    async def decide_and_fail() -> None:
        async with database.session() as session:
            await enqueue(session, clock, TOPIC, {"number": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await decide_and_fail()
    assert rows(database_url, "select * from foundation_outbox") == []
    assert await drain(database, clock, {TOPIC: note}) == 0


async def test_the_same_key_is_written_once(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    first = await put(database, clock, 1, key="only")
    assert await put(database, clock, 2, key="only") == first
    assert await put(database, clock, 3, key="other") != first
    assert await put(database, clock, 4) != await put(database, clock, 5)
    await drain(database, clock, {TOPIC: note})
    assert await put(database, clock, 6, key="only") == first
    assert await drain(database, clock, {TOPIC: note}) == 0
    assert effects(database_url) == [1, 3, 4, 5]


async def test_the_same_key_at_the_same_time_is_written_once(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    made = await asyncio.gather(*(put(database, clock, n, key="race") for n in range(10)))
    assert len(set(made)) == 1
    assert await drain(database, clock, {TOPIC: note}) == 1
    assert len(effects(database_url)) == 1


async def test_two_drains_at_once_share_the_work_and_double_nothing(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    for number in range(60):
        await put(database, clock, number)

    async def slow(session: AsyncSession, message_id: UUID, payload: dict[str, Any]) -> None:
        await note(session, message_id, payload)
        await asyncio.sleep(0.001)

    counts = await asyncio.gather(*(drain(database, clock, {TOPIC: slow}) for _ in range(4)))
    assert sum(counts) == 60
    assert sum(count > 0 for count in counts) > 1
    assert effects(database_url) == list(range(60))


async def test_a_drain_stops_at_its_limit(database: Database, clock: SettableClock) -> None:
    for number in range(5):
        await put(database, clock, number)
    assert await drain(database, clock, {TOPIC: note}, limit=3) == 3
    assert await drain(database, clock, {TOPIC: note}, limit=3) == 2


async def test_messages_come_when_they_are_due_and_in_that_order(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    seen: list[int] = []

    async def watch(_session: AsyncSession, _id: UUID, payload: dict[str, Any]) -> None:
        seen.append(payload["number"])

    for number in (3, 1, 2):
        await put(database, clock, number, due_at=clock.now() + timedelta(seconds=number))
    assert await drain(database, clock, {TOPIC: watch}) == 0
    clock.advance(seconds=2)
    assert await drain(database, clock, {TOPIC: watch}) == 2
    clock.advance(seconds=1)
    assert await drain(database, clock, {TOPIC: watch}) == 1
    assert seen == [1, 2, 3]


async def test_a_topic_without_a_handler_waits_for_one(database: Database, clock: SettableClock) -> None:
    await put(database, clock, 1)
    assert await drain(database, clock, {"elsewhere": note}) == 0
    assert await drain(database, clock, {TOPIC: note}) == 1


async def test_a_handler_that_fails_leaves_no_effect_and_is_tried_again_after_longer_and_longer_pauses(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    async def fail(session: AsyncSession, message_id: UUID, payload: dict[str, Any]) -> None:
        await note(session, message_id, payload)
        raise ValueError("no " * 1000)

    await put(database, clock, 1)
    pauses = []
    for attempt in range(1, 15):
        assert await drain(database, clock, {TOPIC: fail}) == 0
        query = "select attempts, due_at, done_at, last_error from foundation_outbox"
        [(attempts, due_at, done_at, error)] = rows(database_url, query)
        assert (attempts, done_at) == (attempt, None)
        assert error.startswith("ValueError: no")
        assert len(error) <= 500
        pauses.append((due_at - clock.now()).total_seconds())
        # Not a moment before it is due.
        clock.advance(seconds=int(pauses[-1]) - 1)
        assert await drain(database, clock, {TOPIC: fail}) == 0
        clock.advance(seconds=1)
    assert pauses[:11] == [2.0**n for n in range(1, 12)]
    assert pauses[11:] == [RETRY_SECONDS_MAX] * 3
    assert effects(database_url) == []
    assert await drain(database, clock, {TOPIC: note}) == 1
    assert effects(database_url) == [1]


async def test_a_message_that_fails_does_not_hold_up_the_others(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    async def odd_ones_fail(session: AsyncSession, message_id: UUID, payload: dict[str, Any]) -> None:
        if payload["number"] % 2:
            raise ValueError(payload["number"])
        await note(session, message_id, payload)

    for number in range(6):
        await put(database, clock, number)
    assert await drain(database, clock, {TOPIC: odd_ones_fail}) == 3
    assert effects(database_url) == [0, 2, 4]


async def test_an_error_of_the_database_in_a_handler_is_an_error_like_any_other(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    async def break_the_statement(session: AsyncSession, _id: UUID, _payload: dict[str, Any]) -> None:
        await session.execute(text("select 1 / 0"))

    await put(database, clock, 1)
    assert await drain(database, clock, {TOPIC: break_the_statement}) == 0
    [(attempts, error)] = rows(database_url, "select attempts, last_error from foundation_outbox")
    assert attempts == 1
    assert "division by zero" in error


DIE_INSIDE_A_HANDLER = """
import asyncio, os, signal, sys
from sqlalchemy import text
from foundation.clock import SettableClock
from foundation.database import Database
from foundation.outbox import drain

async def die(session, message_id, payload):
    await session.execute(text("insert into effect values (:m, 1)"), {"m": message_id})
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(drain(Database(sys.argv[1]), SettableClock(int(sys.argv[2])), {"things": die}))
"""


async def test_a_process_that_dies_inside_a_handler_leaves_the_message_due(
    database: Database, database_url: str, clock: SettableClock
) -> None:
    await put(database, clock, 1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIE_INSIDE_A_HANDLER, database_url, str(clock.now_ns()),
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert await process.wait() == -9
    async with asyncio.timeout(30):
        # The dead process' lock goes when the server notices.
        while await drain(database, clock, {TOPIC: note}) == 0:
            await asyncio.sleep(0.02)
    assert effects(database_url) == [1]
    assert rows(database_url, "select attempts from foundation_outbox") == [(1,)]
