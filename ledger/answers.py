"""Answers: how what the writer found out gets back to the callers' event loops.

A caller awaits its answer in its own loop; the writer gives many answers at once
and wakes each loop once for all of them, since waking costs more than answering.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Iterable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Answer(Generic[Value]):
    """One caller's answer; made in the caller's loop, given by the writer, once."""

    __slots__ = ("future", "is_given", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Value] = self.loop.create_future()
        self.is_given = False
        """Whether it is on its way or there; only the writer's thread looks."""

    def __await__(self) -> Generator[Any, None, Value]:
        return self.future.__await__()


def give(outcomes: Iterable[tuple[Answer[Any], Any]]) -> None:
    """Give each answer its value or exception, unless it was given before."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for answer, outcome in outcomes:
        if not answer.is_given:
            answer.is_given = True
            by_loop.setdefault(answer.loop, []).append((answer.future, outcome))
    for loop, given in by_loop.items():
        # A loop that is closed has no callers left; their requests stand.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set_all, given)


def _set_all(given: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in given:
        if future.done():
            # Its caller has gone away; the request stands.
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
