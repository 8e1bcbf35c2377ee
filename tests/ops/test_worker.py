"""The worker: tasks one at a time, a schedule that survives kill -9, a broker that may forget."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from foundation.assets import USDT
from foundation.clock import SystemClock
from foundation.database import Database
from foundation.ids import uuid7
from foundation.money import Money
from ledger.chart import AccountCode, new_account, open_accounts, open_system_accounts, wallet_account_id
from ledger.client import LedgerClient
from ledger.interface import LedgerUnavailable
from ops.task_locks import task_lock
from ops.task_runner import TaskRunner
from ops.worker import DRAIN_OUTBOX, FORGET_NONCES, OWN_MEMORY, SCHEDULE_SECONDS, make_app
from tests.fixtures.anvil import ROOT, die_with_parent
from tests.fixtures.contracts import ContractsOnChain, end_process, start_signer_process
from tests.wallets.bulk import business
from tests.wallets.conftest import Bank as WalletBank
from treasury.custody import custody_of
from treasury.deposit_addresses import deposit_address
from treasury.reconciliation import last_reconciliations
from treasury.tasks import TREASURY_TASKS
from treasury.withdrawals import WithdrawalState, request_withdrawal, withdrawal_by_id
from wallets.bulk_payments import BulkState
from wallets.limits import Limits
from wallets.tasks import ADVANCE_BULK_PAYMENTS, ADVANCE_STANDING_ORDERS, ADVANCE_WEBHOOKS
from wallets.wallets import WalletDirectory

WAIT_SECONDS_MAX = 90
"""How long a busy machine may take for what takes a second."""

OUTSIDE = "0x00000000000000000000000000000000000c0ffe"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


class TestTaskLock:
    async def test_second_holder_is_turned_away_until_the_first_has_ended(self, database: Database) -> None:
        async with (
            task_lock(database, "one") as first,
            task_lock(database, "one") as second,
            task_lock(database, "two") as other,
        ):
            assert (first, second, other) == (True, False, True)
        async with task_lock(database, "one") as again:
            assert again

    async def test_lock_goes_with_the_connection_of_a_process_that_died(self, database: Database) -> None:
        async with database.connection() as witness:
            pid = None
            with contextlib.suppress(Exception):
                async with task_lock(database, "one") as taken:
                    assert taken
                    pid = (
                        await witness.exec_driver_sql(
                            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = "
                            "(SELECT oid FROM pg_database WHERE datname = current_database())"
                        )
                    ).scalar_one()
                    await witness.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
            assert pid is not None
            async with task_lock(database, "one") as again:
                assert again


class TestTaskRunner:
    @pytest.fixture
    def runner(self, database_url: str) -> Iterator[TaskRunner[Database]]:
        @asynccontextmanager
        async def connected() -> AsyncIterator[Database]:
            database = Database(database_url)
            yield database
            await database.close()

        runner = TaskRunner(connected, lambda database: database, task_seconds_max=5)
        runner.start()
        yield runner
        runner.close()

    def test_same_task_from_many_threads_never_overlaps(self, runner: TaskRunner[Database]) -> None:
        under_way: list[int] = []
        runs: list[int] = []

        async def work(_database: Database) -> None:
            under_way.append(1)
            runs.append(len(under_way))
            await asyncio.sleep(0.02)
            under_way.pop()

        def often() -> None:
            for _ in range(10):
                runner.run("the same", work)

        threads = [threading.Thread(target=often) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert runs
        assert set(runs) == {1}

    def test_different_tasks_run_at_the_same_time(self, runner: TaskRunner[Database]) -> None:
        met = asyncio.Event()

        async def wait(_database: Database) -> None:
            await met.wait()

        async def meet(_database: Database) -> None:
            met.set()

        waiting = threading.Thread(target=runner.run, args=("waits", wait))
        waiting.start()
        runner.run("comes", meet)
        waiting.join(5)
        assert not waiting.is_alive()

    def test_what_a_task_raises_reaches_its_caller_and_frees_the_lock(
        self, runner: TaskRunner[Database]
    ) -> None:
        async def fail(_database: Database) -> None:
            raise KeyError("lost")

        for _ in range(2):
            with pytest.raises(KeyError):
                runner.run("fails", fail)

    def test_task_that_never_ends_is_cancelled(self, database_url: str) -> None:
        @asynccontextmanager
        async def connected() -> AsyncIterator[Database]:
            database = Database(database_url)
            yield database
            await database.close()

        async def hang(_database: Database) -> None:
            await asyncio.Event().wait()

        runner = TaskRunner(connected, lambda database: database, task_seconds_max=0.05)
        runner.start()
        with pytest.raises(TimeoutError):
            runner.run("hangs", hang)
        runner.close()

    def test_database_that_is_away_ends_the_task_and_not_the_worker(self, tmp_path: Path) -> None:
        @asynccontextmanager
        async def connected() -> AsyncIterator[Database]:
            database = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
            yield database
            await database.close()

        async def work(_database: Database) -> None:
            raise AssertionError("it has no lock")

        runner = TaskRunner(connected, lambda database: database)
        runner.start()
        runner.run("a task", work)
        runner.close()

    def test_tools_that_cannot_be_opened_are_told_at_the_start(self, database_url: str) -> None:
        @asynccontextmanager
        async def broken() -> AsyncIterator[Database]:
            if database_url:
                raise OSError("no such server")
            yield Database(database_url)

        runner = TaskRunner(broken, lambda database: database)
        with pytest.raises(OSError, match="no such server"):
            runner.start()


class TestApp:
    def test_without_a_broker_the_process_is_its_own(self) -> None:
        app = make_app(None)
        assert app.conf.broker_url == OWN_MEMORY
        assert app.conf.task_acks_late
        assert app.conf.task_reject_on_worker_lost
        assert app.conf.worker_prefetch_multiplier == 1
        app.close()

    @pytest.mark.parametrize(
        ("url", "options"),
        [
            ("redis://localhost:6379/0", {"visibility_timeout": 3_600}),
            ("amqp://guest@localhost//", {}),
        ],
    )
    def test_broker_of_the_settings_is_used(self, url: str, options: dict[str, int]) -> None:
        app = make_app(url)
        assert app.conf.broker_url == url
        assert app.conf.broker_transport_options == options
        app.close()

    def test_every_task_has_its_place_in_the_schedule(self) -> None:
        assert set(SCHEDULE_SECONDS) == {
            *TREASURY_TASKS,
            DRAIN_OUTBOX,
            FORGET_NONCES,
            ADVANCE_BULK_PAYMENTS,
            ADVANCE_WEBHOOKS,
            ADVANCE_STANDING_ORDERS,
        }


@dataclass
class Bank:
    """A ledger and a signer in their own processes, and a worker that comes and goes."""

    contracts: ContractsOnChain
    database: Database
    ledger: LedgerClient
    environment: dict[str, str]
    log: Path
    worker: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> None:
        self.worker = self._start("worker")

    def kill_worker(self) -> None:
        assert self.worker is not None
        self.worker.kill()
        self.worker.wait()

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ops", command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - prctl alone runs there, which takes no lock.
            )

    async def wallet(self) -> UUID:
        wallet_id = uuid7(SystemClock())
        account = new_account(wallet_account_id(wallet_id, USDT), AccountCode.WALLET, USDT, owner=wallet_id)
        await open_accounts(self.ledger, [account])
        return wallet_id

    async def deposit(self, wallet_id: UUID, units: int) -> None:
        given = await deposit_address(
            self.database,
            SystemClock(),
            custody_of(self.contracts.deployment),
            wallet_id=wallet_id,
            asset=USDT,
        )
        await self.contracts.mint(given.address.lower(), units)

    async def balance(self, wallet_id: UUID) -> int:
        (account,) = await self.ledger.lookup_accounts([wallet_account_id(wallet_id, USDT)])
        return account.credits_posted - account.debits_posted - account.debits_pending

    async def wait_for_balance(self, wallet_id: UUID, minor: int) -> None:
        await self.until(lambda: self.has_balance(wallet_id, minor))

    async def has_balance(self, wallet_id: UUID, minor: int) -> bool:
        return await self.balance(wallet_id) == minor

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not await condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"it never happened; the log:\n{self.log.read_text()[-4000:]}")
            await asyncio.sleep(0.05)


@pytest.fixture
async def bank(
    contracts: ContractsOnChain, database: Database, database_url: str, tmp_path: Path
) -> AsyncIterator[Bank]:
    environment = os.environ | {
        "NUGPAY_HOME": str(contracts.home),
        "NUGPAY_DATABASE_URL": database_url,
        "NUGPAY_RPC_URL": contracts.node.url,
        "PYTHONWARNINGS": "error",
    }
    # A block a second, so that what is mined becomes final by itself.
    contracts.node.call("evm_setIntervalMining", 1)
    ledger = LedgerClient(f"unix:{contracts.home / 'run' / 'ledger.sock'}")
    bank = Bank(contracts, database, ledger, environment, tmp_path / "bank.log")
    ledger_process = bank._start("ledger")
    signer_process = start_signer_process(contracts.home, database_url)

    async def answers() -> bool:
        try:
            await ledger.lookup_accounts([1])
        except LedgerUnavailable:
            return False
        return True

    await bank.until(answers)
    yield bank
    await ledger.close()
    for process in (bank.worker, signer_process, ledger_process):
        if process is not None:
            end_process(process)


@pytest.mark.slow
async def test_worker_pays_released_files_and_goes_on_after_kill_9(bank: Bank) -> None:
    clock: Any = SystemClock()
    ledger: Any = bank.ledger
    await open_system_accounts(ledger)
    wallets = WalletBank(
        bank.database, ledger, clock, WalletDirectory(bank.database, ledger, clock), Limits(ledger, clock)
    )
    ko = await wallets.wallet("ko_ko")
    mill = await business(wallets)
    bank.start_worker()
    files = []
    for name in "abc":
        bulk = await mill.upload(*(f"ko_ko,0.01,{name}{number}" for number in range(3_000)))
        await mill.release(bulk)
        files.append(bulk)
    bank.kill_worker()
    bank.start_worker()

    async def are_finished() -> bool:
        return all([(await mill.look(each)).state is BulkState.FINISHED for each in files])

    await bank.until(are_finished)
    assert [(await mill.look(each)).paid for each in files] == [3_000] * 3
    assert await bank.balance(ko.id) == 90_000_000
    assert await bank.balance(mill.wallet.id) == 1_000_000_000 - 2 * 90_000_000


@pytest.mark.slow
async def test_worker_credits_sweeps_pays_and_reconciles_and_ends_when_told(bank: Bank) -> None:
    wallet_id = await bank.wallet()
    bank.start_worker()
    await bank.deposit(wallet_id, 250_000_000)
    await bank.wait_for_balance(wallet_id, 250_000_000)
    custody = custody_of(bank.contracts.deployment)
    withdrawal = await request_withdrawal(
        bank.database,
        bank.ledger,
        SystemClock(),
        custody,
        withdrawal_id=uuid7(SystemClock()),
        wallet_id=wallet_id,
        amount=Money(100_000_000, USDT),
        to_address=OUTSIDE,
    )

    async def is_paid() -> bool:
        seen = await withdrawal_by_id(
            bank.database, bank.ledger, withdrawal_id=withdrawal.id, wallet_id=wallet_id
        )
        return seen.state is WithdrawalState.PAID

    await bank.until(is_paid)
    assert bank.contracts.balance(OUTSIDE) == 100_000_000

    async def books_agree_with_it() -> bool:
        async with bank.database.session() as session:
            results = await last_reconciliations(session, custody)
        return any(result.asset == USDT and result.ledger_amount == 1_000_150_000_000 for result in results)

    await bank.until(books_agree_with_it)
    assert bank.worker is not None
    bank.worker.send_signal(signal.SIGTERM)
    assert bank.worker.wait(30) == 0
    said = bank.log.read_text()
    assert "Traceback" not in said
    assert "Warning" not in said


@pytest.mark.slow
async def test_worker_killed_again_and_again_loses_and_doubles_nothing(bank: Bank) -> None:
    draw = random.Random(5)
    wallet_id, sent = await bank.wallet(), 0
    for _ in range(4):
        bank.start_worker()
        for _ in range(2):
            units = draw.randrange(1, 9_000_000)
            await bank.deposit(wallet_id, units)
            sent += units
        await asyncio.sleep(draw.uniform(1.0, 4.0))
        bank.kill_worker()
    bank.start_worker()
    await bank.wait_for_balance(wallet_id, sent)
    # Nothing more arrives: what was credited is credited once.
    await bank.deposit(wallet_id, 1)
    await bank.wait_for_balance(wallet_id, sent + 1)
    async with bank.database.session() as session:
        results = await last_reconciliations(session, custody_of(bank.contracts.deployment))
    assert all(result.agrees for result in results)


@pytest.mark.slow
async def test_two_workers_at_once_do_everything_once(bank: Bank) -> None:
    wallet_id = await bank.wallet()
    bank.start_worker()
    first = bank.worker
    assert first is not None
    bank.start_worker()
    for _ in range(5):
        await bank.deposit(wallet_id, 1_000_000)
    await bank.wait_for_balance(wallet_id, 5_000_000)
    end_process(first)
    await bank.deposit(wallet_id, 1)
    await bank.wait_for_balance(wallet_id, 5_000_001)


async def test_worker_without_contracts_says_so_and_ends(database_url: str, tmp_path: Path) -> None:
    environment = os.environ | {"NUGPAY_HOME": str(tmp_path), "NUGPAY_DATABASE_URL": database_url}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "ops", "worker"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert b"contracts" in done.stderr


async def test_node_of_another_chain_is_refused_at_the_start(bank: Bank) -> None:
    bank.environment["NUGPAY_CHAIN_ID"] = "1"
    bank.start_worker()
    assert bank.worker is not None
    assert bank.worker.wait(60) != 0
