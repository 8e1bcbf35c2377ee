"""Ids of a detached segment that many callers send again at once."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from foundation.clock import SettableClock
from ledger.contract import CreateTransferStatus
from ledger.parquet.segment_finder import ParquetFinder
from tests.ledger.test_detached import check, detached, journal, serving
from tests.ledger.test_segments import transfers

__all__ = ["detached", "journal"]


async def test_many_requests_that_name_archived_ids_share_their_look_ups(
    detached: str, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    find = ParquetFinder.find

    def counted(self: ParquetFinder, segment: Any, column: str, values: Collection[int]) -> Any:
        asked.append(len(values))
        return find(self, segment, column, values)

    monkeypatch.setattr(ParquetFinder, "find", counted)
    async with serving(detached, clock, tmp_path) as engine:
        known = [i for i in range(1000, 1030) if i < 1016 + 20]
        sent = [engine.create_transfers(transfers(i)) for i in known]
        outcomes = await asyncio.gather(*sent)
        assert {result.status for [result] in outcomes} == {CreateTransferStatus.EXISTS}
    # A few groups, each with a look-up before and one in the decision, in two segments.
    assert len(asked) < len(known)
    assert check(detached, tmp_path).finding is None
