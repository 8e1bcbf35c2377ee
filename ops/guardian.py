"""The guardian: ends what a killed process left running.

A supervisor or a test session that ends by itself cleans up by itself. One that
is killed with -9 cannot: then this small process, started beside it in a session
of its own, notices, asks the children that are still there to end, and stops the
embedded PostgreSQL in order, so that nothing is lost and nothing runs for ever.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ops import postgres

POLL_SECONDS = 0.25
"""Between two looks at the watched process."""

CHILD_SECONDS_MAX = 15
"""How long a child may take to end before it is killed."""


@dataclass(frozen=True)
class ProcessMark:
    """One process of this machine for certain: numbers come again, start times with them do not."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessMark:
        """The mark of a running process; raises ``psutil.NoSuchProcess``."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def write_marks(path: Path, marks: Sequence[ProcessMark]) -> None:
    """Keep the children's marks where the guardian finds them; whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps([asdict(mark) for mark in marks]))
    part.replace(path)


def read_marks(path: Path) -> list[ProcessMark]:
    """The children's marks in the order in which they are to end."""
    try:
        return [ProcessMark(**mark) for mark in json.loads(path.read_text())]
    except FileNotFoundError:
        return []


def end_processes(marks: Sequence[ProcessMark]) -> None:
    """End processes one after the other: asked first, killed when they do not."""
    for mark in marks:
        process = mark.process()
        if process is None:
            continue
        with contextlib.suppress(psutil.Error):
            process.terminate()
            try:
                process.wait(timeout=CHILD_SECONDS_MAX)
            except psutil.TimeoutExpired:
                process.kill()


def start_guardian(
    watched: ProcessMark, home: Path, *, marks: Path | None = None, delete: Path | None = None
) -> ProcessMark:
    """Start a guardian for ``watched``; terminate it when its watch is over.

    When the watched process is gone, the processes in ``marks`` are ended, then the
    PostgreSQL of ``home``; with ``delete`` (a test's directory) that is done the
    quick way, and the directory goes too.
    """
    command = [sys.executable, "-P", "-m", "ops.guardian", str(watched.pid), repr(watched.started), str(home)]
    if marks is not None:
        command += ["--marks", str(marks)]
    if delete is not None:
        command += ["--delete", str(delete)]
    silence = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    # Not subprocess.Popen, whose object would have to be kept and waited for. A process group of its own:
    # Ctrl-C at the terminal is for the watched process, and the guardian must outlive it.
    return ProcessMark.of(
        os.posix_spawn(sys.executable, command, os.environ, file_actions=silence, setpgroup=0)
    )


def main() -> None:
    """Watch, and clean up after."""
    parser = argparse.ArgumentParser(description="ends what a killed process left running")
    parser.add_argument("pid", type=int)
    parser.add_argument("started", type=float)
    parser.add_argument("home", type=Path)
    parser.add_argument("--marks", type=Path)
    parser.add_argument("--delete", type=Path)
    arguments = parser.parse_args()
    watched = ProcessMark(arguments.pid, arguments.started)
    while watched.process() is not None:
        time.sleep(POLL_SECONDS)
    if arguments.marks is not None:
        end_processes(read_marks(arguments.marks))
        arguments.marks.unlink(missing_ok=True)
    postgres.stop(arguments.home, immediate=arguments.delete is not None)
    if arguments.delete is not None:
        shutil.rmtree(arguments.delete, ignore_errors=True)


if __name__ == "__main__":
    main()
