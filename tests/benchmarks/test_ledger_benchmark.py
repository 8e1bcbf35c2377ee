"""The ledger's benchmark measures every figure; what it measures is no matter of a test."""

import gc
from collections.abc import AsyncIterator

import pytest

from benchmarks.ledger import callers, engine_runs, many_accounts, measure, process_runs, row_lock
from benchmarks.ledger import tigerbeetle_runs as beside_tigerbeetle
from benchmarks.ledger.baselines import copy_rate, newest_timestamp
from benchmarks.ledger.bulk import packed, run_batches
from benchmarks.ledger.figures import Bench, figures
from benchmarks.ledger.sizes import FULL, QUICK, count
from benchmarks.ledger.workloads import Ids, hot, in_batches, pending_then_post, plain, uniform, zipf
from benchmarks.tigerbeetle import TigerBeetle
from ledger.contract import Transfer
from ledger.engine import LedgerEngine
from ledger.interface import LedgerBusy
from ops.bench import Options, Row
from ops.errors import OperationError
from tests.benchmarks.conftest import TINY

TARGETS = {
    "full": "≥ 0.7 × baseline",
    "many": "≥ 0.55 × baseline",
    "last": "≥ 0.7 × baseline",
    "hot": "≥ 0.9 × baseline",
    "linked": "≥ 0.35 × baseline",
    "pending": "≥ 0.35 × baseline",
    "refusal": "≥ 0.5 × baseline",
    "callers": "≥ 20,000",
    "callers p99": "≤ 15",
    "single": "≤ 3 × baseline",
    "process": "≥ 0.8 × baseline",
    "history": "≤ 5",
    "restart tail": "≤ 10",
    "restart": "≤ 3",
    "disk": "≤ 210",
    "account": "≤ 200",
    "memory": "≤ 2,500,000,000",
}
"""The figures to reach, as the design has them."""


async def measured(bench: Bench, rows: AsyncIterator[Row]) -> set[str]:
    """The keys of the figures that were given; each has a value, and each its baseline if it names one."""
    keys = {figure.name: key for key, figure in figures(bench.sizes).items()}
    found = [row async for row in rows]
    assert all(row.value > 0 or "dropped" in row.name for row in found)
    assert [row.name for row in found if "beside" in row.name and not row.baseline] == []
    return {keys[row.name] for row in found}


async def with_accounts(engine: LedgerEngine) -> LedgerEngine:
    await engine_runs.open_accounts(engine, TINY.few_accounts, TINY.batch)
    return engine


def test_every_figure_of_the_design_has_a_row_with_its_target() -> None:
    found = {key: str(figure.target) for key, figure in figures(FULL).items() if figure.target is not None}
    assert found == TARGETS


@pytest.mark.parametrize("sizes", [FULL, QUICK, TINY])
def test_no_two_figures_have_the_same_name(sizes: object) -> None:
    assert isinstance(sizes, type(TINY))
    names = [figure.name for figure in figures(sizes).values()]
    assert len(names) == len(set(names))


async def test_every_workload_is_measured_beside_its_baseline(
    bench: Bench, engine: LedgerEngine, database_url: str
) -> None:
    rows = engine_runs.measure(bench, await with_accounts(engine), database_url, Ids())
    assert await measured(bench, rows) == {
        "full", "indexed", "zipf 1", "zipf 2", "hot", "linked", "pending", "refusal", "batch 1", "batch 8",
    }  # fmt: skip


async def test_small_calls_are_measured_in_closed_and_open_loop(
    bench: Bench, engine: LedgerEngine, database_url: str
) -> None:
    await with_accounts(engine)
    await engine.create_transfers(callers.Calls(uniform(TINY.few_accounts), Ids(seed=9)).take(1))
    assert await measured(bench, callers.measure(bench, engine, database_url, Ids())) == {
        "callers", "callers p99", "single",
        "arrivals 200 p50", "arrivals 200 p99", "arrivals 200 dropped",
    }  # fmt: skip


async def test_row_lock_ledger_is_measured_uniform_and_hot(
    bench: Bench, engine: LedgerEngine, database_url: str
) -> None:
    rows = row_lock.measure(bench, await with_accounts(engine), database_url, Ids())
    assert await measured(bench, rows) == {"row lock", "row lock hot"}


async def test_a_real_process_takes_packed_batches(
    bench: Bench, engine: LedgerEngine, database_url: str
) -> None:
    await with_accounts(engine)
    await engine.close()
    before = gc.get_threshold()
    row = await process_runs.measure(bench, database_url, Ids())
    assert row.baseline is not None
    assert row.baseline > 0
    assert newest_timestamp(database_url) > 0
    # What a process that serves does to its collector is undone here.
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


async def test_the_large_journal_gives_its_figures(bench: Bench, database_url: str) -> None:
    assert await measured(bench, many_accounts.measure(bench, database_url)) == {
        "account", "memory", "last", "many", "many indexed", "history", "disk", "restart", "restart tail",
    }  # fmt: skip


async def test_tigerbeetle_gets_the_same_workloads(
    bench: Bench, engine: LedgerEngine, other_engine: LedgerEngine
) -> None:
    # Our own engine speaks like TigerBeetle's client, as far as the client is used.
    theirs, offset = TigerBeetle(other_engine), 7 << 64
    await with_accounts(engine)
    await beside_tigerbeetle._open_accounts(theirs, bench, offset)
    rows = beside_tigerbeetle.side_by_side(bench, engine, theirs, Ids(), offset)
    keys = await measured(bench, rows)
    assert keys == {key for key in figures(TINY) if key.startswith("tigerbeetle ")}
    ours, other = [
        await each.lookup_accounts([1 + shift]) for each, shift in ((engine, 0), (other_engine, offset))
    ]
    assert ours[0].debits_posted == other[0].debits_posted > 0


def test_all_groups_together_are_all_figures() -> None:
    every = set(figures(TINY))
    assert {key for key in every if not key.startswith("tigerbeetle ")} == {
        *TARGETS, "indexed", "many indexed", "zipf 1", "zipf 2", "batch 1", "batch 8",
        "row lock", "row lock hot", "arrivals 200 p50", "arrivals 200 p99", "arrivals 200 dropped",
    }  # fmt: skip


def test_only_what_was_asked_for_is_measured() -> None:
    reports: list[str] = []
    bench = Bench(TINY, Options(only="row-lock", report=reports.append))
    assert [row.name for row in measure(bench)] == [
        "16 callers, uniform, beside a row-lock SQL ledger",
        "16 callers, one hot account, beside a row-lock SQL ledger",
    ]
    assert not any("many accounts" in report for report in reports)


async def test_a_run_that_is_refused_more_than_expected_gives_no_figure(engine: LedgerEngine) -> None:
    batches = list(in_batches(lambda size: plain(uniform(5), Ids(), size), 10, 10))
    with pytest.raises(AssertionError, match="10 transfers were refused, not 0"):
        await run_batches([packed(engine)], batches)


async def test_a_run_knows_its_rate_over_a_part(engine: LedgerEngine) -> None:
    await with_accounts(engine)
    ids = Ids()
    batches = in_batches(lambda size: plain(uniform(TINY.few_accounts), ids, size), 500, 100)
    run = await run_batches([packed(engine)], batches)
    assert run.transfers == 500
    assert run.rate_between(0, 500) == pytest.approx(run.rate)
    assert run.rate_between(400, 500) > 0


async def test_calls_that_the_ledger_has_no_room_for_are_dropped_and_counted() -> None:
    class Full:
        async def create_transfers(self, _transfers: object) -> list[object]:
            raise LedgerBusy(1)

    calls = callers.Calls(uniform(9), Ids())
    found = await callers.open_loop(Full(), calls, rate=200, seconds=1)  # type: ignore[arg-type]  # it never answers
    assert (found.dropped, found.ms) == (200, [])


async def test_baseline_copies_the_rows_of_a_run_and_leaves_nothing(
    engine: LedgerEngine, database_url: str
) -> None:
    await with_accounts(engine)
    ids = Ids()
    make = lambda size: plain(uniform(TINY.few_accounts), ids, size)  # noqa: E731  # one line says it
    await run_batches([packed(engine)], in_batches(make, 250, 100))
    after = newest_timestamp(database_url)
    await run_batches([packed(engine)], in_batches(make, 250, 100))
    for unique_id in (False, True):
        assert copy_rate(database_url, batch=100, after=after, unique_id=unique_id) > 0
    with pytest.raises(AssertionError, match="needs the rows"):
        copy_rate(database_url, batch=100, after=newest_timestamp(database_url))


def test_ids_are_time_ordered_and_no_two_are_alike() -> None:
    ids = Ids()
    taken = [high << 64 | low for low, high in ids.take(5000).tolist()] + [ids.one()]
    assert len(set(taken)) == 5001
    times = [each >> 80 for each in taken]
    assert times == sorted(times)
    assert {each >> 76 & 0xF for each in taken} == {7}


def test_workloads_spread_as_they_say() -> None:
    debit, credit = zipf(1000, 2.0)(10_000)
    assert (debit != credit).all()
    assert 0.5 < (debit == 1).mean() < 0.7
    assert (hot(10)(100)[1] == 1).all()
    debit, credit = uniform(10)(1000)
    assert (debit != credit).all()
    assert set(debit.tolist()) == set(credit.tolist()) == set(range(1, 11))


def test_linked_pairs_and_posts_are_what_tigerbeetle_would_get() -> None:
    ids = Ids()
    reserve, post = (
        beside_tigerbeetle.shifted(each, 1 << 64) for each in pending_then_post(uniform(5), ids, 4, 2)
    )
    assert post[0] == Transfer(id=post[0].id, amount=2**128 - 1, pending_id=reserve[0].id, flags=4)
    assert reserve[0].debit_account_id > 1 << 64


async def test_a_tigerbeetle_that_is_not_there_is_an_error_of_operation() -> None:
    with pytest.raises(OperationError, match="TigerBeetle"):
        await TigerBeetle.connect("3999")


@pytest.mark.parametrize(("number", "text"), [(1_000_000, "1M"), (10_000, "10k"), (245_670, "245,670")])
def test_counts_are_short_where_they_are_round(number: int, text: str) -> None:
    assert count(number) == text
