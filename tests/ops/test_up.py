"""``nugpay up``, for real: everything comes up, comes back, ends in order, and leaves nothing behind."""

import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from foundation.settings import Settings
from ops import postgres
from ops.node import port_is_taken
from ops.processes import ProcessMark, Roster, read_roster, roster_path
from ops.up import with_free_ports
from tests.fixtures.ports import steady_port
from tests.fixtures.postgres import url_of

WAIT_SECONDS_MAX = 120

NAMES = ("api", "worker", "signer", "ledger", "node")
"""The children in the order in which they end."""


class Bank:
    """A home, and the ``up`` that runs in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "shown.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("NUGPAY_")
        }
        self.environment |= {
            "NUGPAY_HOME": str(home),
            "NUGPAY_API_PORT": str(steady_port()),
            "NUGPAY_RPC_URL": f"http://127.0.0.1:{steady_port()}",
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line in this home."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "ops", *command],
            env=self.environment, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS_MAX,
        )  # fmt: skip

    def up(self) -> float:
        """Start it and wait until it is ready; the seconds that took."""
        began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ops", "up"],
                env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.until(lambda: "Ctrl-C stops everything" in self.shown())
        return time.monotonic() - began

    def shown(self) -> str:
        return self.log.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something while it runs."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            assert self.process is None or self.process.poll() is None, self.shown()
            assert time.monotonic() < deadline, self.shown()
            time.sleep(0.05)

    def roster(self) -> Roster:
        roster = read_roster(roster_path(self.home))
        assert roster is not None
        return roster

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return answer

    def child(self, name: str) -> ProcessMark | None:
        return next(child.mark for child in self.roster().children if child.name == name)

    def marks(self) -> dict[str, ProcessMark]:
        """All of its processes."""
        roster = self.roster()
        marks = {child.name: child.mark for child in roster.children if child.mark is not None}
        return marks | {"postgres": self.postgres(), "guardian": roster.guardian or roster.supervisor}

    def postgres(self) -> ProcessMark:
        first = (self.home / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0]
        return ProcessMark.of(int(first))

    def stop(self) -> int:
        """Ctrl-C; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(WAIT_SECONDS_MAX)
        self.process = None
        return status

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None


@pytest.fixture(scope="module")
def home(make_home: Callable[[], Path]) -> Path:
    return make_home()


@pytest.fixture
def bank(home: Path) -> Iterator[Bank]:
    """A bank in the module's home, down again after the test."""
    bank = Bank(home)
    yield bank
    if bank.process is not None:
        bank.stop()


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_everything_comes_up_shows_its_addresses_and_ends_in_order(bank: Bank) -> None:
    bank.up()
    roster = bank.roster()
    assert tuple(child.name for child in roster.children) == NAMES
    for label in ("API", "EVM node", "Vault", "USDT token", "DMMK token", "Ledger", "PostgreSQL", "Home"):
        assert re.search(rf"nugpay +\| +{label} ", bank.shown()), label

    bank.until(lambda: len((bank.status()["database"] or {"books": []})["books"]) == 2)
    status = bank.status()
    assert status["well"], status
    assert {process["name"] for process in status["processes"]} == {"up", "postgres", *NAMES}
    assert status["chain"]["mirror_head"] is not None
    table = bank.run("status")
    assert table.returncode == 0
    assert "books USDT" in table.stdout
    assert "\033" not in table.stdout

    marks = bank.marks()
    assert bank.stop() == 0
    told = re.findall(r"nugpay +\| stopping (\w+)", bank.shown())
    assert told == [*NAMES, "postgres"]
    assert [name for name, mark in marks.items() if mark.process() is not None and name != "guardian"] == []
    assert bank.run("status").returncode == 3


def test_second_up_of_a_home_says_who_runs_it(bank: Bank) -> None:
    bank.up()
    second = bank.run("up")
    assert second.returncode == 1
    assert bank.process is not None
    assert f"already up: process {bank.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr


def test_whatever_dies_comes_back(bank: Bank) -> None:
    bank.up()
    for name in ("ledger", "signer", "api", "node"):
        before = bank.child(name)
        assert before is not None
        os.kill(before.pid, signal.SIGKILL)
        bank.until(functools.partial(_came_back, bank, name, before))
    server = bank.postgres()
    os.kill(server.pid, signal.SIGKILL)
    bank.until(lambda: _answers(bank) and bank.postgres() != server)
    bank.until(lambda: bank.status()["well"])
    assert bank.stop() == 0


def test_killed_supervisor_leaves_nothing_and_the_next_goes_on(bank: Bank) -> None:
    bank.up()
    marks = bank.marks()
    bank.kill()
    bank.until(lambda: not any(mark.process() for mark in marks.values()))

    # Killed with its guardian: the children end by themselves, PostgreSQL is found running.
    bank.up()
    marks = bank.marks()
    os.kill(marks["guardian"].pid, signal.SIGKILL)
    bank.kill()
    bank.up()
    assert "an earlier up was killed" in bank.shown()
    bank.until(lambda: bank.status()["well"])
    assert bank.stop() == 0
    assert not any(mark.process() for mark in marks.values())


def test_lost_development_chain_is_told_and_both_books_begin_anew(bank: Bank) -> None:
    bank.up()
    url = bank.roster().environment["NUGPAY_DATABASE_URL"]
    _execute(url, "create table remembered ()")
    bank.stop()
    shutil.rmtree(bank.home / "anvil")
    bank.up()
    aside = re.search(r"kept as database (\w+)", bank.shown())
    assert aside is not None
    _execute(url_of(url, aside[1]), "select from remembered")
    with pytest.raises(psycopg.errors.UndefinedTable):
        _execute(url, "select from remembered")
    bank.until(lambda: bank.status()["well"])


def test_chain_without_what_was_final_is_told_and_both_books_begin_anew(bank: Bank) -> None:
    bank.up()
    bank.until(lambda: (bank.status()["chain"]["mirror_finalized"] or 0) > 0)
    state = bank.home / "anvil" / "state.json"
    older = state.read_bytes()
    final = bank.status()["chain"]["mirror_finalized"]
    bank.until(lambda: bank.status()["chain"]["mirror_finalized"] > final + 5)
    bank.stop()
    # The contracts are on it, but not the last blocks that were final.
    state.write_bytes(older)
    state.with_name("exit.json").unlink(missing_ok=True)
    bank.up()
    assert "took for final" in bank.shown()
    assert "kept as database" in bank.shown()
    bank.until(lambda: bank.status()["well"])


def test_port_that_is_taken_is_told_in_words(bank: Bank) -> None:
    port = bank.environment["NUGPAY_API_PORT"]
    listener = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", port],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        bank.until(lambda: psutil.Process(listener.pid).net_connections(kind="inet"))
        refused = bank.run("up")
        assert refused.returncode == 1
        assert f"Port {port} is taken" in refused.stderr
        assert "NUGPAY_API_PORT" in refused.stderr
    finally:
        listener.terminate()
        listener.wait()


def test_ctrl_c_at_any_moment_of_the_first_start_leaves_nothing_running(
    make_home: Callable[[], Path],
) -> None:
    for words in ("making the database cluster", "starting PostgreSQL"):
        bank = Bank(make_home())
        with bank.log.open("wb") as log:
            bank.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ops", "up"],
                env=bank.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        bank.until(functools.partial(_is_shown, bank, words))
        assert bank.stop() == 0
        assert "all stopped" in bank.shown()
        assert postgres.running_pid(bank.home) is None


def test_server_that_could_forget_is_refused_by_every_command(bank: Bank) -> None:
    url = postgres.ensure_running(bank.home)
    try:
        bank.environment["NUGPAY_DATABASE_URL"] = f"{url}&options=-csynchronous_commit%3Doff"
        for command in (("migrate",), ("up",), ("api",), ("invite",)):
            refused = bank.run(*command)
            assert refused.returncode == 1, command
            assert "synchronous_commit = off: an acknowledged transfer could be lost" in refused.stderr
            assert "Traceback" not in refused.stderr
    finally:
        postgres.stop(bank.home)


def test_usual_node_port_that_is_taken_is_replaced_unless_the_operator_named_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert with_free_ports(Settings(home=tmp_path, rpc_url=url)).rpc_url == url
        # As if that were the usual port, which may be anybody's while the tests run.
        usual = Settings.model_construct(
            _fields_set=set(), **{**dict(Settings(home=tmp_path)), "rpc_url": url}
        )
        chosen = with_free_ports(usual).rpc_url
        assert chosen != url
        assert not port_is_taken("127.0.0.1", int(chosen.rsplit(":", 1)[1]))


def _is_shown(bank: Bank, words: str) -> bool:
    return words in bank.shown()


def _came_back(bank: Bank, name: str, before: ProcessMark) -> bool:
    return bank.child(name) not in {None, before}


def _answers(bank: Bank) -> bool:
    try:
        _execute(bank.roster().environment["NUGPAY_DATABASE_URL"], "select 1")
    except psycopg.OperationalError:
        return False
    return True


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
