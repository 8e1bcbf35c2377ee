"""Sealing goes on: after a session that was lost, and behind a segment far beyond its size."""

import asyncio
from typing import Any

import psycopg
import pytest

from foundation.clock import SettableClock
from ledger import segments
from ledger.contract import Account, Transfer
from ledger.engine import LedgerEngine
from ledger.interface import LedgerBusy
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


async def test_a_segment_that_is_far_beyond_its_size_does_not_keep_callers_out_for_ever(
    database_url: str, clock: SettableClock
) -> None:
    # As when the journal had grown in one table, before there were segments.
    engine = await LedgerEngine.start(database_url, clock)
    await engine.create_accounts([Account(id=n, ledger=1, code=1) for n in (1, 2)])
    grown = [Transfer(100 + n, 1, 2, 1, ledger=1, code=1) for n in range(10 * ROWS)]
    await engine.create_transfers(grown)
    await engine.close()
    engine = await LedgerEngine.start(database_url, clock, segment_rows=ROWS)
    try:
        async with asyncio.timeout(20):
            for number in range(1, 4):
                while True:
                    try:
                        await engine.create_transfers([Transfer(number, 1, 2, 1, ledger=1, code=1)])
                        break
                    except LedgerBusy:
                        await asyncio.sleep(0.05)
            await engine.wait_until_sealed()
    finally:
        await engine.close()
    check_journal(database_url)
