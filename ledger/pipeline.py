"""Pipeline: while one group of requests is committed, the next is decided on top of it.

Whatever arrived during the last commit is the next group (group commit). A group
is decided on the state in memory, on top of the group that is still being
committed; its rows go out in one database transaction; its answers, look-ups
included, leave only after that. ``step`` is one turn; a thread calls it for ever
(``writer``), the simulator as often as it likes.

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

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import Any, Protocol

import psycopg
import structlog

from foundation.clock import Clock
from ledger import state_machine
from ledger.account_head import AccountHead
from ledger.answers import give
from ledger.archive import Head
from ledger.archived_requests import refuse_archived
from ledger.checkpoints import Checkpoint
from ledger.columns import TransferColumns
from ledger.commands import (
    Command,
    CreateAccounts,
    CreateTransfers,
    FindHead,
    Inspect,
    Instant,
    LookupAccounts,
    Newest,
    TakeView,
)
from ledger.decisions import TransferRequest, decide_requests
from ledger.draft import Draft
from ledger.intake import Intake
from ledger.interface import LedgerUnavailable, SegmentArchived
from ledger.journal import Batch
from ledger.segments import room_for
from ledger.stored import load_known, load_transfer_timestamps
from ledger.tail import TailSegment
from ledger.tail_view import TailView
from ledger.tenure import Tenure

log = structlog.get_logger()

OUTAGE_SECONDS = 5.0
"""How long callers wait for a lost database before they are told so."""
RETRY_SECONDS = 0.1
"""Pause before a failed group is tried again."""
PIPELINE_EVENTS_MIN = 1024
"""Fewer events that wait are not worth deciding before the commit has ended."""
INLINE_ROWS_MAX = 512
"""A smaller batch is committed by the caller of ``step`` itself: handing it over costs more."""
CONFIRM_SECONDS = 1.0
"""How often an idle engine makes sure that it is still the one."""
UNSEALED_SLOW = 3
"""With so many unsealed segments each step waits a little for the sealing."""
UNSEALED_MAX = 5
"""With so many, callers are told that the ledger is busy."""
SEALING_WAIT_SECONDS = 0.05
"""How long a step waits then."""


class Committer(Protocol):
    """Runs commits, one after the other, while the next group is decided."""

    def submit(self, commit: Callable[[Batch], None], batch: Batch, /) -> Future[None]:
        """Begin a commit."""


@dataclass(slots=True, eq=False)
class Group:
    """Commands that are decided together, their answers, and what is to be stored."""

    commands: list[Command]
    answers: list[Any]
    draft: Draft
    batch: Batch | None = None
    checkpoint: Checkpoint | None = None
    commit: Future[None] | None = None


class Pipeline:
    """The turn of deciding, committing and answering; one thread at a time may use it."""

    def __init__(
        self,
        clock: Clock,
        intake: Intake,
        committer: Committer,
        acquire: Callable[[], Tenure | None],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stored_head = Head()
        """The newest batch that is committed."""
        self.tenure: Tenure | None = None
        self.tenures = 0
        """How often the lock was taken."""
        self.in_doubt = False
        """Whether the outcome of a commit is not known."""
        self.on_stored: Callable[[Head], None] = lambda _: None
        """Told of every newest batch once readers can see it; must not wait."""
        self.on_begun: Callable[[], None] = lambda: None
        """Told when the lock is held and everything that is loaded stands in its place."""
        self._clock = clock
        self._intake = intake
        self._committer = committer
        self._acquire = acquire
        self._elapsed = elapsed
        self._unfinished: list[Group] = []
        """Groups whose callers wait: the one being committed, then the one decided on top."""
        self._committing: Group | None = None
        self._confirmed = elapsed()
        self._expected = 1
        """How many callers there were when some were last answered, those who waited included."""

    def begin(self) -> bool:
        """Hold the lock with everything loaded; False when asked to end meanwhile."""
        if self.tenure is not None:
            self.tenure.close()
            self.tenure = None
        self.tenure = self._acquire()
        if self.tenure is not None:
            self.tenures += 1
            self.stored_head = self.tenure.head
            self.on_begun()
            self.on_stored(self.stored_head)
        return self.tenure is not None

    def step(self, wait_seconds: float) -> bool:
        """One turn: take what waits, decide it, commit it; False when everything is done after a close."""
        closing = self._intake.is_closing
        commands: list[Command] = []
        try:
            if self._committing is not None and self._intake.waiting_events < PIPELINE_EVENTS_MIN:
                # Few wait: the end of the commit brings more, and one large
                # group costs less than two small ones.
                self._finish()
            self._slow_down()
            commands = self._intake.take(0 if self._committing else wait_seconds, self._expected)
            if not commands and self._committing is None and closing:
                return False
            decided = self._decide(commands, self._committing)
            if self._committing is not None and _is_large(decided):
                self._finish(decided)
            else:
                self._finish()
                self._store(decided)
        except psycopg.OperationalError as error:
            log.warning("ledger_database_lost", error=str(error).strip())
            self._recover(commands)
            # Whoever was asked to end while it waited for the lock has ended.
            return self.tenure is not None
        except SegmentArchived as error:
            # A file that was there when it was asked for is gone: what is half decided is dropped.
            give((command.answer, error) for command in commands)
            self._recover(commands)
            return self.tenure is not None
        return True

    def close(self) -> None:
        """Give the lock back."""
        if self.tenure is not None:
            self.tenure.close()

    def refuse_unfinished(self, detail: str, *, outcome_unknown: bool) -> None:
        """Tell the callers of unfinished groups; the groups themselves go on."""
        for group in self._unfinished:
            error = LedgerUnavailable(detail, outcome_unknown=outcome_unknown)
            give((command.answer, error) for command in group.commands)

    def _slow_down(self) -> None:
        """Let the sealing catch up: the tail is memory, and must not grow without limit."""
        tenure = self.tenure
        assert tenure is not None
        tenure.sealing.check()
        unsealed = len(tenure.tail.segments)
        if not tenure.opens_next:
            # A segment that is far beyond its size counts for what it holds: the next
            # one cannot be opened before its table is there. Once it can, a batch must
            # come that does it, or nothing would ever be sealed.
            unsealed = max(unsealed, len(tenure.tail) // tenure.segment_rows)
        self._intake.hold_creations(unsealed >= UNSEALED_MAX)
        if unsealed >= UNSEALED_SLOW:
            tenure.sealing.wait(SEALING_WAIT_SECONDS)

    def _decide(self, commands: list[Command], committing: Group | None) -> Group:
        """Decide a group in memory, on top of the one that is being committed."""
        tenure = self.tenure
        assert tenure is not None
        now_ns = self._clock.now_ns()
        draft = Draft(in_flight=committing.draft if committing is not None else None)
        group = Group(commands, [], draft)
        state = tenure.state
        tenure.open_segment_if_full()
        while state_machine.sweep_expired(state, draft, now_ns):
            pass
        load = partial(load_known, tenure.lookups, tenure.tail, state, draft)
        for kind, run in groupby(commands, key=type):
            if kind is CreateTransfers:
                sizes: list[int] = []
                requests: list[TransferRequest] = []
                for command in run:
                    assert isinstance(command, CreateTransfers)
                    sizes.append(len(command.requests))
                    requests += command.requests
                refused = refuse_archived(tenure, draft, requests)
                accepted = [request for request, error in zip(requests, refused, strict=True) if not error]
                decided = iter(decide_requests(state, draft, tenure.ids, now_ns, accepted, load))
                outcomes = (next(decided) if error is None else error for error in refused)
                group.answers += [list(islice(outcomes, size)) for size in sizes]
            else:
                group.answers += [self._decide_other(tenure, draft, now_ns, command) for command in run]
        state.flush()
        if not draft.is_empty:
            group.batch = tenure.seal_batch(draft)
            group.checkpoint = tenure.take_checkpoint(group.batch)
        self._unfinished.append(group)
        return group

    def _decide_other(self, tenure: Tenure, draft: Draft, now_ns: int, command: Command) -> Any:
        """New accounts, or a look-up as of its place in the order.

        A look-up leaves after the commit like everything else, so that nobody sees
        what could still vanish.
        """
        state = tenure.state
        if isinstance(command, CreateAccounts):
            try:
                load_transfer_timestamps(tenure.lookups, tenure.tail, draft, command.events)
            except SegmentArchived as error:
                return error
            return state_machine.create_accounts(state, draft, now_ns, command.events)
        if isinstance(command, LookupAccounts):
            found = (state.accounts.to_account(i) for i in command.ids)
            return [account for account in found if account is not None]
        if isinstance(command, TakeView):
            # Taken when the group is answered: its own rows are in the tail then.
            return None
        if isinstance(command, Inspect):
            state.flush()
            try:
                return command.ask(state, _instant(tenure, draft))
            # A question changes nothing: one that fails is its caller's, and nobody else's.
            except Exception as error:  # noqa: BLE001
                return error
        assert isinstance(command, FindHead)
        account = state.accounts.get(command.account_id)
        return account and AccountHead(account.slot, account.last_transfer, account.flags)

    def _newest(self) -> Newest:
        assert self.tenure is not None
        view = TailView(self.tenure.tail, self.tenure.state.accounts)
        return Newest(view, self.stored_head.timestamp, self.stored_head.sequence)

    def _store(self, group: Group) -> None:
        """Commit a group, or begin to."""
        tenure, batch = self.tenure, group.batch
        assert tenure is not None
        if batch is None:
            if group.commands or self._elapsed() - self._confirmed > CONFIRM_SECONDS:
                # These answers come from memory alone, which is the truth only
                # while the lock is ours: another engine may have taken over. An
                # idle engine asks now and then, so that it knows where it stands.
                tenure.journal.confirm_lock()
                self._confirmed = self._elapsed()
            self._answer(group)
        elif _is_large(group):
            group.commit = self._committer.submit(tenure.journal.append, batch)
            self._committing = group
        else:
            tenure.journal.append(batch)
            self._answer(group)

    def _finish(self, following: Group | None = None) -> None:
        """Wait for a commit, and answer; ``psycopg.OperationalError`` leaves its outcome open.

        The commit of a large group that follows is begun before that: what is
        answered then is stored, and the server need not wait for us.
        """
        group = self._committing
        if group is None:
            return
        assert group.commit is not None
        group.commit.result()
        self._committing = None
        if following is not None:
            self._store(following)
        self._answer(group)

    def _answer(self, group: Group) -> None:
        """Everything of a group is stored: show it to readers, and tell its callers."""
        if group.batch is not None:
            self._extend_tail(group, group.batch)
            # A reader takes the head first and the tail then: whatever the head
            # counts must be in the tail already.
            self.stored_head = group.batch.head
            self.on_stored(self.stored_head)
        self._expected = len(group.commands) + self._intake.waiting_callers
        give(
            (command.answer, self._newest() if isinstance(command, TakeView) else answer)
            for command, answer in zip(group.commands, group.answers, strict=True)
        )
        # The draft may be what a later one is decided on top of; what is before
        # it is stored and needs no memory.
        group.draft.in_flight = None
        self._unfinished.remove(group)

    def _extend_tail(self, group: Group, batch: Batch) -> None:
        tenure = self.tenure
        assert tenure is not None
        tail = tenure.tail
        if batch.opens_segment:
            full = tail.open
            room = room_for(tenure.segment_rows)
            tail.begin(TailSegment(batch.segment, batch.head.sequence, room))
            tenure.sealing.seal(full)
        for part in group.draft.all_parts():
            if isinstance(part, TransferColumns):
                tail.open.append(part)
            else:
                tail.open.append_rows(part)
        tail.open.last_sequence = batch.head.sequence
        if group.checkpoint is not None:
            tenure.sealing.keep(group.checkpoint)

    def _recover(self, commands: list[Command]) -> None:
        """The database was lost: find out what is stored, and decide the rest anew.

        ``commands`` may have been on their way into a group when it happened.
        """
        began = self._elapsed()
        if all(group.commands is not commands for group in self._unfinished) and commands:
            self._unfinished.append(Group(commands, [], Draft()))
        self._committing = None
        for group in self._unfinished:
            if group.commit is not None and not group.commit.cancel():
                # The old session must not be used by two threads.
                group.commit.exception()
        self.in_doubt = any(group.batch is not None for group in self._unfinished)
        while self._unfinished:
            if not self.begin():
                self.refuse_unfinished("The ledger is stopping.", outcome_unknown=self.in_doubt)
                return
            try:
                self._settle()
            except psycopg.OperationalError as error:
                log.warning("ledger_database_lost", error=str(error).strip())
                # A server that says that it has no room has aborted the commit.
                self.in_doubt &= not isinstance(error, psycopg.errors.DiskFull)
                # It would say so again at once, and each try loads everything.
                self._intake.pause(RETRY_SECONDS)
                if self._elapsed() - began > OUTAGE_SECONDS:
                    self.refuse_unfinished("The ledger's database fails.", outcome_unknown=self.in_doubt)

    def _settle(self) -> None:
        """Under a new tenure: answer the groups that are stored, decide and store the others.

        Only the first group can be stored, since the next was never sent before
        it was finished.
        """
        tenure = self.tenure
        assert tenure is not None
        first = self._unfinished[0]
        if first.batch is not None:
            stored = tenure.journal.stored_hash(first.batch.head.sequence)
            if stored == first.batch.head.hash:
                log.info("ledger_commit_found", sequence=first.batch.head.sequence)
                # The new tenure has loaded its rows: only its callers are left to be told.
                first.batch = None
                self._answer(first)
        self.in_doubt = False
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
                self.in_doubt = True
                tenure.journal.append(decided.batch)
                self.in_doubt = False
            else:
                # As in ``_store``: the lock may be gone again already.
                tenure.journal.confirm_lock()
            self._answer(decided)
            waiting.pop(0)
        self._unfinished = []


def _instant(tenure: Tenure, draft: Draft) -> Instant:
    """Where a group stands in the order of everything, in the middle of being decided."""
    if draft.is_empty:
        # Events that were refused have taken timestamps too, but are in no batch.
        return Instant(tenure.head.timestamp, tenure.head.sequence)
    return Instant(tenure.state.last_timestamp, tenure.head.sequence + 1)


def _is_large(group: Group) -> bool:
    """Whether committing it takes so long that the next group is better decided meanwhile."""
    batch = group.batch
    return batch is not None and batch.transfer_count + batch.account_count > INLINE_ROWS_MAX
