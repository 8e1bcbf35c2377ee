"""The supervisor: children are kept running, ended in order, and never outlive it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from ops.output import Output, readable
from ops.supervisor import Child, ChildError, ChildSpec, Supervisor

WAIT_SECONDS_MAX = 30

LIVES = "import time\nwhile True: time.sleep(0.05)"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n" + LIVES
)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "logs")


@pytest.fixture
async def supervisor(output: Output) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(output, lambda: None)
    yield supervisor
    await supervisor.stop()


async def at_once() -> bool:
    return True


async def never() -> bool:
    return False


def python(
    name: str, code: str, *, is_ready: Callable[[], Awaitable[bool]] = at_once, stop_seconds: float = 15
) -> ChildSpec:
    command = (sys.executable, "-u", "-c", code)
    return ChildSpec(name, lambda: command, is_ready, stop_seconds=stop_seconds)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not condition():
            await asyncio.sleep(0.02)


def pid_of(child: Child) -> int:
    mark = child.entry().mark
    assert mark is not None
    return mark.pid


def runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


class TestRestart:
    async def test_child_that_is_killed_is_started_again(self, supervisor: Supervisor) -> None:
        child = supervisor.start(python("worker", LIVES))
        await child.wait_ready()
        first = pid_of(child)
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.restarts == 1 and child.ready.is_set())
        assert pid_of(child) != first

    async def test_death_is_told_with_the_last_lines(
        self, supervisor: Supervisor, output: Output, capsys: pytest.CaptureFixture[str]
    ) -> None:
        child = supervisor.start(python("worker", "print('the last word', flush=True)\n" + LIVES))
        await child.wait_ready()
        await until(lambda: output.last_lines("worker") == ["the last word"])
        os.kill(pid_of(child), signal.SIGKILL)
        await until(lambda: child.restarts == 1)
        shown = capsys.readouterr().out
        assert "worker was ended by SIGKILL" in shown
        assert "nugpay   |   | the last word" in shown
        assert "the last word" in (output.logs / "worker.log").read_text()

    async def test_pause_doubles_while_a_child_keeps_dying(
        self, supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
    ) -> None:
        child = supervisor.start(python("worker", "raise SystemExit(7)"))
        await until(lambda: child.restarts >= 3)
        shown = capsys.readouterr().out
        assert "worker ended with status 7" in shown
        assert all(f"starting worker again in {pause} s" in shown for pause in ("0.2", "0.4", "0.8"))

    async def test_child_that_never_answered_is_given_up(self, supervisor: Supervisor) -> None:
        child = supervisor.start(python("worker", "raise SystemExit(7)", is_ready=never))
        with pytest.raises(ChildError, match="worker died 4 times without answering"):
            await child.wait_ready()

    async def test_what_a_dead_child_had_started_goes_with_it(
        self, supervisor: Supervisor, output: Output
    ) -> None:
        code = (
            "import subprocess, sys\n"
            f"print(subprocess.Popen([sys.executable, '-c', {LIVES!r}]).pid, flush=True)\n{LIVES}"
        )
        child = supervisor.start(python("api", code))
        await until(lambda: bool(output.last_lines("api")))
        grandchild = int(output.last_lines("api")[0])
        os.kill(pid_of(child), signal.SIGKILL)
        await until(lambda: not runs(grandchild))


class TestStop:
    async def test_children_end_in_the_reverse_order_of_their_start(
        self, output: Output, capsys: pytest.CaptureFixture[str]
    ) -> None:
        supervisor = Supervisor(output, lambda: None)
        for name in ("node", "ledger", "signer", "worker", "api"):
            await supervisor.start(python(name, LIVES)).wait_ready()
        assert [entry.name for entry in supervisor.entries()] == ["api", "worker", "signer", "ledger", "node"]
        pids = [entry.mark.pid for entry in supervisor.entries() if entry.mark is not None]
        await supervisor.stop()
        told = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if "stopping" in line]
        assert told == ["api", "worker", "signer", "ledger", "node"]
        assert not any(map(runs, pids))

    async def test_child_that_does_not_end_is_killed(self, output: Output) -> None:
        supervisor = Supervisor(output, lambda: None)
        child = supervisor.start(python("worker", STUBBORN, stop_seconds=0.3))
        await until(lambda: output.last_lines("worker") == ["deaf"])
        pid = pid_of(child)
        await supervisor.stop()
        assert not runs(pid)

    async def test_second_request_does_not_wait(self, output: Output) -> None:
        supervisor = Supervisor(output, lambda: None)
        supervisor.start(python("worker", STUBBORN, stop_seconds=60))
        await until(lambda: output.last_lines("worker") == ["deaf"])
        supervisor.hurry.set()
        began = time.monotonic()
        await supervisor.stop()
        assert time.monotonic() - began < 30

    async def test_child_is_finished_before_it_is_asked_to_end(self, output: Output) -> None:
        done: list[bool] = []
        supervisor = Supervisor(output, lambda: None)

        async def finish() -> None:
            done.append(runs(pid_of(child)))

        spec = ChildSpec("node", lambda: (sys.executable, "-c", LIVES), at_once, finish=finish)
        child = supervisor.start(spec)
        await child.wait_ready()
        await supervisor.stop()
        assert done == [True]

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the guardian ends the children")
    async def test_child_does_not_outlive_a_supervisor_that_was_killed(self, tmp_path: Path) -> None:
        code = f"""
import asyncio, sys
from pathlib import Path
from ops.output import Output
from ops.supervisor import ChildSpec, Supervisor
async def at_once(): return True
async def main():
    supervisor = Supervisor(Output(Path({str(tmp_path)!r}), quiet=True), lambda: None)
    child = supervisor.start(ChildSpec("ledger", lambda: (sys.executable, "-c", {LIVES!r}), at_once))
    await child.wait_ready()
    print(child.entry().mark.pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            assert runs(child)
            process.kill()
        await until(lambda: not runs(child))


class TestOutput:
    def test_json_log_line_is_shown_in_words(self) -> None:
        line = '{"event": "signed", "level": "info", "process": "signer", "timestamp": "x", "nonce": 4}'
        assert readable(line) == "info    signed  nonce=4"

    @pytest.mark.parametrize("line", ["plain words", "{not json", ""])
    def test_other_lines_are_shown_as_they_are(self, line: str) -> None:
        assert readable(line) == line

    async def test_line_without_an_end_does_not_stop_the_rest(
        self, supervisor: Supervisor, output: Output
    ) -> None:
        code = "print('x' * 3_000_000, flush=True)\nprint('after', flush=True)\n" + LIVES
        supervisor.start(python("worker", code))
        await until(lambda: "after" in output.last_lines("worker")[-1:])
