"""The supervisor: keeps children running, and ends them in order.

A child that dies is started again, after a pause that doubles each time until it
has lived for a while. The order of ending is the reverse of the order of
starting: whoever takes requests goes first, whoever holds the books last. A
child that does not end when asked is killed; every child can bear that at any
moment, but the order spares the callers errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from ops.errors import OperationError
from ops.output import Output
from ops.processes import ChildEntry, ProcessMark

PAUSE_SECONDS_MIN = 0.2
"""Pause before the first restart of a child that had lived for a while."""

PAUSE_SECONDS_MAX = 15.0
"""Longest pause between two starts."""

LIVED_SECONDS = 30.0
"""After so long a life a child's next death counts as its first."""

READY_SECONDS_MAX = 90.0
"""How long a child may take until it first answers."""

DEATHS_MAX = 4
"""Deaths before the first answer after which the start is given up."""

DRAIN_SECONDS_MAX = 2.0
"""How long the last output of a dead child is waited for; somebody that it started may hold the pipe."""

POLL_SECONDS = 0.05
"""Between two questions whether a child answers."""

LINE_BYTES_MAX = 1024 * 1024
"""Longest line of a child's output that is shown whole."""

PR_SET_PDEATHSIG = 1
"""Linux' prctl option: the signal a child gets when its parent dies."""


class ChildError(OperationError):
    """A child does not come up."""


async def _nothing() -> None:
    """What most children need before they end."""


@dataclass(frozen=True)
class ChildSpec:
    """How one child is started, asked and ended."""

    name: str
    command: Callable[[], Sequence[str]]
    """Its command line, made anew at each start."""
    is_ready: Callable[[], Awaitable[bool]]
    """Whether it answers."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to ours."""
    finish: Callable[[], Awaitable[None]] = _nothing
    """Done before it is asked to end."""
    stop_seconds: float = 15.0
    """How long it may take to end before it is killed."""


class Child:
    """A child, over all of its lives."""

    def __init__(self, spec: ChildSpec, output: Output, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.restarts = 0
        self.ready = asyncio.Event()
        self.given_up: str | None = None
        self._output = output
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._mark: ProcessMark | None = None
        self._stopping = asyncio.Event()
        self._life = asyncio.create_task(self._live())

    def entry(self) -> ChildEntry:
        """What the roster says of it."""
        return ChildEntry(self.spec.name, self._mark, self.ready.is_set(), self.restarts)

    async def wait_ready(self) -> None:
        """Wait until it answers for the first time. Raises ``ChildError``."""
        waiting = asyncio.create_task(self.ready.wait())
        await asyncio.wait(
            {waiting, self._life}, timeout=READY_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        if not waiting.done():
            waiting.cancel()
            why = self.given_up or f"does not answer after {READY_SECONDS_MAX:.0f} s"
            raise ChildError(
                f"{self.spec.name} {why}", f"Its log: {self._output.logs / f'{self.spec.name}.log'}"
            )

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """End it: ask, wait, and kill it when it takes too long or the operator is in a hurry."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(Exception):  # Nothing may keep a child from being ended.
                await asyncio.wait_for(self.spec.finish(), self.spec.stop_seconds)
            self._signal(signal.SIGTERM)
            hurried = asyncio.create_task(hurry.wait())
            await asyncio.wait(
                {self._life, hurried}, timeout=self.spec.stop_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            hurried.cancel()
            if not self._life.done():
                self._output.say(f"{self.spec.name} does not end; killing it")
                self._signal(signal.SIGKILL)
        await self._life

    def _signal(self, number: signal.Signals) -> None:
        """Signal the child, and when killing also what it started: it leads a session of its own."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    async def _live(self) -> None:
        """Start it again and again until it is to stop, or never came up."""
        pause, deaths = PAUSE_SECONDS_MIN, 0
        was_ready = False
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._live_once()
            if self._stopping.is_set():
                return
            was_ready = was_ready or self.ready.is_set()
            self.ready.clear()
            lived = time.monotonic() - began
            deaths, pause = (1, PAUSE_SECONDS_MIN) if lived > LIVED_SECONDS else (deaths + 1, pause)
            self._tell_death(code, lived)
            if not was_ready and deaths >= DEATHS_MAX:
                self.given_up = f"died {deaths} times without answering once"
                return
            self._output.say(f"starting {self.spec.name} again in {pause:.1f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
            self.restarts += 1

    def _tell_death(self, code: int, lived: float) -> None:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        lines = [f"{self.spec.name} {how} after {lived:.1f} s; its last lines:"]
        lines += [f"  | {line}" for line in self._output.last_lines(self.spec.name)]
        self._output.say("\n".join(lines))

    async def _live_once(self) -> int:
        """One life: from start to end; returns the exit status, negative for a signal."""
        process, output, pipe = await self._spawn()
        self._process = process
        with contextlib.suppress(psutil.NoSuchProcess):
            self._mark = ProcessMark.of(process.pid)
        self._changed()
        probing = asyncio.create_task(self._probe())
        reading = asyncio.create_task(self._read(output))
        code = await process.wait()
        # What it had started may live on and hold its sockets and its output; without it they are no use.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.wait({reading}, timeout=DRAIN_SECONDS_MAX)
        pipe.close()
        for task in (reading, probing):
            task.cancel()
        await asyncio.gather(reading, probing, return_exceptions=True)
        self._mark = None
        self._changed()
        return code

    async def _read(self, output: asyncio.StreamReader) -> None:
        """Show and keep what it says, to the last line."""
        with self._output.open_log(self.spec.name) as log:
            while line := await _read_line(output):
                log.write(line)
                self._output.line(self.spec.name, line.decode(errors="replace").rstrip("\n"))

    async def _spawn(
        self,
    ) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader, asyncio.ReadTransport]:
        """Start the child; its output comes through a pipe of ours.

        With asyncio's own pipe the child would not count as ended while anything it started still holds it.
        """
        ours, theirs = os.pipe()
        output = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(ours, "rb", buffering=0)
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *self.spec.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self.spec.environment},
                # A session of its own: Ctrl-C at the terminal reaches the supervisor alone, which then
                # ends the children in order.
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        finally:
            os.close(theirs)
        return process, output, pipe

    async def _probe(self) -> None:
        """Ask until it answers, or until asking shows that it never will."""
        try:
            while not await self.spec.is_ready():
                await asyncio.sleep(POLL_SECONDS)
        except OperationError as error:
            self.given_up = f"is not what is needed: {error}"
            self._stopping.set()
            self._signal(signal.SIGTERM)
            return
        self.ready.set()
        self._changed()


class Supervisor:
    """Children in the order in which they were started."""

    def __init__(self, output: Output, changed: Callable[[], None]) -> None:
        self.hurry = asyncio.Event()
        """Set when the operator asks a second time: the children are killed."""
        self._output = output
        self._changed = changed
        self._children: list[Child] = []

    def start(self, spec: ChildSpec) -> Child:
        """Start a child and keep it running."""
        child = Child(spec, self._output, self._changed)
        self._children.append(child)
        return child

    def entries(self) -> tuple[ChildEntry, ...]:
        """What the roster says of the children, in the order in which they are to end."""
        return tuple(child.entry() for child in reversed(self._children))

    async def stop(self) -> None:
        """End all children, the last started first, one after the other."""
        while self._children:
            child = self._children[-1]
            self._output.say(f"stopping {child.spec.name}")
            await child.stop(hurry=self.hurry)
            self._children.pop()
            self._changed()


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """One line; one that is too long comes in pieces instead of ending the child's output."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as overrun:
        return await stream.read(max(overrun.consumed, 1))


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In the new child: end when the supervisor dies, also by kill -9 (on macOS the guardian does it)."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
