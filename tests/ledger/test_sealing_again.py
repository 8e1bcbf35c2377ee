"""A segment that is sealed already is not sealed again, whoever sealed it."""

from typing import Any

import psycopg
import pytest

from foundation.clock import SettableClock
from ledger import segments
from ledger.contract import Account, Transfer
from ledger.engine import LedgerEngine
from tests.ledger.invariants import check_journal

ROWS = 40


async def test_a_session_that_is_lost_right_after_a_segment_was_attached_does_not_end_the_engine(
    database_url: str, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = segments.attach
    lost: list[int] = []

    def attach_and_be_lost(connection: Any, number: int, *arguments: Any) -> None:
        attach(connection, number, *arguments)
        if not lost:
            lost.append(number)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(segments, "attach", attach_and_be_lost)
    engine = await LedgerEngine.start(database_url, clock, segment_rows=ROWS)
    try:
        await engine.create_accounts([Account(id=n, ledger=1, code=1) for n in (1, 2)])
        for first in range(100, 100 + 5 * ROWS, ROWS):
            await engine.create_transfers(
                [Transfer(first + n, 1, 2, 1, ledger=1, code=1) for n in range(ROWS)]
            )
            await engine.wait_until_sealed()
        assert lost == [1]
        [account] = await engine.lookup_accounts([1])
        assert account.debits_posted == 5 * ROWS
    finally:
        await engine.close()
    check_journal(database_url)
