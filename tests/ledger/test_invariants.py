"""The laws of the journal have no blind spot: whichever value is changed, the check finds it."""

from typing import Any

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger.engine import LedgerEngine
from tests.ledger.invariants import check_journal
from tests.ledger.world import World

TABLES = ("ledger_account", "ledger_transfer_1", "ledger_expiry", "ledger_failed_id", "ledger_batch")

OTHER = {
    "bigint": "coalesce({0}, 0) + 1000000007",
    "integer": "coalesce({0}, 0) + 1",
    "smallint": "{0} # 8",
    "uuid": "'0123456789abcdef0123456789abcdef'",
    "bytea": "set_byte({0}, 31, get_byte({0}, 31) # 1)",
}
"""Another value, by the column's type."""


async def write_some_of_everything(engine: LedgerEngine, clock: SettableClock) -> None:
    world = World(engine, clock)
    await world.open("a b", user_data_128=1, user_data_64=2, user_data_32=3)
    clock.advance(seconds=1)
    await world.request("P: a -> b 5 pending user_data_64=1 | created")
    await world.request("- -> - 3 post of=P | created")
    await world.request("a -> b 5 pending timeout=1 | created")
    clock.advance(seconds=5)
    await world.request("a -> b 1 user_data_128=7 | created")
    await world.open("limited", flags=2)
    await world.request("limited -> b 1 | exceeds_credits")


def columns(db: psycopg.Connection) -> list[tuple[str, str, str]]:
    query = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_name = ANY(%s) ORDER BY table_name, ordinal_position"
    )
    return db.execute(query, (list(TABLES),)).fetchall()


def change(db: Any, table: str, column: str, value: str) -> tuple[Any, Any]:
    """Change a column of the table's last row; the row's place and what was there before."""
    [place, before] = db.execute(f"SELECT ctid, {column} FROM {table} ORDER BY ctid DESC LIMIT 1").fetchone()
    [place] = db.execute(
        f"UPDATE {table} SET {column} = {value.format(column)} WHERE ctid = %s RETURNING ctid", (place,)
    ).fetchone()
    return place, before


async def test_a_change_of_any_column_of_any_table_is_found(database_url: str, clock: SettableClock) -> None:
    engine = await LedgerEngine.start(database_url, clock)
    await write_some_of_everything(engine, clock)
    await engine.close()
    check_journal(database_url)
    missed = []
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        for table in TABLES:
            db.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for table, column, kind in columns(db):
            place, before = change(db, table, column, OTHER[kind])
            try:
                check_journal(database_url)
                missed.append(f"{table}.{column}")
            except AssertionError:
                pass
            db.execute(f"UPDATE {table} SET {column} = %s WHERE ctid = %s", (before, place))
    assert missed == []
    check_journal(database_url)


@pytest.mark.parametrize("table", TABLES)
async def test_a_row_that_is_missing_from_any_table_is_found(
    database_url: str, clock: SettableClock, table: str
) -> None:
    engine = await LedgerEngine.start(database_url, clock)
    await write_some_of_everything(engine, clock)
    await engine.close()
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        db.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        db.execute(f"DELETE FROM {table} WHERE ctid = (SELECT max(ctid) FROM {table})")
    with pytest.raises(AssertionError):
        check_journal(database_url)
