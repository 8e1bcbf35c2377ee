"""Marks of histories: what they hold, that they can be made again, and that a wrong one misleads nobody."""

from random import Random
from typing import Any

import numpy as np
import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.errors import InvariantViolation
from foundation.postgres import sync_url
from ledger.columns import TransferColumns
from ledger.contract import Account, AccountFilter, Transfer
from ledger.engine import LedgerEngine
from ledger.history_marks import MARK_STEPS, SLOTS_PER_PART, marks_of
from ledger.queries.questions import BalancesAsOf

BACKFILL = """
    SELECT slot / 1024, number, array_agg(slot ORDER BY slot, timestamp DESC),
           array_agg(timestamp ORDER BY slot, timestamp DESC)
    FROM (
        SELECT s.number, p.slot, p.timestamp,
               row_number() OVER (PARTITION BY s.number, p.slot ORDER BY p.timestamp DESC) - 1 AS after
        FROM ledger_seal s
        JOIN (
            SELECT debit_account AS slot, timestamp FROM ledger_transfer_sealed
            UNION ALL SELECT credit_account, timestamp FROM ledger_transfer_sealed
        ) p ON p.timestamp BETWEEN s.first_timestamp AND s.last_timestamp
    ) postings
    WHERE after % 64 = 0
    GROUP BY slot / 1024, number ORDER BY 1, 2
"""
"""What the migration gives to segments that were sealed before there were marks."""


def _columns(debits: list[int], credited: list[int]) -> TransferColumns:
    arrays: dict[str, Any] = {
        "timestamp": np.arange(1, len(debits) + 1) * 10,
        "debit_account": np.array(debits, np.int32),
        "credit_account": np.array(credited, np.int32),
    }
    return TransferColumns(len(debits), arrays)


@pytest.mark.parametrize("accounts", [2, 5, 3000])
def test_marks_are_each_accounts_newest_transfer_and_every_64th_before_it(accounts: int) -> None:
    random = Random(accounts)
    pairs = [random.sample(range(accounts), 2) for _ in range(900)]
    columns = _columns([d for d, _ in pairs], [c for _, c in pairs])
    found: dict[int, list[int]] = {}
    for marks in marks_of(columns):
        assert set((marks.slots // SLOTS_PER_PART).tolist()) == {marks.part}
        for slot, timestamp in zip(marks.slots.tolist(), marks.timestamps.tolist(), strict=True):
            found.setdefault(slot, []).append(timestamp)
    wanted: dict[int, list[int]] = {}
    for row, pair in enumerate(pairs):
        for slot in pair:
            wanted.setdefault(slot, []).insert(0, (row + 1) * 10)
    assert found == {slot: times[::MARK_STEPS] for slot, times in wanted.items()}
    assert list(marks_of(_columns([], []))) == []


@pytest.fixture
async def busy(database_url: str, clock: SettableClock):
    """An account with hundreds of transfers in segments of 150, beside idle ones."""
    engine = await LedgerEngine.start(database_url, clock, segment_rows=150)
    await engine.create_accounts([Account(id=i, ledger=1, code=1) for i in range(1, 8)])
    random = Random(1)
    for start in range(0, 900, 75):
        clock.advance(seconds=1)
        events = [
            Transfer(1000 + n, 1, random.randrange(2, 7), 1, ledger=1, code=1)
            if random.random() < 0.9
            else Transfer(1000 + n, 3, 4, 1, ledger=1, code=1)
            for n in range(start, start + 75)
        ]
        await engine.create_transfers(events)
        await engine.wait_until_sealed()
    yield engine
    await engine.close()


async def test_marks_of_the_sealing_are_those_of_the_migration(busy: LedgerEngine, database_url: str) -> None:
    with psycopg.connect(sync_url(database_url)) as db:
        stored = db.execute(
            "SELECT part, number, slots, timestamps FROM ledger_history_mark ORDER BY part, number"
        ).fetchall()
        assert stored == db.execute(BACKFILL).fetchall()
    assert len(stored) >= 4
    assert any(slots.count(0) > 2 for _, _, slots, _ in stored)


async def test_the_past_of_a_busy_account_is_what_its_transfers_say(busy: LedgerEngine) -> None:
    everything = AccountFilter(1)
    transfers = await busy.get_account_transfers(everything)
    assert len(transfers) > 10 * MARK_STEPS
    for count in range(0, len(transfers), 29):
        timestamp = transfers[count].timestamp
        page = await busy.get_balances_as_of(BalancesAsOf(timestamp, (1, 7)))
        assert [a.debits_posted for a in page.accounts] == [count + 1, 0]
        asked = AccountFilter(1, timestamp_max=timestamp, limit=3, flags=7)
        assert await busy.get_account_transfers(asked) == transfers[max(count - 2, 0) : count + 1][::-1]
        asked = AccountFilter(1, timestamp_min=timestamp, limit=3)
        assert await busy.get_account_transfers(asked) == transfers[count : count + 3]


async def test_an_account_that_is_asked_for_twice_stands_as_it_does_once(busy: LedgerEngine) -> None:
    [now] = await busy.lookup_accounts([1])
    page = await busy.get_balances_as_of(BalancesAsOf(account_ids=(1, 7, 1)))
    assert [a.debits_posted for a in page.accounts] == [now.debits_posted, 0, now.debits_posted]


async def test_a_mark_that_leads_astray_stops_the_reader(busy: LedgerEngine, database_url: str) -> None:
    transfers = await busy.get_account_transfers(AccountFilter(1))
    others = await busy.get_account_transfers(AccountFilter(3, limit=40))
    stranger = next(t.timestamp for t in others if 1 not in (t.debit_account_id, t.credit_account_id))
    with psycopg.connect(sync_url(database_url), autocommit=True) as db:
        db.execute(
            "UPDATE ledger_history_mark SET timestamps ="
            " (SELECT array_agg(CASE WHEN s = 0 THEN %s ELSE t END) FROM unnest(slots, timestamps) m(s, t))",
            (stranger,),
        )
    with pytest.raises(InvariantViolation):
        await busy.get_account_transfers(AccountFilter(1, limit=5))
    assert len(transfers) > 5
