"""Read ahead: what is slow to come is read by a thread, while its reader does something else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ReadAhead(Generic[Item]):
    """The items of an iterable, taken from it by a thread, a bounded number of them ahead.

    Begins at once. What the iterable raises is raised where the next item is asked
    for. ``close`` when done, also when not everything was taken.
    """

    def __init__(self, items: Iterable[Item], ahead: int, interrupt: Callable[[], None]) -> None:
        """``interrupt`` makes an iterable that waits for something end soon; called by ``close``."""
        self._items = items
        self._ahead = ahead
        self._interrupt = interrupt
        self._read: deque[Item] = deque()
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._ended = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        with self._changed:
            self._changed.wait_for(lambda: self._read or self._ended)
            if self._read:
                self._changed.notify_all()
                return self._read.popleft()
        if self._failure is not None:
            raise self._failure
        raise StopIteration

    def close(self) -> None:
        """Read no further; the thread has ended when this returns, and what it read from is free."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            is_reading = not self._ended
        try:
            if is_reading:
                self._interrupt()
        finally:
            # A server that cannot be told to stop is one that is gone: reading ends with it.
            self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._read) < self._ahead or self._closed)
                    if self._closed:
                        break
                    self._read.append(item)
                    self._changed.notify_all()
        # Whatever it is, nobody sees it in this thread: it is raised where the next item is asked for.
        except BaseException as error:  # noqa: BLE001
            self._failure = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()
