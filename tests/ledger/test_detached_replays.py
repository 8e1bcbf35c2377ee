"""Look-ups of ids that detached segments may have: few, and no more is read than they need."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from foundation.clock import SettableClock
from ledger.archived import DetachedFilter
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
        # A few groups, each with a look-up in two segments.
        assert len(asked) < len(known)
        # One large request is decided in many stretches, each of which asks for its own ids.
        asked.clear()
        again = transfers(*known, *range(9001, 9071))
        assert len(await engine.create_transfers(again)) == 100
        assert asked == []
    assert check(detached, tmp_path).finding is None


async def test_an_id_outside_a_segments_range_needs_no_more_of_its_filter_than_the_header(
    detached: str, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []
    load = DetachedFilter.load

    def counted(self: DetachedFilter, pieces: Collection[bytes]) -> None:
        loaded.append(len(pieces))
        load(self, pieces)

    monkeypatch.setattr(DetachedFilter, "load", counted)
    async with serving(detached, clock, tmp_path) as engine:
        later = 1 << 64
        assert await engine.lookup_transfers([later, later + 7]) == []
        assert loaded == []
        assert [t.id for t in await engine.lookup_transfers([later, 1000, 1016])] == [1000, 1016]
        assert loaded == [1, 1]
        assert [t.id for t in await engine.lookup_transfers([424242, 1001])] == [1001]
        assert loaded == [1, 1]
