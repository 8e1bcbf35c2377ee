"""``nugpay up``: a whole bank on this machine, from nothing, until it is told to end.

PostgreSQL and the development node start side by side; then the migrations and
the contracts; then ledger, signer, worker and API together. A home has one
``up`` at a time. Whatever dies is started again; whatever the operator ends is
ended in order: API, worker, signer, ledger, node, PostgreSQL. If this process is
killed, its guardian and the kernel end the rest, and the next ``up`` goes on from
what is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from sqlalchemy.engine import make_url

from chain.deployments import Deployment
from chain.keystore import SIGNER_KEY, development_key
from chain.rpc import RPC
from foundation.clock import Clock
from foundation.settings import Settings
from identity.pepper import make_pepper
from identity.personal_keys import make_personal_keys
from ops import postgres
from ops.chain_setup import chain_was_lost, finality_was_lost, prepare_contracts, start_over
from ops.errors import AlreadyRunningError, NodeError, OperationError
from ops.guardian import start_guardian
from ops.migrations import migrate
from ops.node import LOOPBACK, DevelopmentNode, free_port, port_is_taken
from ops.output import Output
from ops.probes import http_body, ledger_serves, unix_socket_answers
from ops.processes import (
    ProcessMark,
    Roster,
    end_children,
    end_processes,
    read_roster,
    roster_path,
    running_roster,
    write_roster,
)
from ops.supervisor import Child, ChildSpec, Supervisor
from wallets.receipt_keys import make_receipt_keys

POSTGRES_POLL_SECONDS = 0.25
"""Between two looks whether PostgreSQL still runs."""


class Bank:
    """Everything of one home: brought up, kept up, taken down."""

    def __init__(self, settings: Settings, clock: Clock, output: Output) -> None:
        self.settings = with_free_ports(settings)
        self.supervisor = Supervisor(output, self._write_roster)
        self._clock = clock
        self._output = output
        self._rpc = RPC(self.settings.rpc_url)
        self._roster_path = roster_path(settings.home)
        self._supervisor_mark = ProcessMark.of(os.getpid())
        self._guardian: ProcessMark | None = None
        self._ready = False
        self._addresses: dict[str, str] = {}
        self._database_url = postgres.database_url(self.settings)
        self._node: DevelopmentNode | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._postgres_start: asyncio.Task[str] | None = None

    async def start(self) -> Roster:
        """Bring everything up, in order; returns when everything answers."""
        await asyncio.to_thread(self._clean_up_after_a_killed_one)
        self._refuse_taken_api_port()
        self._guardian = start_guardian(self._supervisor_mark, self.settings.home, roster=self._roster_path)
        self._write_roster()
        make_pepper(self.settings.pin_pepper_path)
        make_receipt_keys(self.settings.receipt_keys_path, self._clock)
        make_personal_keys(self.settings.personal_keys_path, self._clock)
        await asyncio.gather(self._start_postgres(), self._start_node())
        if await self._chain_was_lost():
            await start_over(self.settings, self._database_url, self._rpc, self._clock, self._output.say)
        ledger, deployment = await asyncio.gather(
            self._start_ledger(), prepare_contracts(self.settings, self._rpc)
        )
        children = map(self.supervisor.start, (self._signer(), self._worker(), self._api()))
        await asyncio.gather(*(child.wait_ready() for child in (ledger, *children)))
        self._addresses = self._list_addresses(deployment)
        self._ready = True
        self._write_roster()
        return self.roster()

    async def _chain_was_lost(self) -> bool:
        settings = self.settings
        return await chain_was_lost(settings, self._rpc) or await finality_was_lost(
            settings, self._database_url, self._rpc, ours=self._node is not None
        )

    async def stop(self) -> None:
        """Take everything down, in order."""
        self._ready = False
        await self.supervisor.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._node is not None:
            await self._node.close()
        await self._rpc.close()
        if self.settings.database_url is None:
            self._output.say("stopping postgres")
            # A start that was given up goes on in its thread, and would bring the server up behind our back.
            if self._postgres_start is not None:
                await asyncio.gather(self._postgres_start, return_exceptions=True)
            await asyncio.to_thread(postgres.stop, self.settings.home)
        guardian = self._guardian.process() if self._guardian is not None else None
        if guardian is not None:
            guardian.terminate()
        self._roster_path.unlink(missing_ok=True)
        self._output.say("all stopped")

    def roster(self) -> Roster:
        """What runs now, PostgreSQL aside, which is nobody's child."""
        return Roster(
            supervisor=self._supervisor_mark,
            guardian=self._guardian,
            ready=self._ready,
            children=self.supervisor.entries(),
            addresses=self._addresses,
            environment=self._environment(),
        )

    def _write_roster(self) -> None:
        write_roster(self._roster_path, self.roster())

    def _environment(self) -> dict[str, str]:
        return {
            "NUGPAY_HOME": str(self.settings.home.absolute()),
            "NUGPAY_DATABASE_URL": self._database_url,
            "NUGPAY_RPC_URL": self.settings.rpc_url,
            "NUGPAY_API_PORT": str(self.settings.api_port),
            "NUGPAY_SANDBOX": "1" if self.settings.sandbox else "0",
        }

    def _clean_up_after_a_killed_one(self) -> None:
        """End what an ``up`` that was killed may have left; its guardian is perhaps just doing so."""
        roster = read_roster(self._roster_path)
        if roster is None:
            return
        self._output.say("an earlier up was killed; ending what it left")
        if roster.guardian is not None:
            end_processes([roster.guardian])
        end_children(roster)
        self._roster_path.unlink(missing_ok=True)

    def _refuse_taken_api_port(self) -> None:
        settings = self.settings
        if port_is_taken(urlsplit(api_url(settings)).hostname or "", settings.api_port):
            raise OperationError(
                f"Port {settings.api_port} is taken by another program, and the API would use it",
                "End that program, or set NUGPAY_API_PORT to another port.",
            )

    async def _start_postgres(self) -> None:
        if self.settings.database_url is not None:
            # One that does not answer is told by the migrations.
            with contextlib.suppress(psycopg.OperationalError):
                await asyncio.to_thread(postgres.refuse_weak_server, self.settings.database_url)
            return
        await self._ensure_postgres()
        self._tasks.append(asyncio.create_task(self._keep_postgres()))

    async def _keep_postgres(self) -> None:
        """Start PostgreSQL again when it dies; it is nobody's child, so it is looked at."""
        home = self.settings.home
        while True:
            while postgres.is_whole(home):
                await asyncio.sleep(POSTGRES_POLL_SECONDS)
            self._output.say("postgres died; starting it again")
            try:
                await self._ensure_postgres()
            except OperationError as error:
                self._output.say(f"{error}\n{error.advice}")
            if not postgres.is_whole(home):
                # Its standby may need a hand; it is tried again without haste.
                await asyncio.sleep(1)

    async def _ensure_postgres(self) -> None:
        # A thread cannot be cancelled, so whoever waits for it is, and ``stop`` waits for the thread.
        self._postgres_start = asyncio.create_task(
            asyncio.to_thread(postgres.ensure_running, self.settings.home, report=self._tell_postgres)
        )
        await asyncio.shield(self._postgres_start)

    def _tell_postgres(self, word: str) -> None:
        self._output.line("postgres", word)

    async def _start_ledger(self) -> Child:
        before, head = await asyncio.to_thread(migrate, self._database_url)
        if before != head:
            self._output.say(f"database brought from {before or 'nothing'} to {head}")
        return self.supervisor.start(self._ledger())

    async def _start_node(self) -> None:
        parts = urlsplit(self.settings.rpc_url)
        host, port = parts.hostname or "", parts.port or 80
        ours = self.settings.environment == "development" and host in LOOPBACK
        if not ours or ("rpc_url" in self.settings.model_fields_set and port_is_taken(host, port)):
            return
        if port_is_taken(host, port):
            raise NodeError(
                f"Port {port} is taken by another program, and this home's node would use it",
                "End that program, or set NUGPAY_RPC_URL=http://127.0.0.1:PORT with a free port for a\n"
                "node of this home's own, or with the port of a development node to be used.",
            )
        node = DevelopmentNode(self.settings.home, self.settings.rpc_url, self.settings.chain_id, self._clock)
        self._node = node
        spec = ChildSpec("node", node.command, self._node_is_ready, finish=node.finish)
        await self.supervisor.start(spec).wait_ready()
        self._tasks.append(asyncio.create_task(node.keep_growing(self._output.say)))

    async def _node_is_ready(self) -> bool:
        """Whether the node answers; one that came back without what was final is not let on."""
        assert self._node is not None
        if not await self._node.is_ready():
            return False
        with contextlib.suppress(psycopg.OperationalError):
            # At the start the same is asked once PostgreSQL runs, and without it nobody follows the chain.
            if self._ready and await self._chain_was_lost():
                error = NodeError(
                    "The node came back without blocks that the books took for final; it stays down",
                    "End this up and start it again: both books then begin anew, and the old are kept.",
                )
                self._output.say(f"{error}\n{error.advice}")
                raise error
        return True

    def _ledger(self) -> ChildSpec:
        return self._ours("ledger", lambda: ledger_serves(self.settings))

    def _signer(self) -> ChildSpec:
        return self._ours("signer", lambda: unix_socket_answers(self.settings.signer_socket))

    def _worker(self) -> ChildSpec:
        async def said_so() -> bool:
            # Nobody calls the worker, so there is nothing to ask; it says when it has begun.
            return any("worker ready" in line for line in self._output.last_lines("worker"))

        return self._ours("worker", said_so)

    def _api(self) -> ChildSpec:
        return self._ours("api", lambda: answers(api_url(self.settings), "/v1/health"))

    def _ours(self, name: str, is_ready: Callable[[], Awaitable[bool]]) -> ChildSpec:
        return ChildSpec(
            name, lambda: (sys.executable, "-P", "-m", "ops", name), is_ready, environment=self._environment()
        )

    def _list_addresses(self, deployment: Deployment) -> dict[str, str]:
        settings = self.settings
        listed = {
            "API": f"{api_url(settings)}/v1",
            "EVM node": f"{settings.rpc_url} (chain {settings.chain_id})",
            "Vault": deployment.vault,
        }
        listed |= {f"{code} token": token.address for code, token in deployment.tokens.items()}
        if settings.environment == "development":
            listed["Signer"] = development_key(settings.home, SIGNER_KEY).address
        if settings.sandbox:
            listed["Sandbox"] = f"{api_url(settings)}/v1/sandbox"
        return listed | {
            "Ledger": settings.ledger_address,
            "PostgreSQL": shown_url(self._database_url),
            "Home": str(settings.home.absolute()),
            "Logs": str(self._output.logs),
        }


async def run(bank: Bank, show: Callable[[Roster], None]) -> None:
    """Bring the bank up, show its addresses, keep it up until SIGINT or SIGTERM, take it down.

    A second signal hurries: what has not ended yet is killed.
    """
    told = asyncio.Event()

    def tell() -> None:
        if told.is_set():
            bank.supervisor.hurry.set()
        told.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, tell)
    starting = asyncio.create_task(bank.start())
    waiting = asyncio.create_task(told.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            show(starting.result())
            await waiting
    finally:
        waiting.cancel()
        # A start that is under way is given up where it stands; every step of it can be repeated.
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await bank.stop()


@contextlib.asynccontextmanager
async def running_bank(
    settings: Settings, *, say: Callable[[str], None], busy: Callable[[str], AbstractContextManager[object]]
) -> AsyncIterator[Roster]:
    """The bank of a home: the one that is up, else one that is brought up, and taken down at the end.

    ``say`` tells the operator something, ``busy`` shows it while something long goes on.
    Raises ``OperationError`` when it does not come up.
    """
    started: asyncio.subprocess.Process | None = None
    if running_roster(settings.home) is not None:
        say(f"on the bank that runs in {settings.home}")
    else:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "ops", "up", "--quiet"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            # Ctrl-C at the terminal is for the caller, who then ends the bank, once.
            start_new_session=True,
        )
    try:
        with busy("starting PostgreSQL, the EVM node, ledger, signer, worker and API"):
            roster = await _wait_until_ready(settings.home, started)
        yield roster
    finally:
        if started is not None and started.returncode is None:
            with busy("stopping everything in order"):
                started.terminate()
                await started.wait()


async def _wait_until_ready(home: Path, started: asyncio.subprocess.Process | None) -> Roster:
    while True:
        roster = running_roster(home)
        if roster is not None and roster.ready:
            return roster
        ended = started.returncode is not None if started is not None else roster is None
        if ended:
            raise OperationError(
                "The bank did not come up", f"./nugpay up shows why; its logs are in {home / 'logs'}"
            )
        await asyncio.sleep(POSTGRES_POLL_SECONDS)


@contextlib.contextmanager
def home_lock(home: Path) -> Iterator[None]:
    """Be the only ``up`` of a home. Raises ``AlreadyRunningError``."""
    path = roster_path(home).with_name("up.lock")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            roster = running_roster(home)
            who = f"process {roster.supervisor.pid}" if roster is not None else "another process"
            state = "" if roster is None or roster.ready else ", still starting"
            raise AlreadyRunningError(
                f"This home ({home}) is already up: {who}{state}",
                "./nugpay status shows it; Ctrl-C in its terminal, or kill (not -9), ends it.\n"
                "A second bank here needs its own NUGPAY_HOME, NUGPAY_API_PORT and NUGPAY_RPC_URL.",
            ) from None
        yield


def with_free_ports(settings: Settings) -> Settings:
    """The settings with every port that is 0 replaced by a free one.

    So is the node's port when the operator named none and somebody listens on the usual one: it is
    another home's node, or another program's, and the roster tells which port was taken instead.
    """
    changes: dict[str, object] = {}
    if settings.api_port == 0:
        changes["api_port"] = free_port(settings.api_host)
    parts = urlsplit(settings.rpc_url)
    host = parts.hostname or LOOPBACK[0]
    usual = settings.environment == "development" and "rpc_url" not in settings.model_fields_set
    if parts.port == 0 or (usual and host in LOOPBACK and port_is_taken(host, parts.port or 80)):
        changes["rpc_url"] = f"{parts.scheme}://{host}:{free_port(host)}"
    return settings.model_copy(update=changes)


def api_url(settings: Settings) -> str:
    """Where the API is reached from this machine."""
    host = "127.0.0.1" if settings.api_host in {"0.0.0.0", "::"} else settings.api_host  # noqa: S104 - compared
    return f"http://{host}:{settings.api_port}"


def shown_url(url: str) -> str:
    """A database's URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


async def answers(address: str, path: str) -> bool:
    """Whether a process answers 200 there."""
    return await http_body(address, path) is not None
