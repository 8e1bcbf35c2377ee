"""Processes of this machine, and the roster of those that ``nugpay up`` started.

The roster is one file, ``<home>/run/up.json``, written whole at every change: who
supervises, which children there are in the order in which they are to end, and
where they are reached. ``status`` and ``demo`` read it, and whoever cleans up
after a supervisor that was killed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from foundation.settings import Settings

CHILD_SECONDS_MAX = 15
"""How long an orphan may take to end before it is killed."""

POLL_SECONDS = 0.05
"""Between two looks at a process that is ending."""


class ProcessMark(msgspec.Struct, frozen=True):
    """One process for certain: numbers come again, numbers with start times do not."""

    pid: int
    started: float
    """When the process started, as the kernel tells it."""

    @classmethod
    def of(cls, pid: int) -> ProcessMark:
        """The mark of a running process. Raises ``psutil.NoSuchProcess``."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


class ChildEntry(msgspec.Struct, frozen=True):
    """A child of the supervisor."""

    name: str
    mark: ProcessMark | None
    """None while it is down between two starts."""
    ready: bool
    restarts: int


class Roster(msgspec.Struct, frozen=True):
    """What runs in one home."""

    supervisor: ProcessMark
    guardian: ProcessMark | None
    ready: bool
    """Everything answers."""
    children: tuple[ChildEntry, ...]
    """In the order in which they are to end."""
    addresses: dict[str, str]
    """What to call the parts by: a label and a URL, path or address each."""
    environment: dict[str, str]
    """Settings that differ from what the environment says, such as a port that was chosen."""


def roster_path(home: Path) -> Path:
    """Where the roster of a home is."""
    return Settings(home=home.absolute()).run_dir / "up.json"


def write_roster(path: Path, roster: Roster) -> None:
    """Replace the roster; a reader sees the old one or the new one, never a part."""
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_bytes(msgspec.json.encode(roster))
    part.replace(path)


def read_roster(path: Path) -> Roster | None:
    """The roster, or None when nothing was started or all has ended in order."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Roster)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def running_roster(home: Path) -> Roster | None:
    """The roster of a home whose supervisor is alive, else None."""
    roster = read_roster(roster_path(home))
    return roster if roster is not None and roster.supervisor.process() is not None else None


def wait_gone(mark: ProcessMark, seconds: float) -> bool:
    """Wait until a process is gone or a zombie, which it may stay for a while; false when it lives on."""
    deadline = time.monotonic() + seconds
    while mark.process() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def end_processes(marks: Sequence[ProcessMark]) -> None:
    """End processes one after the other: asked first, killed when they do not."""
    for mark in marks:
        process = mark.process()
        if process is None:
            continue
        with contextlib.suppress(psutil.Error):
            process.terminate()
            if not wait_gone(mark, CHILD_SECONDS_MAX):
                process.kill()


def end_children(roster: Roster) -> None:
    """End what a dead supervisor left running, in its order."""
    end_processes([child.mark for child in roster.children if child.mark is not None])
