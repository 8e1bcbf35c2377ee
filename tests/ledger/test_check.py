"""The check of the whole journal: what is sound passes, and whatever is changed is found."""

import copy
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from random import Random

import psycopg
import pytest
import pytest_asyncio

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger.checks.journal import Summary, check_journal
from ledger.checks.rows import decode_transfers
from ledger.checks.snapshot import JournalSnapshot
from ledger.columns import MalformedRows, TransferColumns
from ledger.engine import LedgerEngine
from tests.ledger import invariants
from tests.ledger.crimes import Flip, Flipper, rows_of
from tests.ledger.journals import SEGMENT_ROWS, read_tables, write_journal
from tests.ledger.tables_in_memory import TablesInMemory
from tests.ledger.world import World

FLIPS = 1_000
SQL_FLIPS = 60
PENDING, POST, VOID, BALANCING, CLOSING, IMPORTED = 2, 4, 8, 48, 192, 256


@dataclass
class Journal:
    url: str
    tables: TablesInMemory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def written(shared_database_url: str) -> Journal:
    """A journal of everything, that nobody writes to any more."""
    await write_journal(shared_database_url, SettableClock(), seed=8)
    return Journal(shared_database_url, read_tables(shared_database_url))


@pytest.fixture
def tables(written: Journal) -> TablesInMemory:
    """A copy to be spoiled."""
    return copy.deepcopy(written.tables)


def test_a_sound_journal_passes_and_the_summary_says_what_it_holds(written: Journal) -> None:
    with JournalSnapshot(written.url) as snapshot:
        summary = check_journal(snapshot)
    invariants.check_journal(written.url)
    with psycopg.connect(sync_url(written.url)) as db:
        [head] = db.execute("SELECT hash FROM ledger_batch ORDER BY sequence DESC LIMIT 1").fetchone() or [
            b""
        ]
        counts = [
            db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # type: ignore[index]  # a count always gives a row
            for table in ("ledger_batch", "ledger_account", "ledger_transfer", "ledger_expiry",
                          "ledger_failed_id", "ledger_segment")
        ]  # fmt: skip
    summed = (summary.batches, summary.accounts, summary.transfers, summary.expiries)
    assert [*summed, summary.failed_ids, summary.segments] == counts
    assert (summary.head_hash, summary.finding) == (bytes(head), None)


def test_the_journal_of_these_tests_has_every_kind_of_row(tables: TablesInMemory) -> None:
    flags = Counter[int]()
    for segment in tables.catalog:
        for value in TransferColumns.decode(bytes(tables.rows[f"transfers {segment.number}"]))[
            "flags"
        ].tolist():
            flags.update(bit for bit in (PENDING, POST, VOID, BALANCING, CLOSING, IMPORTED) if value & bit)
            flags[0] += not value & 0xFFF
    assert all(flags[bit] for bit in (0, PENDING, POST, VOID, BALANCING, CLOSING, IMPORTED)), flags
    assert len(tables.catalog) >= 4
    assert sum(segment.seal is not None for segment in tables.catalog) == len(tables.catalog) - 1
    assert tables.rows["expiries"]
    assert tables.rows["failed_ids"]
    assert tables.stored_checkpoint is not None


@pytest.mark.parametrize("seed", range(3, 6))
async def test_whatever_the_engine_writes_passes(database_url: str, clock: SettableClock, seed: int) -> None:
    await write_journal(database_url, clock, seed)
    with JournalSnapshot(database_url) as snapshot:
        assert check_journal(snapshot).finding is None


def test_an_empty_journal_passes(database_url: str) -> None:
    with JournalSnapshot(database_url) as snapshot:
        assert check_journal(snapshot) == Summary(0, 0, 0, 0, 0, 1, bytes(32), None)


def test_each_of_a_thousand_random_bit_flips_is_found(tables: TablesInMemory) -> None:
    flipper = Flipper(tables, Random(20261123))
    missed: list[Flip] = []
    kinds = Counter[str]()
    for _ in range(FLIPS):
        flip = flipper.flip()
        kinds[flip.table] += 1
        if check_journal(tables).finding is None:
            missed.append(flip)
        flip.undo()
    assert missed == []
    assert len(kinds) == 4 + len(tables.catalog) + 2
    assert check_journal(tables).finding is None


def test_each_bit_flip_in_a_history_mark_is_found(tables: TablesInMemory) -> None:
    random = Random(20261127)
    missed = []
    for _ in range(200):
        number = random.choice([segment.number for segment in tables.catalog if segment.seal])
        data = tables.marks[number]
        at, mask = random.randrange(len(data)), 1 << random.randrange(8)
        data[at] ^= mask
        finding = check_journal(tables).finding
        if finding is None or (finding.table, finding.key.split(",")[0]) != (
            "ledger_history_mark", f"number {number}"
        ):  # fmt: skip
            missed.append((number, at, mask, finding))
        data[at] ^= mask
    assert missed == []
    assert check_journal(tables).finding is None


SQL_TABLES = (
    "ledger_account",
    "ledger_expiry",
    "ledger_failed_id",
    "ledger_batch",
    "ledger_segment",
    "ledger_seal",
)
BITS = {"bigint": 63, "integer": 31, "smallint": 14}


def flips_in_sql(db: psycopg.Connection, random: Random) -> Generator[tuple[str, str, str]]:
    """Flip a bit of a value, yield where, and flip it back; a value that a constraint guards is left out."""
    tables = [
        *SQL_TABLES,
        *(r[0] for r in db.execute("SELECT 'ledger_transfer_' || number FROM ledger_segment")),
    ]
    for table in tables:
        db.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    while True:
        table = random.choice(tables)
        query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
        column, kind = random.choice(db.execute(query, (table,)).fetchall())
        chosen = db.execute(
            f"SELECT ctid::text, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY random() LIMIT 1"
        ).fetchone()
        if chosen is None:
            continue
        place, before = chosen
        if kind == "uuid":
            before = str(before)
            after = str(type(chosen[1])(int=chosen[1].int ^ 1 << random.randrange(128)))
        elif kind == "bytea":
            at = random.randrange(len(before))
            after = before[:at] + bytes([before[at] ^ 1 << random.randrange(8)]) + before[at + 1 :]
        else:
            after = before ^ 1 << random.randrange(BITS[kind])
        update = f"UPDATE {table} SET {column} = %s WHERE ctid = %s RETURNING ctid::text"
        try:
            [place] = db.execute(update, (after, place)).fetchone() or [""]
        except psycopg.errors.IntegrityError:
            continue
        yield table, column, f"{before} -> {after}"
        db.execute(update, (before, place))


async def test_bit_flips_in_the_tables_themselves_are_found(database_url: str, clock: SettableClock) -> None:
    await write_journal(database_url, clock, seed=8, steps=25)
    missed = []
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        flips = flips_in_sql(db, Random(5))
        for _ in range(SQL_FLIPS):
            where = next(flips)
            with JournalSnapshot(database_url) as snapshot:
                if check_journal(snapshot).finding is None:
                    missed.append(where)
        next(flips)
        flips.close()
    assert missed == []


@pytest.fixture
async def small(database_url: str, clock: SettableClock) -> str:
    """A journal of few rows that a test knows: timestamps 1 to 3 on its account a are T1, T2, T3."""
    engine = await LedgerEngine.start(database_url, clock)
    world = World(engine, clock)
    await world.open("a b c")
    await world.request("a -> b 5 | created")
    await world.request("a -> c 7 | created")
    await world.request("b -> a 2 pending | created")
    await engine.close()
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        db.execute("ALTER TABLE ledger_transfer_1 DISABLE TRIGGER USER")
    return database_url


@pytest.mark.parametrize(
    ("column", "change", "found", "expected"),
    [
        ("debit_debits_posted", "13", "13", "12"),
        ("credit_credits_posted", "6", "6", "7"),
        ("debit_previous", "credit_previous", "0", None),
        ("amount", "8", "8", None),
        ("code", "0", "0", "not 0"),
    ],
)
def test_the_finding_names_row_column_and_both_values(
    small: str, column: str, change: str, found: str, expected: str | None
) -> None:
    """The second of three transfers is changed."""
    with psycopg.connect(sync_url(small), autocommit=True) as db:
        times = [row[0] for row in db.execute("SELECT timestamp FROM ledger_transfer ORDER BY timestamp")]
        db.execute(f"UPDATE ledger_transfer_1 SET {column} = {change} WHERE timestamp = %s", (times[1],))
    with JournalSnapshot(small) as snapshot:
        finding = check_journal(snapshot).finding
    assert finding is not None
    assert (finding.table, finding.key) == ("ledger_transfer_1", f"timestamp {times[1]}")
    if column == "amount":
        # The row says 8 and its balances moved by 7: the balance is where the two meet.
        assert (finding.column, finding.found, finding.expected) == ("debit_debits_posted", "12", "13")
        return
    assert (finding.column, finding.found) == (column, found)
    assert finding.expected == (expected or str(times[0]))
    assert str(finding).startswith(f"ledger_transfer_1, timestamp {times[1]}: {column} is {found}, expected ")


def test_a_row_of_which_only_the_hash_tells_is_named_by_its_batch(small: str) -> None:
    with psycopg.connect(sync_url(small), autocommit=True) as db:
        db.execute("UPDATE ledger_transfer_1 SET user_data_64 = 1 WHERE amount = 7")
        [sequence] = db.execute(
            "SELECT sequence FROM ledger_batch WHERE transfer_first ="
            " (SELECT timestamp FROM ledger_transfer WHERE amount = 7)"
        ).fetchone() or [0]
    with JournalSnapshot(small) as snapshot:
        finding = check_journal(snapshot).finding
    assert finding is not None
    assert (finding.table, finding.key, finding.column) == ("ledger_batch", f"sequence {sequence}", "hash")


def test_a_head_that_was_noted_elsewhere_tells_of_batches_that_are_gone(tables: TablesInMemory) -> None:
    batches = rows_of(tables, "batches")
    noted = batches[-1][-32:]
    assert check_journal(tables, known_hash=noted).finding is None
    assert check_journal(tables, known_hash=batches[3][-32:]).finding is None
    finding = check_journal(tables, known_hash=bytes(32)).finding
    assert finding is not None
    assert finding.expected == "00" * 32


async def test_a_segment_that_was_taken_out_or_put_beside_is_found(
    database_url: str, clock: SettableClock
) -> None:
    await write_journal(database_url, clock, seed=8, steps=25)
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        db.execute("ALTER TABLE ledger_transfer_sealed DETACH PARTITION ledger_transfer_1")
        with JournalSnapshot(database_url) as snapshot:
            finding = check_journal(snapshot).finding
        assert finding is not None
        assert (finding.table, finding.key) == ("ledger_seal", "number 1")
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        [bound] = db.execute(
            "SELECT first_timestamp || ' ' || last_timestamp + 1 FROM ledger_seal WHERE number = 1"
        ).fetchone() or [""]
        first, last = bound.split()
        db.execute(
            "ALTER TABLE ledger_transfer_sealed ATTACH PARTITION ledger_transfer_1"
            f" FOR VALUES FROM ({first}) TO ({last})"
        )
        db.execute("CREATE TABLE ledger_transfer_99 (LIKE ledger_transfer_1)")
        db.execute("INSERT INTO ledger_transfer_99 SELECT * FROM ledger_transfer_1 LIMIT 1")
    with JournalSnapshot(database_url) as snapshot:
        finding = check_journal(snapshot).finding
    assert finding is not None
    assert finding.table == "ledger_transfer_99"


async def test_a_running_ledger_is_checked_up_to_where_it_was(
    database_url: str, clock: SettableClock
) -> None:
    engine = await LedgerEngine.start(database_url, clock, segment_rows=SEGMENT_ROWS)
    world = World(engine, clock)
    await world.open("a b")
    await world.request("a -> b 5 | created")
    with JournalSnapshot(database_url) as snapshot:
        before = engine.sequence
        for _ in range(3 * SEGMENT_ROWS):
            await world.request("a -> b 5 | created")
        await engine.wait_until_sealed()
        summary = check_journal(snapshot)
    await engine.close()
    assert summary.finding is None
    assert (summary.batches, summary.transfers) == (before, 1)


def test_rows_are_decoded_by_the_fast_way_as_by_the_strict_one(tables: TablesInMemory) -> None:
    random = Random(3)
    names = [name for name in tables.rows if name.startswith("transfers") and tables.rows[name]]
    refused = 0
    for _ in range(400):
        data = tables.rows[random.choice(names)].copy()
        for _ in range(random.choice([0, 1, 1, 3])):
            data[random.randrange(len(data))] = random.choice([0, 1, 8, 24, 255])
        if random.random() < 0.2:
            del data[random.randrange(len(data)) :]
        strict = outcome(TransferColumns.decode, bytes(data))
        assert outcome(decode_transfers, bytes(data)) == strict
        refused += isinstance(strict, int)
        assert isinstance(strict, int) or strict == data
    assert 50 < refused < 350


def outcome(decode: Callable[[bytes], TransferColumns], data: bytes) -> bytes | int:
    """The rows encoded again, or the index of the first that is not canonical."""
    try:
        return decode(data).encode()
    except MalformedRows as error:
        return error.index
