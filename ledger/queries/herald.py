"""Herald: tells other processes that something was committed, with NOTIFY on a session of its own.

The payload is the newest timestamp. In the commit itself a NOTIFY would cost a
small batch a fifth of its time once somebody listens; after it, and only so often,
it costs the writer nothing. A process that missed one, or was not there, finds
everything by its position: the word is to wake it, not to tell it what happened.
"""

from __future__ import annotations

import threading

import psycopg
import structlog

from foundation.postgres import sync_url
from ledger.archive import Head

log = structlog.get_logger()

CHANNEL = "nugpay_ledger"
"""``LISTEN nugpay_ledger`` hears of every commit, in any session of the ledger's database."""
PAUSE_SECONDS = 0.02
"""At least so long between two words; commits in between are told together."""
RETRY_SECONDS = 1.0
"""Pause after the session was lost."""


class Herald:
    """The thread; ``tell`` is called by the writer after every commit."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._newest = 0
        self._news = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-herald", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def tell(self, head: Head) -> None:
        """Something was committed; costs nothing while the last word is not out."""
        self._newest = head.timestamp
        if not self._news.is_set():
            self._news.set()

    def stop(self) -> None:
        """Say the last word and end."""
        self._stop.set()
        self._news.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            # A standby has nothing to say, and needs no session.
            self._news.wait()
            if not self._newest:
                continue
            try:
                with psycopg.connect(
                    sync_url(self._url),
                    autocommit=True,
                    connect_timeout=5,
                    application_name="nugpay-ledger-herald",
                    # A word that a crash takes back told of what is durable all the same.
                    options="-c synchronous_commit=off",
                ) as connection:
                    self._serve(connection)
            except psycopg.OperationalError as error:
                # The writer finds out by itself whether the server is gone.
                log.warning("ledger_herald_interrupted", error=str(error).strip())
                self._stop.wait(RETRY_SECONDS)

    def _serve(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        told = 0
        while True:
            self._news.wait()
            self._news.clear()
            # What comes from here on sets the bell again.
            newest = self._newest
            if newest != told:
                connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(newest)), prepare=True)
                told = newest
            if self._stop.is_set():
                return
            self._stop.wait(PAUSE_SECONDS)
