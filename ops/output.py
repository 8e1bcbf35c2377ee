"""What a supervisor shows: each child's lines behind its name, and its own.

On a terminal the names are coloured and JSON log lines are turned into words;
elsewhere and in the files under ``<home>/logs`` they stay as they are. A child's
last lines are kept, to be shown when it dies.
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import IO

import msgspec

LAST_LINES = 12
"""How many lines of a child are shown again at its death."""

LOG_BYTES_MAX = 16 * 1024 * 1024
"""A larger log is set aside (``.old``) when the next child of that name starts."""

NAME_WIDTH = 9
"""Room for a name before the line."""

COLOURS = {
    "postgres": 34,
    "node": 35,
    "ledger": 32,
    "signer": 33,
    "worker": 36,
    "api": 94,
    "nugpay": 97,
}
"""ANSI colour of each name."""

HIDDEN = ("process", "timestamp", "level", "event")
"""Fields of a log line that are not repeated behind its words."""


class Output:
    """Where lines go. ``quiet`` writes the files only."""

    def __init__(self, logs: Path, *, quiet: bool = False) -> None:
        self.logs = logs
        self._quiet = quiet
        self._colour = sys.stdout.isatty()
        self._last: dict[str, deque[str]] = {}
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open_log(self, name: str) -> IO[bytes]:
        """The log file of a child, to append to."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".old"))
        self._last[name] = deque(maxlen=LAST_LINES)
        return path.open("ab", buffering=0)

    def line(self, name: str, line: str) -> None:
        """Show one line of a child."""
        self._last.setdefault(name, deque(maxlen=LAST_LINES)).append(line)
        self._show(name, readable(line) if self._colour else line)

    def say(self, message: str) -> None:
        """Show a line of the supervisor's own."""
        for line in message.splitlines():
            self._show("nugpay", line)
        with (self.logs / "up.log").open("a") as log:
            log.write(f"{message}\n")

    def last_lines(self, name: str) -> list[str]:
        """The last lines of a child."""
        return list(self._last.get(name, ()))

    def _show(self, name: str, line: str) -> None:
        if self._quiet:
            return
        prefix = f"{name:<{NAME_WIDTH}}|"
        if self._colour:
            prefix = f"\033[{COLOURS.get(name, 37)}m{prefix}\033[0m"
        try:
            print(prefix, line, flush=True)
        except BrokenPipeError:
            # Nobody reads any more (such as "up | head"); the bank runs on, and the files have it all.
            self._quiet = True


def readable(line: str) -> str:
    """A JSON log line in words; any other line as it is."""
    if not line.startswith("{"):
        return line
    try:
        fields = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return line
    level, event = fields.get("level", ""), fields.get("event", "")
    more = " ".join(f"{name}={value}" for name, value in fields.items() if name not in HIDDEN)
    return f"{level:<7} {event}  {more}".rstrip()
