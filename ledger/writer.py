"""Writer: the one thread that decides and commits.

Whatever arrived during the last commit is the next group (group commit), up to
8,189 events. A group is: expire what is due, look up the ids that it names,
decide every request in order on the state in memory, append the rows in one
database transaction, and only then answer.

Crash-safety. The state in memory runs ahead of the journal only between the
decision and the commit, and nobody sees it then. If the process dies, nothing
was answered and the next start reads what the journal holds. If the *commit*
fails in a way that leaves its outcome open (connection cut, server died), the
state is dropped, the lock taken again, the state reloaded, and the batch's
sequence looked up: if the journal has our hash there, the answers stand; if
not, the batch is not there and never will be, since the lock was free only when
the old session had ended, and the same requests are decided anew. Ids make that
safe in any case.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

import psycopg
import structlog

from foundation.clock import Clock
from ledger import state_machine
from ledger.commands import (
    Command,
    CreateAccounts,
    CreateTransfers,
    Creation,
    FindHead,
    Lookup,
    LookupAccounts,
)
from ledger.contract import BATCH_MAX
from ledger.decisions import decide_request
from ledger.draft import Draft
from ledger.id_filter import IDFilter
from ledger.interface import LedgerBusy, LedgerUnavailable
from ledger.journal import Batch, Head, Journal, seal
from ledger.reader import AccountHead
from ledger.recovery import load_head, load_ids, load_state
from ledger.state import State
from ledger.stored import load_known, load_transfer_timestamps

log = structlog.get_logger()

QUEUE_EVENTS_MAX = 32 * BATCH_MAX
"""Most events that wait; above it callers are told to come back."""
IDLE_SECONDS = 0.05
"""How often an idle writer looks whether something has expired."""
LOCK_RETRY_SECONDS = 0.1
"""How often a standby asks for the lock."""
OUTAGE_SECONDS = 5.0
"""How long callers wait for a lost database before they are told so."""


class Phase(Enum):
    """Where the writer stands."""

    STARTING = "starting"
    """Connecting to the database."""
    STANDBY = "standby"
    """Another engine holds the lock; this one waits for it."""
    SERVING = "serving"
    """It decides and commits."""
    STOPPED = "stopped"
    """It has ended, on request or because an invariant is broken."""


class Writer:
    """The thread, its queue, and the state that only it touches."""

    def __init__(
        self, database_url: str, clock: Clock, *, open_journal: Callable[[str], Journal] = Journal.open
    ) -> None:
        self.phase = Phase.STARTING
        self.failure: BaseException | None = None
        self.head = Head()
        self._url = database_url
        self._clock = clock
        self._open_journal = open_journal
        self._journal: Journal | None = None
        self._state = State()
        self._ids = IDFilter()
        self._queue: deque[Command] = deque()
        self._queued_events = 0
        self._wake = threading.Condition()
        self._in_hand: list[Command] = []
        self._commit_in_doubt = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, give the lock back, end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join()

    def check(self) -> None:
        """Raise what stopped the writer, if it has stopped."""
        if self.phase is Phase.STOPPED:
            raise self.failure or LedgerUnavailable("The ledger has stopped.", outcome_unknown=False)

    def submit(self, command: Command) -> None:
        """Queue a command; ``LedgerBusy`` when the queue is full, nothing is done then."""
        size = _size(command)
        with self._wake:
            if self._stopping or self.phase is Phase.STOPPED:
                raise LedgerUnavailable("The ledger is stopping.", outcome_unknown=False)
            if self.phase is Phase.STANDBY:
                raise LedgerUnavailable("This engine is a standby.", outcome_unknown=False)
            if self._queued_events and self._queued_events + size > QUEUE_EVENTS_MAX:
                raise LedgerBusy(retry_seconds=1)
            self._queue.append(command)
            self._queued_events += size
            self._wake.notify_all()

    def _run(self) -> None:
        try:
            if self._acquire():
                self._serve()
        # The thread's end must reach every caller, whatever ended it: a broken
        # invariant, a server that could forget commits, or a bug.
        except BaseException as error:  # noqa: BLE001
            self.failure = error
            log.critical("ledger_stopped", error=f"{type(error).__name__}: {error}")
        finally:
            with self._wake:
                self.phase = Phase.STOPPED
            self._refuse_group(outcome_unknown=True)
            self._fail_queued("The ledger has stopped.")
            if self._journal is not None:
                self._journal.close()

    def _serve(self) -> None:
        while True:
            group, last = self._take_group()
            self._process(group)
            if last:
                return

    def _take_group(self) -> tuple[list[Command], bool]:
        """The next group, and whether it is the last one; empty when something may expire."""
        with self._wake:
            if not self._queue and not self._stopping:
                self._wake.wait(IDLE_SECONDS)
            group: list[Command] = []
            events = 0
            while self._queue:
                size = _size(self._queue[0])
                if group and events + size > BATCH_MAX:
                    break
                group.append(self._queue.popleft())
                events += size
            self._queued_events -= events
            return group, self._stopping and not self._queue

    def _process(self, group: list[Command]) -> None:
        self._in_hand = group
        creations = [c for c in group if isinstance(c, CreateAccounts | CreateTransfers)]
        deadline = time.monotonic() + OUTAGE_SECONDS
        answers: list[Any] | None = None
        while answers is None:
            try:
                answers = self._decide_and_commit(creations)
            except psycopg.OperationalError as error:
                # Nothing was sent to be committed yet; the state is dropped all
                # the same, since a decided group may have changed it.
                log.warning("ledger_database_lost", error=str(error).strip())
                self._acquire()
            if answers is None and (self._stopping or time.monotonic() > deadline):
                self._refuse_group(outcome_unknown=False)
                return
            if answers is None and all(command.answer.done() for command in group):
                # Everybody was told of an outage; nobody waits for this group.
                return
        for creation, answer in zip(creations, answers, strict=True):
            _resolve(creation, answer)
        for command in group:
            if isinstance(command, LookupAccounts | FindHead):
                _resolve(command, self._look_up(command))
        self._in_hand = []

    def _decide_and_commit(self, creations: list[Creation]) -> list[Any] | None:
        """Decide a group and make it durable; None when it is certain that nothing was stored."""
        journal = self._journal
        if journal is None:
            return None
        draft = Draft()
        answers = self._decide(journal, draft, creations)
        if draft.is_empty:
            return answers
        batch = seal(self.head, draft, self._state.last_timestamp)
        try:
            journal.append(batch)
        except psycopg.OperationalError as error:
            return answers if self._is_stored_after_all(batch, error) else None
        self.head = batch.head
        return answers

    def _decide(self, journal: Journal, draft: Draft, creations: list[Creation]) -> list[Any]:
        now_ns = self._clock.now_ns()
        state, ids = self._state, self._ids
        while state_machine.sweep_expired(state, draft, now_ns):
            pass
        answers: list[Any] = []
        for creation in creations:
            if isinstance(creation, CreateAccounts):
                load_transfer_timestamps(journal.connection, draft, creation.events)
                answers.append(state_machine.create_accounts(state, draft, now_ns, creation.events))
            else:
                load = partial(load_known, journal.connection, state, draft)
                answers.append(decide_request(state, draft, ids, now_ns, creation.events, load))
        state.accounts.flush()
        return answers

    def _is_stored_after_all(self, batch: Batch, error: psycopg.Error) -> bool:
        """Find out whether a commit that broke off is in the journal.

        Until the lock is ours again the old session may still be committing, so
        nothing is concluded before ``_acquire`` has returned. Callers who cannot
        wait that long are told that the outcome is unknown.
        """
        log.warning("ledger_commit_unknown", sequence=batch.head.sequence, error=str(error).strip())
        self._commit_in_doubt = True
        try:
            if not self._acquire():
                self._refuse_group(outcome_unknown=True)
                return False
            assert self._journal is not None
            return self._journal.stored_hash(batch.head.sequence) == batch.head.hash
        finally:
            self._commit_in_doubt = False

    def _acquire(self) -> bool:
        """Connect, take the lock, load the state; False when asked to stop meanwhile.

        Waits as long as it takes. Callers do not: after ``OUTAGE_SECONDS``, or
        when another engine has taken over, they are told.
        """
        began = time.monotonic()
        while not self._stopping:
            try:
                if self._take_over():
                    return True
            except psycopg.OperationalError as error:
                log.warning("ledger_waits_for_database", error=str(error).strip())
                if time.monotonic() - began > OUTAGE_SECONDS:
                    self._refuse_group(outcome_unknown=self._commit_in_doubt)
                    self._fail_queued("The ledger's database does not answer.")
            self._pause(LOCK_RETRY_SECONDS)
        return False

    def _take_over(self) -> bool:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        journal = self._open_journal(self._url)
        try:
            while not journal.try_lock():
                self._enter_standby()
                if self._pause(LOCK_RETRY_SECONDS):
                    journal.close()
                    return False
            self.head = load_head(journal.connection)
            self._state = load_state(journal.connection, self.head)
            self._ids = load_ids(journal.connection)
        except BaseException:
            journal.close()
            raise
        self._journal = journal
        with self._wake:
            self.phase = Phase.SERVING
        return True

    def _enter_standby(self) -> None:
        with self._wake:
            if self.phase is not Phase.STANDBY:
                log.info("ledger_standby")
                self.phase = Phase.STANDBY
        self._refuse_group(outcome_unknown=self._commit_in_doubt)
        self._fail_queued("Another engine has taken over.")

    def _pause(self, seconds: float) -> bool:
        with self._wake:
            if not self._stopping:
                self._wake.wait(seconds)
            return self._stopping

    def _look_up(self, command: Lookup) -> Any:
        accounts = self._state.accounts
        if isinstance(command, LookupAccounts):
            found = (accounts.to_account(i) for i in command.ids)
            return [account for account in found if account is not None]
        account = accounts.get(command.account_id)
        return account and AccountHead(account.slot, account.last_transfer, account.flags)

    def _fail_queued(self, detail: str) -> None:
        """Tell everybody who waits in the queue; their requests were never looked at."""
        with self._wake:
            commands = list(self._queue)
            self._queue.clear()
            self._queued_events = 0
        for command in commands:
            _refuse(command, LedgerUnavailable(detail, outcome_unknown=False))

    def _refuse_group(self, *, outcome_unknown: bool) -> None:
        """Tell the callers of the group in hand that it could not be finished in time."""
        for command in self._in_hand:
            _refuse(
                command,
                LedgerUnavailable("The ledger's database does not answer.", outcome_unknown=outcome_unknown),
            )


def _size(command: Command) -> int:
    return max(len(command.events), 1) if isinstance(command, CreateAccounts | CreateTransfers) else 1


def _resolve(command: Command, answer: Any) -> None:
    # A caller that has gone away cancelled its future; its request stands.
    with contextlib.suppress(Exception):
        command.answer.set_result(answer)


def _refuse(command: Command, error: LedgerUnavailable) -> None:
    with contextlib.suppress(Exception):
        command.answer.set_exception(error)
