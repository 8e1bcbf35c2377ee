"""Reads: an answer that was read while the lock was not ours is not given."""

from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from foundation.clock import SettableClock
from foundation.postgres import sync_url
from ledger import pipeline
from ledger.checks.snapshot import JournalSnapshot
from ledger.contract import Account, ChangeEventsFilter, Transfer
from ledger.engine import LedgerEngine
from ledger.interface import LedgerUnavailable, SegmentArchived
from ledger.parquet.archiving import archive_segment
from ledger.parquet.detaching import detach_segment
from ledger.queries.storage import ReadSession
from tests.ledger.test_segments import ROWS, A, B, fill

EVERYTHING = ChangeEventsFilter(limit=100)


async def filled(url: str, clock: SettableClock) -> LedgerEngine:
    engine = await LedgerEngine.start(url, clock, segment_rows=ROWS)
    await engine.create_accounts([Account(id=i, ledger=1, code=1) for i in (A, B)])
    await fill(engine, 5)
    await engine.wait_until_sealed()
    return engine


def end_writers(url: str) -> None:
    """End the sessions of the engine that hold the lock, as an operator could."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'nugpay-ledger' AND datname = current_database()"
        )


async def test_ids_that_are_looked_for_while_their_segment_is_detached_are_not_told_to_be_new(
    database_url: str, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An idle engine would look after its lock now and then, and take it back too soon.
    monkeypatch.setattr(pipeline, "CONFIRM_SECONDS", 10**6)
    engine = await filled(database_url, clock)
    try:
        with JournalSnapshot(database_url) as tables:
            manifest = archive_segment(tables, 1, tmp_path)
        first = manifest.first_timestamp

        async def ask(session: ReadSession) -> Sequence[Transfer]:
            # The list of detached segments, and then rows that are gone by then.
            assert await session.detached() == []
            end_writers(database_url)
            detach_segment(database_url, manifest, clock)
            rows = await session.transfers_at([first])
            assert len(rows) == 0
            return []

        with pytest.raises(LedgerUnavailable) as refused:
            await engine.read(ask)
        assert not refused.value.outcome_unknown
        # Asked again, the engine knows what is detached.
        newest = (await engine.newest()).view
        assert newest.first_timestamp > first
        with pytest.raises(SegmentArchived):
            await engine.get_change_events(EVERYTHING)
    finally:
        await engine.close()


async def test_reads_go_on_while_the_lock_is_ours(database_url: str, clock: SettableClock) -> None:
    engine = await filled(database_url, clock)
    try:
        assert await engine.lookup_transfers([10**30]) == []
        events = await engine.get_change_events(EVERYTHING)
        assert events
        found = await engine.lookup_transfers([events[0].transfer.id])
        assert [transfer.id for transfer in found] == [events[0].transfer.id]
    finally:
        await engine.close()
