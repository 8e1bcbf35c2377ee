"""A journal from before there were segments goes on where it was."""

from collections.abc import Iterator
from random import Random

import psycopg
import pytest
from alembic import command

from foundation.clock import SettableClock
from ledger.columns import TransferColumns
from ledger.contract import Account, AccountFilter, CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from ledger.journal import Journal
from ledger.rows import TRANSFER_COLUMNS
from ops.migrations import alembic_config, migrate
from tests.fixtures.postgres import drop_database, url_of
from tests.ledger.invariants import check_journal

OLD = "0006_treasury"
"""The revision before segments."""


@pytest.fixture
def old_url(postgres_admin: psycopg.Connection, postgres_url: str, database_url: str) -> Iterator[str]:
    """A database as it was before."""
    name = f"{psycopg.conninfo.conninfo_to_dict(database_url)['dbname']}_old"
    postgres_admin.execute(f"create database {name}")
    command.upgrade(alembic_config(url_of(postgres_url, name)), OLD)
    yield url_of(postgres_url, name)
    drop_database(postgres_admin, name)


def transfers(first: int, count: int, random: Random) -> list[Transfer]:
    listed = []
    for number in range(first, first + count):
        debit, credit = random.sample((1, 2, 3), 2)
        listed.append(Transfer(number, debit, credit, random.randrange(9), ledger=1, code=1))
    return listed


def copy_journal(source: str, target: str) -> None:
    """The same rows, in the tables of the old form."""
    columns = ", ".join(TRANSFER_COLUMNS)
    with (
        psycopg.connect(source, autocommit=True) as read,
        psycopg.connect(target, autocommit=True) as write,
    ):
        for table, names in (
            ("ledger_account", "*"), ("ledger_transfer", columns), ("ledger_expiry", "*"),
            ("ledger_failed_id", "*"), ("ledger_batch", "*"),
        ):  # fmt: skip
            query = f"COPY (SELECT {names} FROM {table}) TO STDOUT (FORMAT BINARY)"
            with read.cursor().copy(query) as out:
                data = b"".join(bytes(part) for part in out)
            listed = f"({columns})" if table == "ledger_transfer" else ""
            with write.cursor().copy(f"COPY {table} {listed} FROM STDIN (FORMAT BINARY)") as into:
                into.write(data)


async def test_a_journal_from_before_segments_goes_on(
    database_url: str, old_url: str, clock: SettableClock
) -> None:
    random = Random(1)
    engine = await LedgerEngine.start(database_url, clock)
    await engine.create_accounts([Account(id=n, ledger=1, code=1) for n in (1, 2, 3)])
    first = transfers(100, 300, random)
    created = await engine.create_transfers(first)
    await engine.create_transfers([Transfer(50, 1, 2, 5, flags=2, ledger=1, code=1)])
    before = await engine.lookup_accounts([1, 2, 3])
    await engine.close()
    copy_journal(database_url, old_url)

    assert migrate(old_url)[0] == OLD
    journal = Journal.open(old_url)
    [segment] = journal.archive.segments()
    rows = TransferColumns.join(journal.archive.transfers(segment))
    assert (segment.number, segment.first_sequence, len(rows)) == (1, 1, 301)
    journal.close()
    engine = await LedgerEngine.start(old_url, clock, segment_rows=100)
    assert await engine.lookup_accounts([1, 2, 3]) == before
    # What was there is more than a segment: it is full, and sealed when the next one is opened.
    again = await engine.create_transfers(first)
    assert {result.status for result in again} == {CreateTransferStatus.EXISTS}
    assert [result.timestamp for result in again] == [result.timestamp for result in created]
    [posted] = await engine.create_transfers([Transfer(51, pending_id=50, amount=2**128 - 1, flags=4)])
    assert posted.status is CreateTransferStatus.CREATED
    await engine.create_transfers(transfers(1000, 5, random))
    await engine.wait_until_sealed()
    history = await engine.get_account_transfers(AccountFilter(account_id=1, limit=8189, flags=3))
    wanted = [t.id for t in first if 1 in (t.debit_account_id, t.credit_account_id)]
    assert [t.id for t in history][: len(wanted)] == wanted
    await engine.close()
    check_journal(old_url)
