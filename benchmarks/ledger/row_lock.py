"""A classic row-lock SQL ledger: what most teams write first, written well.

Accounts with a balance, transfers, and two entries a transfer, with the usual
indexes. One database transaction a transfer, which locks both accounts in order of
their ids with ``SELECT … FOR UPDATE``, checks the balance, and writes. All of it is
one function in the server, so that a transfer costs one round trip: as fast as this
design gets.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from uuid import UUID

import psycopg

from benchmarks.ledger.callers import Calls, Creates, closed_loop
from benchmarks.ledger.figures import Bench
from benchmarks.ledger.workloads import FUNDS, Ids, Picker, hot, uniform
from foundation.postgres import sync_url
from ops.bench import Row

CONNECTIONS = 16
"""Sessions that work at the same time."""

_SCHEMA = """
CREATE SCHEMA row_lock;
CREATE TABLE row_lock.account (id bigint PRIMARY KEY, balance bigint NOT NULL, version bigint NOT NULL);
CREATE TABLE row_lock.transfer (
    id uuid PRIMARY KEY,
    debit_account bigint NOT NULL REFERENCES row_lock.account,
    credit_account bigint NOT NULL REFERENCES row_lock.account,
    amount bigint NOT NULL CHECK (amount > 0)
);
CREATE TABLE row_lock.entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer uuid NOT NULL REFERENCES row_lock.transfer,
    account bigint NOT NULL REFERENCES row_lock.account,
    amount bigint NOT NULL,
    balance bigint NOT NULL,
    version bigint NOT NULL
);
CREATE INDEX ON row_lock.entry (account, id);
CREATE INDEX ON row_lock.entry (transfer);
CREATE FUNCTION row_lock.transfer(new uuid, debit bigint, credit bigint, moved bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    payer row_lock.account;
    payee row_lock.account;
BEGIN
    PERFORM 1 FROM row_lock.account WHERE id IN (debit, credit) ORDER BY id FOR UPDATE;
    UPDATE row_lock.account SET balance = balance - moved, version = version + 1
        WHERE id = debit RETURNING * INTO payer;
    IF payer.balance < 0 THEN RAISE EXCEPTION 'insufficient funds'; END IF;
    UPDATE row_lock.account SET balance = balance + moved, version = version + 1
        WHERE id = credit RETURNING * INTO payee;
    INSERT INTO row_lock.transfer VALUES (new, debit, credit, moved);
    INSERT INTO row_lock.entry (transfer, account, amount, balance, version) VALUES
        (new, debit, -moved, payer.balance, payer.version),
        (new, credit, moved, payee.balance, payee.version);
END $$;
"""


def create(url: str, accounts: int) -> None:
    """Make the tables, and accounts with funds."""
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        db.execute(_SCHEMA)
        db.execute(
            "INSERT INTO row_lock.account SELECT n, %s, 0 FROM generate_series(1, %s) n", (FUNDS, accounts)
        )
        db.execute("ANALYZE row_lock.account")


def rate(url: str, pick: Picker, ids: Ids, transfers: int) -> float:
    """Transfers a second over sixteen connections; checks that no money came or went."""
    debit, credit = pick(transfers)
    jobs = [(UUID(int=ids.one()), d, c) for d, c in zip(debit.tolist(), credit.tolist(), strict=True)]
    turn = count()
    ready = threading.Barrier(CONNECTIONS + 1)

    def work() -> None:
        with psycopg.connect(sync_url(url), autocommit=True) as db:
            ready.wait()
            while (at := next(turn)) < len(jobs):
                db.execute("SELECT row_lock.transfer(%s, %s, %s, 1)", jobs[at], prepare=True)

    before = _total(url)
    with ThreadPoolExecutor(CONNECTIONS) as workers:
        working = [workers.submit(work) for _ in range(CONNECTIONS)]
        ready.wait()
        began = time.perf_counter()
        for each in working:
            each.result()
        seconds = time.perf_counter() - began
    assert _total(url) == before
    return transfers / seconds


async def measure(bench: Bench, engine: Creates, url: str, ids: Ids) -> AsyncIterator[Row]:
    """Callers of one transfer each, as many as the connections: ours beside the row-lock ledger."""
    accounts, transfers = bench.sizes.few_accounts, bench.sizes.row_lock_transfers
    await asyncio.to_thread(create, url, accounts)
    for key, picker in (("row lock", uniform), ("row lock hot", hot)):
        if bench.wants(key):
            bench.report(f"{key}: {transfers:,} transfers")
            theirs = await asyncio.to_thread(rate, url, picker(accounts, seed=6), ids, transfers)
            calls = Calls(picker(accounts, seed=6), ids)
            ours = await closed_loop(engine, calls, callers=CONNECTIONS, each=transfers // CONNECTIONS)
            yield bench.row(key, ours.rate, theirs)


def _total(url: str) -> int:
    with psycopg.connect(sync_url(url), autocommit=True) as db:
        row = db.execute("SELECT sum(balance) FROM row_lock.account").fetchone()
        assert row is not None
        return int(row[0])
