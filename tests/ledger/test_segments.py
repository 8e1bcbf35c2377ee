"""Segments of the journal: opened when one is full, sealed behind, and seamless to everybody who asks."""

import asyncio
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger import pipeline, segments
from ledger.checkpoints import Checkpoint
from ledger.contract import (
    AMOUNT_MAX,
    Account,
    AccountFilter,
    CreateTransferResult,
    CreateTransferStatus,
    QueryFilter,
    Transfer,
    TransferFlags,
)
from ledger.engine import LedgerEngine
from ledger.interface import LedgerBusy
from ledger.segments import SEALED
from tests.ledger.invariants import check_journal
from tests.ledger.journaled_duel import compare_states, state_of

A, B, POOR = 1, 2, 3
ROWS = 20
"""Transfers in a segment of these tests."""
PENDING = int(TransferFlags.PENDING)
POST = int(TransferFlags.POST_PENDING_TRANSFER)
VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
BOTH_SIDES = 3


def transfers(*ids: int, **fields: int) -> list[Transfer]:
    given = {"debit_account_id": A, "credit_account_id": B, "amount": 1, "ledger": 1, "code": 1} | fields
    return [Transfer(id=number, **given) for number in ids]


async def start(url: str, clock: SettableClock) -> LedgerEngine:
    engine = await LedgerEngine.start(url, clock, segment_rows=ROWS)
    limited = Account(id=POOR, ledger=1, code=1, flags=2)
    await engine.create_accounts([Account(id=A, ledger=1, code=1), Account(id=B, ledger=1, code=1), limited])
    await engine.wait_until_sealed()
    return engine


async def create_singly(engine: LedgerEngine, events: list[Transfer]) -> list[CreateTransferResult]:
    """One request each."""
    return [result for event in events for result in await engine.create_transfers([event])]


async def fill(engine: LedgerEngine, count: int, first_id: int = 1000) -> list[CreateTransferResult]:
    """Single transfers until so many segments are full and sealed."""
    # A segment grows beyond its rows until the next one is prepared; which ids are in which is
    # certain only where that is waited for.
    await engine.wait_until_sealed()
    results = []
    for number in range(count):
        ids = range(first_id + number * ROWS, first_id + (number + 1) * ROWS)
        results += await create_singly(engine, transfers(*ids))
        await engine.wait_until_sealed()
    return results


def seals(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(sync_url(url)) as db:
        query = (
            "SELECT number, transfer_count, first_timestamp, last_timestamp FROM ledger_seal ORDER BY number"
        )
        return db.execute(query).fetchall()


def indexes(url: str, table: str) -> list[str]:
    with psycopg.connect(sync_url(url)) as db:
        query = "SELECT indexdef FROM pg_indexes WHERE tablename = %s ORDER BY indexname"
        return [row[0] for row in db.execute(query, (table,))]


async def test_an_id_is_for_ever_across_the_seams_and_a_restart(
    database_url: str, clock: SettableClock
) -> None:
    engine = await start(database_url, clock)
    created = await fill(engine, 3)
    [refused] = await engine.create_transfers(transfers(9, debit_account_id=POOR))
    assert refused.status is CreateTransferStatus.EXCEEDS_CREDITS
    await fill(engine, 2, first_id=2000)
    again = transfers(*range(1000, 1000 + 3 * ROWS))
    for _ in range(2):
        results = await engine.create_transfers(again)
        assert {r.status for r in results} == {CreateTransferStatus.EXISTS}
        assert [r.timestamp for r in results] == [r.timestamp for r in created]
        [other] = await engine.create_transfers(transfers(1000, amount=2))
        assert other.status is CreateTransferStatus.EXISTS_WITH_DIFFERENT_AMOUNT
        [failed] = await engine.create_transfers(transfers(9))
        assert failed.status is CreateTransferStatus.ID_ALREADY_FAILED
        await engine.close()
        engine = await start(database_url, clock)
    await engine.close()
    check_journal(database_url)


async def test_a_pending_transfer_is_posted_once_from_whatever_segment(
    database_url: str, clock: SettableClock
) -> None:
    engine = await start(database_url, clock)
    await engine.create_transfers(transfers(1, 2, 3, amount=5, flags=PENDING))
    await fill(engine, 2)
    post = Transfer(id=10, pending_id=1, amount=AMOUNT_MAX, flags=POST)
    [posted] = await engine.create_transfers([post])
    assert posted.status is CreateTransferStatus.CREATED
    for round_number in range(3):
        second = Transfer(id=20 + round_number, pending_id=1, amount=AMOUNT_MAX, flags=POST)
        [refused] = await engine.create_transfers([second])
        assert refused.status is CreateTransferStatus.PENDING_TRANSFER_ALREADY_POSTED
        [again] = await engine.create_transfers([post])
        assert (again.status, again.timestamp) == (CreateTransferStatus.EXISTS, posted.timestamp)
        # The post itself is sealed by the second round, and only read back in the third.
        await fill(engine, 1, first_id=5000 + round_number * ROWS)
        if round_number == 1:
            await engine.close()
            engine = await start(database_url, clock)
    await engine.create_transfers([Transfer(id=30, pending_id=2, flags=VOID)])
    [account] = await engine.lookup_accounts([A])
    assert (account.debits_pending, account.debits_posted) == (5, 5 + 5 * ROWS)
    await engine.close()
    check_journal(database_url)


async def test_a_history_and_a_query_run_through_all_segments_in_order(
    database_url: str, clock: SettableClock
) -> None:
    engine = await start(database_url, clock)
    await fill(engine, 3)
    [newest] = await engine.create_transfers(transfers(7))
    for flags, expected in (
        (BOTH_SIDES, [*range(1000, 1060), 7]),
        (BOTH_SIDES | 4, [7, *range(1059, 999, -1)]),
    ):
        asked = AccountFilter(account_id=A, limit=8189, flags=flags)
        assert [t.id for t in await engine.get_account_transfers(asked)] == expected
        some = AccountFilter(account_id=A, limit=33, flags=flags)
        assert [t.id for t in await engine.get_account_transfers(some)] == expected[:33]
    found = await engine.query_transfers(QueryFilter(limit=8189))
    assert [t.id for t in found] == [*range(1000, 1060), 7]
    assert found[-1].timestamp == newest.timestamp
    lines = await engine.get_statement(A, limit=61)
    assert [line.balance.debits_posted for line in lines] == list(range(61, 0, -1))
    looked_up = await engine.lookup_transfers([7, 1000, 1059, 4])
    assert [t.id for t in looked_up] == [7, 1000, 1059]
    await engine.close()


async def test_a_sealed_segment_has_its_indexes_its_range_and_its_place(
    database_url: str, clock: SettableClock
) -> None:
    engine = await start(database_url, clock)
    created = await fill(engine, 2)
    # The transfer that finds a segment full opens the next one.
    await engine.create_transfers(transfers(7))
    await engine.wait_until_sealed()
    assert seals(database_url) == [
        (1, ROWS, created[0].timestamp, created[ROWS - 1].timestamp),
        (2, ROWS, created[ROWS].timestamp, created[-1].timestamp),
    ]
    assert [len(indexes(database_url, f"ledger_transfer_{number}")) for number in (1, 2, 3, 4)] == [
        3,
        3,
        0,
        0,
    ]
    with psycopg.connect(sync_url(database_url)) as db:
        assert db.execute("SELECT count(*) FROM ledger_transfer").fetchone() == (2 * ROWS + 1,)
        query = f"EXPLAIN SELECT * FROM {SEALED} WHERE timestamp = {created[0].timestamp}"
        plan = str(db.execute(query).fetchall())
    assert "ledger_transfer_1" in plan
    assert "ledger_transfer_2" not in plan
    await engine.close()


@dataclass
class Cuts:
    """Lets so many statements of a sealing through; sessions break at every one after that."""

    allowed: int
    broken: bool = False

    def of(self, connection: Any) -> Any:
        """The session that breaks."""
        cuts = self

        class Session:
            def execute(self, *arguments: Any, **options: Any) -> Any:
                cuts.allowed -= 1
                if cuts.allowed < 0:
                    cuts.broken = True
                    raise psycopg.OperationalError("the session was cut")
                return connection.execute(*arguments, **options)

            def __getattr__(self, name: str) -> Any:
                return getattr(connection, name)

        return Session()


@pytest.mark.parametrize("allowed", range(18))
async def test_a_sealing_that_breaks_at_any_statement_is_taken_up_by_the_next_engine(
    database_url: str, clock: SettableClock, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    cuts, build, attach = Cuts(allowed), segments.build_indexes, segments.attach
    engine = await start(database_url, clock)
    await engine.wait_until_sealed()
    with monkeypatch.context() as broken:
        broken.setattr(segments, "build_indexes", lambda db, *rest: build(cuts.of(db), *rest))
        broken.setattr(segments, "attach", lambda db, *rest: attach(cuts.of(db), *rest))
        await create_singly(engine, transfers(*range(1000, 1000 + ROWS + 5)))
        async with asyncio.timeout(20):
            while not cuts.broken and not seals(database_url):
                await asyncio.sleep(0.02)
        await engine.close()
        before = state_of(engine)
    assert len(seals(database_url)) == (not cuts.broken)
    engine = await LedgerEngine.start(database_url, clock, segment_rows=ROWS)
    compare_states(state_of(engine), before)
    await engine.wait_until_sealed()
    assert [seal[0] for seal in seals(database_url)] == [1]
    results = await engine.create_transfers(transfers(*range(1000, 1000 + ROWS + 5)))
    assert {r.status for r in results} == {CreateTransferStatus.EXISTS}
    await engine.close()
    check_journal(database_url)


async def test_a_sealing_that_falls_behind_makes_callers_wait_and_loses_nothing(
    database_url: str, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SEALING_WAIT_SECONDS", 0.001)
    engine = await start(database_url, clock)
    await engine.wait_until_sealed()
    with psycopg.connect(sync_url(database_url)) as reader:
        # A long report on the view of all transfers: nothing can be attached meanwhile.
        reader.execute("SELECT count(*) FROM ledger_transfer")
        with pytest.raises(LedgerBusy):
            await create_singly(engine, transfers(*range(1000, 1000 + 20 * ROWS)))
        # Reads go on, and what was accepted is there.
        [account] = await engine.lookup_accounts([A])
        assert (pipeline.UNSEALED_MAX - 1) * ROWS <= account.debits_posted < 20 * ROWS
    await engine.wait_until_sealed()
    async with asyncio.timeout(20):
        while True:
            try:
                await engine.create_transfers(transfers(7))
                break
            except LedgerBusy:
                await asyncio.sleep(0.05)
    await engine.close()
    check_journal(database_url)


async def test_two_rows_with_one_id_across_a_seam_stop_the_engine(
    database_url: str, clock: SettableClock
) -> None:
    engine = await start(database_url, clock)
    await create_singly(engine, transfers(*range(1000, 1000 + ROWS - 1)))
    with psycopg.connect(sync_url(database_url)) as db:
        # Somebody with the owner's rights writes a copy of a row behind our back.
        db.execute(
            "INSERT INTO ledger_transfer_1 SELECT * FROM ledger_transfer_1 ORDER BY timestamp DESC LIMIT 1"
        )
    await create_singly(engine, transfers(1, 2, 3))
    async with asyncio.timeout(20):
        while engine.phase.value != "stopped":
            await asyncio.sleep(0.02)
    with pytest.raises(psycopg.errors.UniqueViolation):
        engine.check()
    await engine.close()


async def test_a_history_from_a_nanosecond_after_a_transfer_leaves_it_out(
    database_url: str, clock: SettableClock
) -> None:
    engine = await start(database_url, clock)
    created = await create_singly(engine, transfers(*range(1, 6)))
    for flags in (BOTH_SIDES, BOTH_SIDES | 4):
        after = AccountFilter(account_id=A, limit=10, flags=flags, timestamp_min=created[2].timestamp + 1)
        assert sorted(t.id for t in await engine.get_account_transfers(after)) == [4, 5]
    found = await engine.query_transfers(QueryFilter(limit=10, timestamp_min=created[2].timestamp + 1))
    assert [t.id for t in found] == [4, 5]
    await engine.close()


async def test_a_start_from_a_checkpoint_is_that_without_one(database_url: str, clock: SettableClock) -> None:
    engine = await start(database_url, clock)
    await engine.create_accounts([Account(id=50 + n, ledger=7, code=9, user_data_32=n) for n in range(5)])
    await engine.create_transfers(transfers(1, 2, amount=5, flags=PENDING))
    await fill(engine, 4)
    await engine.create_accounts([Account(id=90, ledger=7, code=9, user_data_64=3)])
    await engine.close()
    before = state_of(engine)
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        [(sequence, data)] = db.execute("SELECT sequence, data FROM ledger_checkpoint").fetchall()
        checkpoint = Checkpoint.decode(sequence, bytes(data))
        assert len(checkpoint.last_transfer) == 8
        checkpoint.identity = {}
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 4
        for kept in (data, checkpoint.encode(), None, bytes(flipped), data[:-9]):
            # As it is, as it was written before it held accounts, none at all, and spoiled.
            db.execute("DELETE FROM ledger_checkpoint")
            if kept is not None:
                db.execute("INSERT INTO ledger_checkpoint VALUES (%s, 0, %s)", (sequence, kept))
            engine = await LedgerEngine.start(database_url, clock, segment_rows=10**6)
            compare_states(state_of(engine), before)
            await engine.close()
