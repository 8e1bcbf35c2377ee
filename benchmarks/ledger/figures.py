"""The figures: every row that the ledger's benchmark can give, with what it is to reach.

``B0`` is a binary COPY of the same rows, in batches of the same size, into the same
table shape without any index: the limit of a ledger on PostgreSQL. ``B1`` is the
same with a unique index on the id. Both are measured in the same run, next to the
figure that they are a baseline of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.ledger.sizes import Sizes, count
from ops.bench import Better, Options, Row, Target

RATE = "transfers/s"

BYTES_MAX = {"disk": 210, "account": 200, "process": 2_500_000_000}
"""What a transfer may take on disk; an account, and the whole process, in memory."""


@dataclass(frozen=True)
class Figure:
    """A row before it is measured."""

    key: str
    """What the code calls it."""
    name: str
    """What the table calls it."""
    unit: str
    target: Target | None = None


def _of_baseline(bound: float) -> Target:
    return Target(bound, of_ratio=True)


def _at_most(bound: float, *, of_ratio: bool = False) -> Target:
    return Target(bound, Better.LOWER, of_ratio=of_ratio)


def figures(sizes: Sizes) -> dict[str, Figure]:
    """Every figure at these sizes, by key, in the order of the table."""
    return {figure.key: figure for figure in (*_few(sizes), *_callers(sizes), *_sql(sizes), *_many(sizes))}


def _few(sizes: Sizes) -> Iterator[Figure]:
    """Full batches over a few accounts."""
    accounts = f"{count(sizes.few_accounts)} accounts"
    full = f"full batches, {accounts}, {count(sizes.transfers)} transfers"
    yield Figure("full", f"{full}, beside B0", RATE, _of_baseline(0.7))
    yield Figure("indexed", f"{full}, beside B1", RATE)
    yield Figure("zipf 1", "Zipf 1.0, beside uniform", RATE)
    yield Figure("zipf 2", "Zipf 2.0, beside uniform", RATE)
    yield Figure("hot", "one hot account, beside uniform", RATE, _of_baseline(0.9))
    yield Figure("linked", "linked pairs, beside B0", RATE, _of_baseline(0.35))
    yield Figure("pending", "pending then post, beside B0", RATE, _of_baseline(0.35))
    yield Figure("refusal", "one refusal in every batch, beside none", RATE, _of_baseline(0.5))
    for size in sizes.small_batches:
        yield Figure(f"batch {size}", f"batches of {size:,}, beside B0", RATE)
    yield Figure("process", "through the ledger process, beside in process", RATE, _of_baseline(0.8))


def _callers(sizes: Sizes) -> Iterator[Figure]:
    """Small calls."""
    callers = f"{sizes.callers} concurrent callers"
    yield Figure("callers", f"{callers}, beside bare INSERT", RATE, Target(20_000))
    yield Figure("callers p99", f"{callers}, p99", "ms", _at_most(15))
    yield Figure("single", "one caller, p50, beside bare INSERT", "ms", _at_most(3, of_ratio=True))
    for rate in sizes.arrival_rates:
        arriving = f"open loop at {rate:,}/s"
        yield Figure(f"arrivals {rate} p50", f"{arriving}, p50", "ms")
        yield Figure(f"arrivals {rate} p99", f"{arriving}, p99", "ms")
        yield Figure(f"arrivals {rate} dropped", f"{arriving}, dropped", "calls")


def _sql(sizes: Sizes) -> Iterator[Figure]:
    """Others."""
    yield Figure("row lock", "16 callers, uniform, beside a row-lock SQL ledger", RATE)
    yield Figure("row lock hot", "16 callers, one hot account, beside a row-lock SQL ledger", RATE)
    for key in TIGERBEETLE_KEYS:
        yield Figure(f"tigerbeetle {key}", f"{_TIGERBEETLE_NAMES[key]}, beside TigerBeetle", RATE)
    for size in sizes.small_batches:
        yield Figure(f"tigerbeetle batch {size}", f"batches of {size:,}, beside TigerBeetle", RATE)
    yield Figure("tigerbeetle callers p99", "concurrent callers, p99, beside TigerBeetle", "ms")
    yield Figure("tigerbeetle single", "one caller, p50, beside TigerBeetle", "ms")


_TIGERBEETLE_NAMES = {
    "full": "full batches",
    "zipf 1": "Zipf 1.0",
    "zipf 2": "Zipf 2.0",
    "hot": "one hot account",
    "linked": "linked pairs",
    "pending": "pending then post",
    "callers": "concurrent callers",
}
TIGERBEETLE_KEYS = tuple(_TIGERBEETLE_NAMES)
"""Figures that are measured beside a TigerBeetle, where one runs."""


def _many(sizes: Sizes) -> Iterator[Figure]:
    """The large journal."""
    accounts = count(sizes.many_accounts)
    journal = count(sizes.many_transfers)
    part = count(sizes.slice_transfers)
    sealed = f"{accounts} accounts with limits, {journal} transfers, sealed"
    yield Figure("many", f"{sealed}, beside B0", RATE, _of_baseline(0.55))
    yield Figure("many indexed", f"{sealed}, beside B1", RATE)
    yield Figure(
        "last", f"the last {part} transfers of these, beside the first {part}", RATE, _of_baseline(0.7)
    )
    yield Figure(
        "history", f"newest 50 transfers of any account, {journal} in the journal, p99", "ms", _at_most(5)
    )
    yield Figure("restart tail", f"restart with a tail of {count(sizes.tail_transfers)}", "s", _at_most(10))
    yield Figure("restart", "restart from a checkpoint", "s", _at_most(3))
    yield Figure(
        "disk", "disk, a sealed transfer with its indexes", "bytes/transfer", _at_most(BYTES_MAX["disk"])
    )
    yield Figure("account", "memory, an account", "bytes/account", _at_most(BYTES_MAX["account"]))
    yield Figure(
        "memory",
        f"memory of the process, {accounts} accounts, {journal} transfers",
        "bytes",
        _at_most(BYTES_MAX["process"]),
    )


class Bench:
    """One run: its sizes, its options, and the rows that it may give."""

    def __init__(self, sizes: Sizes, options: Options) -> None:
        self.sizes = sizes
        self.options = options
        self._figures = figures(sizes)

    def wants(self, *keys: str) -> bool:
        """Whether any of these figures was asked for."""
        return any(self.options.wants(self._figures[key].name) for key in keys)

    def row(self, key: str, value: float, baseline: float | None = None) -> Row:
        """A figure that is measured."""
        figure = self._figures[key]
        return Row(figure.name, value, figure.unit, baseline, figure.target)

    def report(self, progress: str) -> None:
        """Say what is going on."""
        self.options.report(progress)
