"""The API: signed payments and reads over HTTP, end to end, beside a bare echo of FastAPI.

Database, ledger process, API processes and the load generator share the machine's cores;
requests are signed before a run, and each is verified, decided and durably committed.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Iterable, Iterator

import msgspec
import uvloop

from benchmarks.api import customers
from benchmarks.api.load import Answers
from benchmarks.api.servers import HOST, api_server, echo_server
from benchmarks.api.sizes import FULL, QUICK, Sizes
from benchmarks.laboratory import fresh_database
from benchmarks.ledger.process_runs import ledger_process
from ops.bench import Benchmark, Better, Options, Row, Target


def api(options: Options) -> Iterator[Row]:
    """Signed payments over HTTP, and reads of balances, beside a bare echo."""
    yield from measure(QUICK if options.quick else FULL, options)


def measure(sizes: Sizes, options: Options) -> Iterator[Row]:
    """Everything that was asked for, at these sizes."""
    for workers in sizes.workers:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, fresh_database() as url:
            rows = _measured(sizes, workers, options, url)
            while (row := runner.run(anext(rows, None))) is not None:
                named = msgspec.structs.replace(row, name=f"{_processes(workers)}: {row.name}")
                if options.wants(named.name):
                    yield named


def _processes(workers: int) -> str:
    return "one process" if workers == 1 else f"{workers} processes"


async def _measured(sizes: Sizes, workers: int, options: Options, url: str) -> AsyncIterator[Row]:
    # The targets are of the API as it is started; what more processes do is told beside it.
    is_own = workers == sizes.workers[0]
    options.report(f"the echo, {_processes(workers)}")
    async with echo_server(workers) as port:
        base = f"http://{HOST}:{port}"
        echo = {
            connections: await load(port, connections, 0, customers.echoes(base, sizes.requests))
            for connections in sizes.connections
        }
    async with ledger_process(url) as ledger:
        options.report(f"enrolling {sizes.customers:,} customers")
        everybody = await customers.enrolled(url, ledger.address, sizes.customers + sizes.readers)
        people, readers = everybody[: sizes.customers], everybody[sizes.customers :]
        async with api_server(url, ledger.address, workers) as port:
            base = f"http://{HOST}:{port}"
            # Each process has met nearly each customer: keys, handles and room under limits are found.
            await load(port, 64, 0, customers.payments(people, base, 8 * sizes.customers))
            for connections in sizes.connections:
                options.report(f"payments over {connections} connections")
                answers = await load(port, connections, 0, customers.payments(people, base, sizes.requests))
                targets = is_own and connections == 64
                for row in _payment_rows(connections, answers, echo[connections], targets=targets):
                    yield row
            first = sizes.connections[0]
            options.report("balances")
            tokens = await customers.tokens(readers, base)
            for name, asked, target in (
                ("with a session", customers.token_balances(tokens, base, sizes.requests), 0.5),
                ("signed, each nonce kept", customers.balances(people, base, sizes.requests), None),
            ):
                answers = await load(port, first, 0, asked)
                yield Row(
                    f"reads of a wallet's balances, {first} connections, {name}",
                    _rate(answers, 200),
                    "requests/s",
                    _rate(echo[first], 200),
                    Target(target, of_ratio=True) if is_own and target is not None else None,
                )
            for rate in sizes.arrival_rates:
                options.report(f"payments arriving at {rate:,}/s")
                asked = customers.payments(people, base, min(sizes.requests, rate * 5))
                answers = await load(port, first, rate, asked)
                _rate(answers, 201)
                yield Row(f"payments arriving at {rate:,}/s, p50", _p50(answers), "ms")
                yield Row(f"payments arriving at {rate:,}/s, p99", _p99(answers), "ms")


def _payment_rows(connections: int, answers: Answers, echo: Answers, *, targets: bool) -> Iterator[Row]:
    name = f"signed payments, {connections} connections"
    yield Row(name, _rate(answers, 201), "payments/s", target=Target(3_000) if targets else None)
    yield Row(
        f"{name}, beside a bare echo",
        _rate(answers, 201),
        "payments/s",
        _rate(echo, 200),
        Target(0.35, of_ratio=True) if targets else None,
    )
    yield Row(f"{name}, p50", _p50(answers), "ms")
    yield Row(f"{name}, p99", _p99(answers), "ms", target=Target(60, Better.LOWER) if targets else None)


async def load(port: int, connections: int, rate: float, requests: Iterable[bytes]) -> Answers:
    """Have the load generator, which is a process of its own, send requests."""
    pipe = asyncio.subprocess.PIPE
    program = (
        sys.executable,
        "-P",
        "-m",
        "benchmarks.api",
        HOST,
        str(port),
        str(connections),
        str(rate),
    )
    generator = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
    told, _ = await generator.communicate(msgspec.msgpack.encode(list(requests)))
    if generator.returncode != 0:
        raise RuntimeError("the load generator did not get its answers")
    return msgspec.msgpack.decode(told, type=Answers)


def _rate(answers: Answers, status: int) -> float:
    """Answers a second, every one of which must have been a success."""
    if answers.statuses.keys() != {status}:
        raise RuntimeError(f"not every answer was {status}: {answers.statuses}; {answers.sample[-600:]!r}")
    return len(answers.milliseconds) / answers.seconds


def _p50(answers: Answers) -> float:
    return statistics.median(answers.milliseconds)


def _p99(answers: Answers) -> float:
    return statistics.quantiles(answers.milliseconds, n=100)[98]


BENCHMARKS: dict[str, Benchmark] = {"api": api}
"""The benchmarks of this module."""
