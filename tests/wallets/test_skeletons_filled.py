"""Wallets from before there were skeletons: the oldest of look-alikes has it, nobody loses a handle."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic import command
from sqlalchemy import select

from foundation.database import Database
from ops.migrations import alembic_config, migrate
from tests.fixtures.postgres import drop_database, url_of
from wallets.handles import skeleton
from wallets.models import WalletRow
from wallets.wallets import _looks_like

OLD = "0014_breaker_officers"
"""The revision before skeletons."""

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)

COUNT = 2_345
"""More than two batches."""


@pytest.fixture
def old_url(postgres_admin: psycopg.Connection, postgres_url: str, database_url: str) -> Iterator[str]:
    """A database as it was before, with wallets."""
    name = f"{psycopg.conninfo.conninfo_to_dict(database_url)['dbname']}_old"
    postgres_admin.execute(f"create database {name}")
    url = url_of(postgres_url, name)
    command.upgrade(alembic_config(url), OLD)
    yield url
    drop_database(postgres_admin, name)


def made_up_handles() -> list[str]:
    random = Random(7)
    # Few letters and short handles, so that many look alike.
    made = {"m" + "".join(random.choices("01ilormnvw_ab", k=random.randint(2, 5))) for _ in range(COUNT * 3)}
    return random.sample(sorted(made), COUNT)


def open_before(url: str, handles: list[str]) -> None:
    random = Random(8)
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        people = [(uuid4(), BEGAN) for _ in handles]
        cursor.executemany("INSERT INTO identity_person (id, created_at) VALUES (%s, %s)", people)
        cursor.executemany(
            "INSERT INTO wallets_wallet (id, person_id, handle, created_at) VALUES (%s, %s, %s, %s)",
            [
                # Several are of the same moment.
                (uuid4(), person, handle, BEGAN + timedelta(seconds=random.randrange(COUNT // 3)))
                for (person, _), handle in zip(people, handles, strict=True)
            ],
        )


def wallets(url: str) -> list[tuple[datetime, UUID, str, str | None]]:
    with psycopg.connect(url) as connection:
        query = "SELECT created_at, id, handle, skeleton FROM wallets_wallet ORDER BY created_at, id"
        return list(connection.execute(query))


def expected(rows: list[tuple[datetime, UUID, str, str | None]]) -> list[str | None]:
    seen: set[str] = set()
    found: list[str | None] = []
    for _, _, handle, _ in rows:
        looks = skeleton(handle)
        found.append(None if looks in seen else looks)
        seen.add(looks)
    return found


async def test_the_oldest_of_look_alikes_has_the_skeleton_and_the_others_keep_their_handles(old_url):
    handles = made_up_handles()
    open_before(old_url, handles)
    assert migrate(old_url)[0] == OLD

    rows = wallets(old_url)
    assert {handle for _, _, handle, _ in rows} == set(handles)
    skeletons = [looks for _, _, _, looks in rows]
    assert skeletons == expected(rows)
    assert 100 < skeletons.count(None) < COUNT

    # Whoever opens a wallet now is compared with all of them, by the same rule.
    database = Database(old_url)
    async with database.session() as session:
        for handle in handles[::100]:
            found = await session.scalars(select(WalletRow.handle).where(_looks_like(skeleton(handle))))
            assert set(found) == {each for each in handles if skeleton(each) == skeleton(handle)}
    await database.close()


def test_a_migration_that_died_half_way_is_simply_run_again(old_url):
    open_before(old_url, made_up_handles())
    with psycopg.connect(old_url, autocommit=True) as connection:
        # What is committed before the wallets are filled in, and a part of those.
        connection.execute("ALTER TABLE wallets_wallet ADD COLUMN skeleton text")
        connection.execute("CREATE UNIQUE INDEX ix_wallets_wallet_skeleton ON wallets_wallet (skeleton)")
        rows = wallets(old_url)
        for (_, wallet_id, _, _), looks in list(zip(rows, expected(rows), strict=True))[:1_000]:
            connection.execute("UPDATE wallets_wallet SET skeleton = %s WHERE id = %s", (looks, wallet_id))
    migrate(old_url)
    rows = wallets(old_url)
    assert [looks for _, _, _, looks in rows] == expected(rows)
