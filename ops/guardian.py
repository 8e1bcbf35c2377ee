"""The guardian: ends what a killed process left running.

A supervisor or a test session that ends by itself cleans up by itself. One that
is killed with -9 cannot: then this small process, started beside it in a group
of its own, notices, asks the children that are still there to end, and stops the
embedded PostgreSQL in order, so that nothing is lost and nothing runs for ever.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from ops import postgres
from ops.processes import ProcessMark, end_children, read_roster

POLL_SECONDS = 0.25
"""Between two looks at the watched process."""


def start_guardian(
    watched: ProcessMark, home: Path, *, roster: Path | None = None, delete: Path | None = None
) -> ProcessMark:
    """Start a guardian for ``watched``; terminate it when its watch is over.

    When the watched process is gone, the children in the file ``roster`` are ended,
    then the PostgreSQL of ``home``; with ``delete`` (a test's directory) that is
    done the quick way, and the directory goes too.
    """
    command = [sys.executable, "-P", "-m", "ops.guardian", str(watched.pid), repr(watched.started), str(home)]
    if roster is not None:
        command += ["--roster", str(roster)]
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
    parser.add_argument("--roster", type=Path)
    parser.add_argument("--delete", type=Path)
    arguments = parser.parse_args()
    watched = ProcessMark(arguments.pid, arguments.started)
    while watched.process() is not None:
        time.sleep(POLL_SECONDS)
    roster = read_roster(arguments.roster) if arguments.roster is not None else None
    # A new supervisor may have taken the home over in the meantime; then all of it is the new one's.
    if roster is not None and roster.supervisor == watched:
        end_children(roster)
    if roster is None or roster.supervisor == watched:
        postgres.stop(arguments.home, immediate=arguments.delete is not None)
        if arguments.roster is not None:
            arguments.roster.unlink(missing_ok=True)
    if arguments.delete is not None:
        shutil.rmtree(arguments.delete, ignore_errors=True)


if __name__ == "__main__":
    main()
