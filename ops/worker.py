"""The worker: Celery, its schedule, and the tasks of all rooms.

Every task reads from PostgreSQL what is to be done, so a message carries nothing but
a task's name, and losing or doubling messages changes nothing. On one machine the
broker is this process' own memory: it needs no server and leaves nothing behind
when the process is killed. ``NUGPAY_BROKER_URL`` names RabbitMQ or Redis instead,
with any number of workers; each has the schedule, and the tasks' locks keep them
from doing the same at the same time.
"""

from __future__ import annotations

import functools
import signal
import ssl
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import certifi
import structlog
from celery import Celery
from celery.beat import Scheduler, Service
from celery.platforms import EX_OK
from celery.worker import WorkController
from celery.worker import state as worker_state

from chain.deployments import load_deployment, verify_deployment
from chain.endpoints import refuse_other_chains
from chain.follower import FollowerConfig
from chain.rpc import RPC
from chain.sender import Sender
from chain.signer_client import SignerClient
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.garbage import keep_what_is_loaded
from foundation.logs import configure_logging
from foundation.outbox import Handler, drain
from foundation.sandbox_clock import clock_of
from foundation.settings import Settings, get_settings
from identity.nonces import forget_expired_nonces
from identity.sessions import forget_old_sessions
from ledger.client import LedgerClient
from ledger.door.tls import client_context
from ops.errors import OperationError
from ops.task_runner import TaskRunner
from treasury.cold_addresses import (
    record_cold_address,
    recorded_cold_addresses,
    vaults_cold_address,
)
from treasury.custody import Custody, custody_of
from treasury.hot_balances import HotPolicy, bounds_of
from treasury.tasks import TreasuryTools, add_treasury_tasks, schedule_of
from wallets.bulk_execution import BulkTools
from wallets.limits import Limits
from wallets.merchants import MerchantBooks
from wallets.tasks import (
    ADVANCE_BULK_PAYMENTS,
    ADVANCE_STANDING_ORDERS,
    ADVANCE_WEBHOOKS,
    WebhookTools,
    WebhookWork,
    add_wallet_tasks,
    add_webhook_tasks,
)
from wallets.tasks import Work as WalletWork
from wallets.wallets import WalletDirectory
from wallets.webhook_sending import SendingTools
from wallets.webhook_targets import TargetRules

logger = structlog.get_logger()

OWN_MEMORY: Final = "memory://localhost/"
"""The broker that needs no server."""

THREADS: Final = 8
"""Tasks at a time; they wait for others nearly always, and share one event loop."""

POLLING_SECONDS: Final = 0.1
"""How often a broker without a server is looked at."""

VISIBILITY_SECONDS: Final = 3_600
"""Redis delivers again what nobody acknowledged for so long: longer than any task."""

SCHEDULE_LOOK_SECONDS: Final = 1
"""Longest pause between two looks at the schedule, and how soon it ends when told to."""

OUTBOX_PER_RUN: Final = 200
"""Most messages of the outbox carried out in one run."""

DRAIN_OUTBOX: Final = "ops.drain_outbox"
"""Name of the task that empties the outbox."""

FORGET_NONCES: Final = "identity.forget_expired_nonces"
"""Name of the task that deletes nonces whose signatures are too old anyway, and sessions of last month."""

SCHEDULE_SECONDS: Final = {
    "treasury.follow_chain": 0.5,
    "treasury.book_deposits": 1.0,
    "treasury.advance_withdrawals": 1.0,
    "treasury.sweep_deposits": 5.0,
    "treasury.reconcile": 1.0,
    "treasury.watch_hot_balances": 1.0,
    "treasury.move_to_cold": 5.0,
    "treasury.forget_quotes": 60.0,
    DRAIN_OUTBOX: 0.5,
    FORGET_NONCES: 60.0,
    ADVANCE_BULK_PAYMENTS: 0.5,
    ADVANCE_WEBHOOKS: 1.0,
    ADVANCE_STANDING_ORDERS: 5.0,
}
"""How often each task is due, in seconds."""

OUTBOX_HANDLERS: dict[str, Handler] = {}
"""What carries each topic of the outbox out."""


def make_app(broker_url: str | None) -> Celery:
    """The Celery app without tasks: at least once, one message at a time, no results."""
    app = Celery("nugpay", set_as_current=False)
    app.conf.update(
        broker_url=broker_url or OWN_MEMORY,
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(broker_url),
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue="nugpay",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        beat_schedule={name: schedule_of(seconds, name) for name, seconds in SCHEDULE_SECONDS.items()},
        enable_utc=True,
    )
    return app


def _transport_options(broker_url: str | None) -> dict[str, Any]:
    if broker_url is None:
        return {"polling_interval": POLLING_SECONDS}
    if broker_url.startswith(("redis:", "rediss:")):
        return {"visibility_timeout": VISIBILITY_SECONDS}
    return {}


@asynccontextmanager
async def open_tools(settings: Settings) -> AsyncIterator[TreasuryTools]:
    """Connect to everything, on the loop where the tasks will run; closed in the reverse order."""
    if settings.database_url is None:
        raise OperationError("PostgreSQL is not running", "./nugpay up starts it with everything else.")
    deployment = load_deployment(settings.home, settings.chain_id)
    clock = clock_of(settings)
    rpc = RPC(settings.rpc_url)
    check = RPC(settings.rpc_check_url) if settings.rpc_check_url is not None else None
    # Each task holds a connection for its lock and needs another for its work.
    database = Database(settings.database_url, pool_size=THREADS, pool_overflow=2 * THREADS)
    ledger = LedgerClient(settings.ledger_address, tls=client_context(settings))
    try:
        await refuse_other_chains(
            rpc, check, chain_id=deployment.chain_id, genesis_hash=deployment.genesis_hash
        )
        await verify_deployment(rpc, deployment)
        custody = custody_of(deployment)
        if settings.environment == "development":
            await _record_own_cold_address(database, rpc, clock, custody)
        signer = SignerClient(settings.signer_socket)
        yield TreasuryTools(
            database=database,
            ledger=ledger,
            rpc=rpc,
            clock=clock,
            custody=custody,
            sender=Sender(
                database=database, rpc=rpc, signer=signer, clock=clock, deployment=deployment, check=check
            ),
            follower=FollowerConfig(
                deployment.chain_id,
                tuple(deployment.token_addresses()),
                start_number=deployment.block_number,
            ),
            check=check,
            hot=hot_policy(settings),
        )
    finally:
        await ledger.close()
        await database.close()
        await rpc.close()
        if check is not None:
            await check.close()


def hot_policy(settings: Settings) -> HotPolicy:
    """How much should lie in the vault, as set; raises ``HotBoundsError``."""
    return HotPolicy(
        bounds_of(settings.hot_balances, is_development=settings.environment == "development"),
        makes_moves=settings.cold_moves == "made",
    )


async def _record_own_cold_address(database: Database, rpc: RPC, clock: Clock, custody: Custody) -> None:
    """Count the development vault's cold address as custody; on a real chain people decide that."""
    async with database.session() as session:
        if await recorded_cold_addresses(session, custody):
            return
    address = await vaults_cold_address(rpc, custody)
    try:
        if address is not None:
            await record_cold_address(
                database, rpc, clock, custody, address=address, recorded_by="development", block="latest"
            )
    except Refusal as refusal:
        # Used by hand before we began: it cannot be custody, and moves to it are refused.
        logger.warning("cold address not recorded", reason=str(refusal))


async def _drain_outbox(tools: TreasuryTools) -> None:
    done = await drain(tools.database, tools.clock, OUTBOX_HANDLERS, limit=OUTBOX_PER_RUN)
    if done:
        logger.info("outbox drained", count=done)


async def _forget_nonces(tools: TreasuryTools) -> None:
    async with tools.database.session() as session:
        await forget_expired_nonces(session, tools.clock)
        await forget_old_sessions(session, tools.clock)


def bulk_tools(tools: TreasuryTools) -> BulkTools:
    """What paying files takes. It remembers nothing: a run is rare, and takes thousands of lines."""
    assert isinstance(tools.ledger, LedgerClient), "the worker's ledger is another process"
    return BulkTools(
        tools.database,
        tools.ledger,
        tools.clock,
        WalletDirectory(tools.database, tools.ledger, tools.clock),
        Limits(tools.ledger, tools.clock),
    )


def webhook_tools(tools: TreasuryTools, settings: Settings) -> WebhookTools:
    """What telling webhooks takes."""
    directory = WalletDirectory(tools.database, tools.ledger, tools.clock)
    return WebhookTools(
        MerchantBooks(tools.database, tools.ledger, tools.clock, directory),
        SendingTools(
            tools.database,
            tools.clock,
            TargetRules(allows_loopback=settings.environment == "development"),
            _public_certificates(),
        ),
    )


@functools.cache
def _public_certificates() -> ssl.SSLContext:
    """Whose certificates are believed; read once, since that takes longer than most runs."""
    return ssl.create_default_context(cafile=certifi.where())


def add_tasks(app: Celery, runner: TaskRunner[TreasuryTools]) -> None:
    """Give the app the tasks of all rooms."""
    add_treasury_tasks(app, runner.run)

    def drain_outbox() -> None:
        runner.run(DRAIN_OUTBOX, _drain_outbox)

    def forget_nonces() -> None:
        runner.run(FORGET_NONCES, _forget_nonces)

    def run_for_wallets(name: str, work: WalletWork) -> None:
        runner.run(name, lambda tools: work(bulk_tools(tools)))

    def run_for_webhooks(name: str, work: WebhookWork) -> None:
        runner.run(name, lambda tools: work(webhook_tools(tools, get_settings())))

    add_wallet_tasks(app, run_for_wallets)
    add_webhook_tasks(app, run_for_webhooks)
    app.task(name=DRAIN_OUTBOX)(drain_outbox)
    app.task(name=FORGET_NONCES)(forget_nonces)


class Worker(WorkController):
    """A Celery worker whose schedule runs in a thread of the same process.

    Celery's own command would start the schedule as a second process, which cannot
    reach a broker in this one's memory, and prints a banner where we log.
    """

    def __init__(self, app: Celery) -> None:
        super().__init__(
            app=app,
            pool_cls="threads",
            concurrency=THREADS,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        self._schedule: Final = Service(app, max_interval=SCHEDULE_LOOK_SECONDS, scheduler_cls=Scheduler)
        self._thread: Final = threading.Thread(target=self._schedule.start, name="schedule", daemon=True)

    def on_consumer_ready(self, _consumer: object) -> None:
        """Begin the schedule; again and again where a broker is lost and found."""
        if not self._thread.is_alive():
            keep_what_is_loaded()
            self._thread.start()
            logger.info("worker ready", broker=self.app.connection_for_read().as_uri())

    def on_close(self) -> None:
        """No new messages while the last tasks end."""
        self._schedule.stop()
        super().on_close()


def serve(app: Celery) -> int:
    """Work until SIGTERM or SIGINT; tasks that run are finished first. The exit status."""
    state: Any = worker_state

    def end(_number: int, _frame: object) -> None:
        state.should_stop = EX_OK

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    worker = Worker(app)
    worker.start()
    return int(worker.exitcode or EX_OK)


def main() -> None:
    """Be the worker process."""
    settings = get_settings()
    configure_logging("worker", settings.log_level)
    runner = TaskRunner(lambda: open_tools(settings), lambda tools: tools.database)
    runner.start()
    try:
        app = make_app(settings.broker_url)
        add_tasks(app, runner)
        status = serve(app)
    finally:
        runner.close()
    sys.exit(status)
