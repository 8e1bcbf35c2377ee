"""Pending transfers of a detached segment that expire: told from the file, or refused."""

from pathlib import Path

import pytest

from foundation.clock import SettableClock
from ledger.contract import Account, AccountFilter, ChangeEventsFilter, ChangeEventType, Transfer
from ledger.interface import SegmentArchived
from ledger.queries.questions import ChangesAfter, PeriodStatement
from tests.ledger.test_detached import PENDING, check, detach, serving
from tests.ledger.test_segments import A, B, fill, transfers

EXPIRES = 42
"""The id of a pending transfer in the first segment, which expires when that is detached."""


@pytest.fixture
async def since(database_url: str, clock: SettableClock, tmp_path: Path) -> int:
    """The time after which the pending transfer has expired; its segment is in the file alone."""
    async with serving(database_url, clock) as engine:
        await engine.create_accounts([Account(id=i, ledger=1, code=1) for i in (A, B)])
        await engine.create_transfers(transfers(EXPIRES, amount=5, flags=PENDING, timeout=1000))
        await fill(engine, 4)
    detach(database_url, 1, tmp_path, clock, drop=True)
    clock.advance(seconds=2000)
    since: int = clock.now_ns() - 1000
    return since


async def test_who_follows_the_changes_is_told_of_an_expiry_whose_pending_transfer_is_archived(
    database_url: str, clock: SettableClock, tmp_path: Path, since: int
) -> None:
    expected = [
        (ChangeEventType.TWO_PHASE_EXPIRED, EXPIRES, 5),
        (ChangeEventType.SINGLE_PHASE, 9000, 1),
    ]

    def told(events: object) -> list[tuple[ChangeEventType, int, int]]:
        return [(e.type, e.transfer.id, e.transfer.amount) for e in events]  # type: ignore[attr-defined]  # events or entries

    async with serving(database_url, clock, tmp_path) as engine:
        await engine.create_transfers(transfers(9000))
        events = await engine.get_change_events(ChangeEventsFilter(timestamp_min=since, limit=10))
        assert told(events) == expected
        expired: Transfer = (await engine.lookup_transfers([EXPIRES]))[0]
        assert events[0].transfer == expired
        page = await engine.get_changes(ChangesAfter(timestamp_min=since, limit=10))
        assert told(page.events) == expected
        statement = await engine.get_period_statement(
            PeriodStatement(account_id=A, timestamp_min=since, limit=10)
        )
        assert told(statement.entries) == expected
    assert check(database_url, tmp_path).finding is None


async def test_without_the_file_the_changes_are_refused_and_none_is_passed_over(
    database_url: str, clock: SettableClock, since: int
) -> None:
    async with serving(database_url, clock) as engine:
        await engine.create_transfers(transfers(9000))
        for read in (
            engine.get_change_events(ChangeEventsFilter(timestamp_min=since, limit=10)),
            engine.get_changes(ChangesAfter(timestamp_min=since, limit=10)),
        ):
            with pytest.raises(SegmentArchived, match="Segment 1 is archived"):
                await read
        newest = AccountFilter(account_id=A, limit=1, flags=7)
        assert [t.id for t in await engine.get_account_transfers(newest)] == [9000]
