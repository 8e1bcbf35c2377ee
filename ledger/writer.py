"""Writer: the one thread that decides, while the batch before commits.

Whatever arrived during the last commit is the next group (group commit). A group
is decided on the state in memory, on top of the group that is still being
committed; its rows go out in one database transaction; its answers, look-ups
included, leave only after that.

Crash-safety. The state in memory runs ahead of the journal, and nobody sees it
before it is stored. If the process dies, what was not committed was not answered
either. If the *commit* fails in a way that leaves its outcome open (connection
cut, server died), everything in memory is dropped, the lock taken again, the
state loaded anew, and the batch's sequence looked up: if the journal has our hash
there, the answers stand; if not, the batch is not there and never will be, and
the same requests are decided again, as is the group that was decided on top of
it. Ids make that safe in any case.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import groupby
from typing import Any

import psycopg
import structlog

from foundation.clock import Clock
from ledger import state_machine
from ledger.answers import give
from ledger.commands import (
    Command,
    CreateAccounts,
    CreateTransfers,
    FindHead,
    LookupAccounts,
)
from ledger.decisions import decide_requests
from ledger.draft import Draft
from ledger.intake import Intake
from ledger.interface import LedgerUnavailable
from ledger.journal import Batch, Head, Journal, seal
from ledger.reader import AccountHead
from ledger.state import State
from ledger.stored import load_known, load_transfer_timestamps
from ledger.tenure import Tenure, begin

log = structlog.get_logger()

IDLE_SECONDS = 0.05
"""How often an idle writer looks whether something has expired."""
LOCK_RETRY_SECONDS = 0.1
"""How often a standby asks for the lock."""
OWN_SESSION_SECONDS = 1.0
"""How long our own broken session may take to end before it must be another engine's lock."""
OWN_SESSION_RETRY_SECONDS = 0.01
"""How often we ask for the lock meanwhile."""
OUTAGE_SECONDS = 5.0
"""How long callers wait for a lost database before they are told so."""
PIPELINE_EVENTS_MIN = 1024
"""Fewer events that wait are not worth deciding before the commit has ended."""
INLINE_ROWS_MAX = 512
"""A smaller batch is committed by the writer itself: handing it over costs more."""


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


@dataclass(slots=True, eq=False)
class _Group:
    """Commands that are decided together, their answers, and what is to be stored."""

    commands: list[Command]
    answers: list[Any]
    draft: Draft
    batch: Batch | None = None
    commit: Future[None] | None = None


class Writer:
    """The thread, and the state that only it touches."""

    def __init__(
        self, database_url: str, clock: Clock, *, open_journal: Callable[[str], Journal] = Journal.open
    ) -> None:
        self.phase = Phase.STARTING
        self.failure: BaseException | None = None
        self.stored_head = Head()
        """The newest batch that is committed."""
        self._url = database_url
        self._clock = clock
        self._open_journal = open_journal
        self._intake = Intake()
        self._tenure: Tenure | None = None
        self._unfinished: list[_Group] = []
        """Groups whose callers wait: the one being committed, then the one decided on top."""
        self._in_doubt = False
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="ledger-committer")
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    @property
    def state(self) -> State:
        """The state in memory; another thread may look at it only when the writer has stopped."""
        return self._tenure.state if self._tenure is not None else State()

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, give the lock back, end the thread."""
        self._intake.close()
        self._thread.join()

    def check(self) -> None:
        """Raise what stopped the writer, if it has stopped."""
        if self.phase is Phase.STOPPED:
            raise self.failure or LedgerUnavailable("The ledger has stopped.", outcome_unknown=False)

    def submit(self, command: Command) -> None:
        """Queue a command; see :meth:`ledger.intake.Intake.submit`."""
        self._intake.submit(command)

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
            self.phase = Phase.STOPPED
            self._intake.turn_away("The ledger has stopped.", from_now_on=True)
            self._refuse_unfinished("The ledger has stopped.", outcome_unknown=True)
            self._committer.shutdown()
            if self._tenure is not None:
                self._tenure.close()

    def _serve(self) -> None:
        """Decide the next group while the one before commits, until asked to end."""
        committing: _Group | None = None
        while True:
            closing = self._intake.is_closing
            commands: list[Command] = []
            try:
                if committing is not None and self._intake.waiting_events < PIPELINE_EVENTS_MIN:
                    # Few wait: the end of the commit brings more, and one large
                    # group costs less than two small ones.
                    self._finish(committing)
                    committing = None
                commands = self._intake.take(0 if committing else IDLE_SECONDS)
                if not commands and committing is None and closing:
                    return
                decided = self._decide(commands, committing)
                if committing is not None:
                    self._finish(committing)
                committing = self._store(decided)
            except psycopg.OperationalError as error:
                log.warning("ledger_database_lost", error=str(error).strip())
                self._recover(commands)
                committing = None

    def _decide(self, commands: list[Command], committing: _Group | None) -> _Group:
        """Decide a group in memory, on top of the one that is being committed."""
        tenure = self._tenure
        assert tenure is not None
        now_ns = self._clock.now_ns()
        draft = Draft(in_flight=committing.draft if committing is not None else None)
        group = _Group(commands, [], draft)
        state, connection = tenure.state, tenure.lookups.connection
        while state_machine.sweep_expired(state, draft, now_ns):
            pass
        load = partial(load_known, connection, state, draft)
        for kind, run in groupby(commands, key=type):
            if kind is CreateTransfers:
                requests = [command.events for command in run if isinstance(command, CreateTransfers)]
                group.answers += decide_requests(state, draft, tenure.ids, now_ns, requests, load)
            else:
                group.answers += [self._decide_other(tenure, draft, now_ns, command) for command in run]
        state.flush()
        if not draft.is_empty:
            group.batch = seal(tenure.head, draft, state.last_timestamp)
            tenure.head = group.batch.head
        self._unfinished.append(group)
        return group

    def _decide_other(self, tenure: Tenure, draft: Draft, now_ns: int, command: Command) -> Any:
        """New accounts, or a look-up as of its place in the order.

        A look-up leaves after the commit like everything else, so that nobody sees
        what could still vanish.
        """
        state = tenure.state
        if isinstance(command, CreateAccounts):
            load_transfer_timestamps(tenure.lookups.connection, draft, command.events)
            return state_machine.create_accounts(state, draft, now_ns, command.events)
        if isinstance(command, LookupAccounts):
            found = (state.accounts.to_account(i) for i in command.ids)
            return [account for account in found if account is not None]
        assert isinstance(command, FindHead)
        account = state.accounts.get(command.account_id)
        return account and AccountHead(account.slot, account.last_transfer, account.flags)

    def _store(self, group: _Group) -> _Group | None:
        """Commit a group, or begin to; the group if it is still being committed."""
        tenure, batch = self._tenure, group.batch
        assert tenure is not None
        if batch is None:
            if group.commands:
                # These answers come from memory alone, which is the truth only
                # while the lock is ours: another engine may have taken over.
                tenure.journal.confirm_lock()
            self._answer(group)
            return None
        rows = batch.transfer_count + batch.account_count
        if rows <= INLINE_ROWS_MAX:
            tenure.journal.append(batch)
            self._answer(group)
            return None
        group.commit = self._committer.submit(tenure.journal.append, batch)
        return group

    def _finish(self, group: _Group) -> None:
        """Wait for a commit, and answer; ``psycopg.OperationalError`` leaves its outcome open."""
        assert group.commit is not None
        group.commit.result()
        self._answer(group)

    def _answer(self, group: _Group) -> None:
        if group.batch is not None:
            self.stored_head = group.batch.head
        give(zip((command.answer for command in group.commands), group.answers, strict=True))
        # The draft may be what a later one is decided on top of; what is before
        # it is stored and needs no memory.
        group.draft.in_flight = None
        self._unfinished.remove(group)

    def _recover(self, commands: list[Command]) -> None:
        """The database was lost: find out what is stored, and decide the rest anew.

        ``commands`` may have been on their way into a group when it happened.
        """
        began = time.monotonic()
        if all(group.commands is not commands for group in self._unfinished) and commands:
            self._unfinished.append(_Group(commands, [], Draft()))
        for group in self._unfinished:
            if group.commit is not None and not group.commit.cancel():
                # The old session must not be used by two threads.
                group.commit.exception()
        self._in_doubt = any(group.batch is not None for group in self._unfinished)
        while self._unfinished:
            if not self._acquire():
                self._refuse_unfinished("The ledger is stopping.", outcome_unknown=self._in_doubt)
                return
            try:
                self._settle()
            except psycopg.OperationalError as error:
                log.warning("ledger_database_lost", error=str(error).strip())
                if time.monotonic() - began > OUTAGE_SECONDS:
                    self._refuse_unfinished("The ledger's database fails.", outcome_unknown=self._in_doubt)

    def _settle(self) -> None:
        """Under a new tenure: answer the groups that are stored, decide and store the others.

        Only the first group can be stored, since the next was never sent before
        it was finished.
        """
        assert self._tenure is not None
        first = self._unfinished[0]
        if first.batch is not None:
            stored = self._tenure.journal.stored_hash(first.batch.head.sequence)
            if stored == first.batch.head.hash:
                log.info("ledger_commit_found", sequence=first.batch.head.sequence)
                self._answer(first)
        self._in_doubt = False
        waiting, self._unfinished = self._unfinished, []
        for group in waiting:
            group.batch = None
        while waiting:
            commands = waiting[0].commands
            if all(command.answer.is_given for command in commands):
                # Everybody was told of an outage; nobody waits for this group.
                waiting.pop(0)
                continue
            self._unfinished = list(waiting)
            decided = self._decide(commands, None)
            self._unfinished = [decided, *waiting[1:]]
            if decided.batch is not None:
                assert self._tenure is not None
                self._in_doubt = True
                self._tenure.journal.append(decided.batch)
                self._in_doubt = False
            self._answer(decided)
            waiting.pop(0)
        self._unfinished = []

    def _acquire(self) -> bool:
        """Hold the lock with everything loaded; False when asked to end meanwhile.

        Waits as long as it takes. Callers do not: after ``OUTAGE_SECONDS``, or
        when another engine has taken over, they are told.
        """
        began = time.monotonic()
        own_until_seconds: float | None = None
        if self._tenure is not None:
            self._tenure.close()
            self._tenure = None
            own_until_seconds = began + OWN_SESSION_SECONDS
        while not self._intake.is_closing:
            try:
                self._tenure = begin(
                    self._url, self._open_journal, partial(self._stand_by, own_until_seconds)
                )
            except psycopg.OperationalError as error:
                log.warning("ledger_waits_for_database", error=str(error).strip())
                if time.monotonic() - began > OUTAGE_SECONDS:
                    self._refuse_unfinished(
                        "The ledger's database does not answer.", outcome_unknown=self._in_doubt
                    )
                    self._intake.turn_away("The ledger's database does not answer.", from_now_on=False)
            if self._tenure is not None:
                self.stored_head = self._tenure.head
                self.phase = Phase.SERVING
                self._intake.open_to_callers()
                return True
            self._intake.pause(LOCK_RETRY_SECONDS)
        return False

    def _stand_by(self, own_until_seconds: float | None) -> bool:
        """Another engine holds the lock: send callers there, and wait; whether to give up.

        Until ``own_until_seconds`` it is most likely our own session of before, which the
        server has not ended yet: callers wait with us.
        """
        if own_until_seconds is not None and time.monotonic() < own_until_seconds:
            return self._intake.pause(OWN_SESSION_RETRY_SECONDS)
        if self.phase is not Phase.STANDBY:
            log.info("ledger_standby")
            self.phase = Phase.STANDBY
        self._intake.turn_away("This engine is a standby.", from_now_on=True)
        self._refuse_unfinished("Another engine has taken over.", outcome_unknown=self._in_doubt)
        return self._intake.pause(LOCK_RETRY_SECONDS)

    def _refuse_unfinished(self, detail: str, *, outcome_unknown: bool) -> None:
        """Tell the callers of unfinished groups; the groups themselves go on."""
        for group in self._unfinished:
            error = LedgerUnavailable(detail, outcome_unknown=outcome_unknown)
            give((command.answer, error) for command in group.commands)
