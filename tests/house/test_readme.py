"""The README: its commands run as they are printed, and print what it says.

A block of the form

    <!-- run -->
    ```console
    $ ./nugpay status
    part …
    ```

is run: each line after ``$`` by bash in the clone, in order, with a home and ports
of the test's own. It must end with 0, and the lines under it must occur in what it
printed, in their order; ``…`` stands for anything. ``./nugpay up`` is left running
for the commands after it.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fixtures.ports import steady_port
from tests.house.vocabulary import ROOT

README = ROOT / "README.md"

PRINTED_API = "127.0.0.1:8080"
"""Where the README's commands reach the API; a test has a port of its own."""

BLOCK = re.compile(r"<!-- run -->\n```console\n(.*?)```", re.DOTALL)

UP_SECONDS_MAX = 120
COMMAND_SECONDS_MAX = 240


@dataclass
class Command:
    """A command as printed, and the lines printed under it."""

    line: str
    output: list[str] = field(default_factory=list)

    def expected(self) -> re.Pattern[str]:
        """What its output must hold."""
        lines = [".*".join(map(re.escape, line.split("…"))) for line in self.output if line.strip()]
        return re.compile("[^\n]*\n(?:.*\n)*?.*".join(lines))


def commands(text: str) -> list[Command]:
    """The commands of all blocks that are to be run."""
    found: list[Command] = []
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line.removeprefix("$ ")))
            elif found[-1].line.endswith("\\"):
                found[-1].line += "\n" + line
            else:
                found[-1].output.append(line)
    return found


@contextmanager
def kept_up(command: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a command that does not end by itself until the end of the block; it must end well when told to."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + UP_SECONDS_MAX
        while "Ctrl-C stops everything" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_readme_is_understood() -> None:
    text = "<!-- run -->\n```console\n$ echo one \\\n  two\none …\n\n$ true\n```\n```console\n$ false\n```\n"
    first, second = commands(text)
    assert first.line == "echo one \\\n  two"
    assert first.expected().search("one and two\n")
    assert not first.expected().search("two\n")
    assert second.line == "true"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_readme_commands_run_as_printed(make_home: Callable[[], Path]) -> None:
    found = commands(README.read_text())
    assert found, "the README has blocks that are run"
    home = make_home()
    api, rpc = steady_port(), steady_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUGPAY_")}
    environment |= {
        "NUGPAY_HOME": str(home / "home"),
        "NUGPAY_API_PORT": str(api),
        "NUGPAY_API": f"http://127.0.0.1:{api}",
        "NUGPAY_RPC_URL": f"http://127.0.0.1:{rpc}",
    }
    _run_all(found, environment, home, PRINTED_API.replace("8080", str(api)))


def _run_all(found: list[Command], environment: dict[str, str], home: Path, api: str) -> None:
    for position, command in enumerate(found):
        line = command.line.replace(PRINTED_API, api)
        if line.strip() == "./nugpay up":
            with kept_up(line, environment, home / "up.log"):
                _run_all(found[position + 1 :], environment, home, api)
            return
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            timeout=COMMAND_SECONDS_MAX,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        printed = (done.stdout + done.stderr).replace(api, PRINTED_API)
        assert command.expected().search(printed), f"{line}\n{done.stdout}{done.stderr}"
