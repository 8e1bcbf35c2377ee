"""Auditor: compares all that an engine decides, stores, answers and loads with the plain ledger.

A group's requests are put to the plain ledger at the moment its batch is durable (or,
where it leaves no trace, when it is about to be answered): with the time that the
engine read when it decided, and in the order of the journal. So it does not matter
how often a group was decided before, on top of what, or by which engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from ledger.columns import TransferColumns
from ledger.commands import CreateAccounts, CreateTransfers, FindHead, LookupAccounts
from ledger.contract import CreateAccountStatus, CreateTransferStatus
from ledger.journal import Batch
from ledger.pipeline import Group, Pipeline
from ledger.rows import TRANSFER_COLUMNS
from ledger.tail_view import TailView
from tests.simulation import state_audit
from tests.simulation.journal_rows import accounts_from, columns_of, expiries_from, failed_from
from tests.simulation.memory_server import MemoryServer, Violation
from tests.simulation.plain_ledger import Event, PlainLedger

TRANSFER_CODES = {status.name.lower(): int(status) for status in CreateTransferStatus}
ACCOUNT_CODES = {status.name.lower(): int(status) for status in CreateAccountStatus}
_NAMES = {code: name for name, code in (ACCOUNT_CODES | TRANSFER_CODES).items()}


@dataclass(eq=False)
class Request:
    """What a client asked, and what is known of it."""

    kind: str
    events: Sequence[Any]
    """Events as tuples, or ids."""
    expected: Any = None
    """What the plain ledger said, once the request is durable."""
    is_settled: bool = False
    is_refused: bool = False
    """Whether its client was told that it is not done and never will be."""
    repeats: int = 0


@dataclass(eq=False)
class Decided:
    """A group as an engine decided it."""

    group: Group
    batch: Batch | None
    now: int
    is_settled: bool = False


@dataclass(eq=False)
class Auditor:
    """The plain ledger beside the engines."""

    ledger: PlainLedger = field(default_factory=PlainLedger)
    counts: Counter[str] = field(default_factory=Counter)
    events: int = 0
    heads: list[tuple[Request, Any]] = field(default_factory=list)
    """Heads of histories that were answered in this group."""
    _by_batch: dict[int, Decided] = field(default_factory=dict)
    _by_group: dict[Pipeline, dict[int, Decided]] = field(default_factory=dict)
    _earlier: dict[Pipeline, dict[int, Decided]] = field(default_factory=dict)
    """Groups of the tenures before."""
    server: MemoryServer = field(init=False)

    def began(self, pipeline: Pipeline) -> None:
        """What was loaded is what is durable."""
        tenure = pipeline.tenure
        assert tenure is not None
        self._earlier.setdefault(pipeline, {}).update(self._by_group.get(pipeline, {}))
        self._by_group[pipeline] = {}
        self.ledger.last = self.server.head.timestamp
        with self.server.faults.suspended():
            state_audit.compare_tenure(self, tenure)
        self.counts["state: loaded"] += 1

    def decided(self, pipeline: Pipeline, group: Group, now_ns: int) -> None:
        """Remember it until it is durable."""
        decided = Decided(group, group.batch, now_ns)
        self._by_group[pipeline][id(group)] = decided
        if group.batch is not None:
            self._by_batch[id(group.batch)] = decided
        if group.draft.in_flight is not None:
            self.counts["commit: on top of another"] += 1
        for part in group.draft.all_parts():
            vectorised = isinstance(part, TransferColumns)
            self.counts["path: vector" if vectorised else "path: exact"] += len(part)

    def stored(self, batch: Batch) -> TransferColumns:
        """A batch is durable: its rows and answers must be the plain ledger's."""
        decided = self._by_batch.pop(id(batch), None)
        if decided is None:
            raise Violation(f"batch {batch.head.sequence} was stored twice, or never decided")
        return self._settle(decided, batch)

    def answering(self, pipeline: Pipeline, group: Group) -> None:
        """A group is about to be answered: it must be durable, or leave no trace."""
        decided = self._by_group[pipeline].pop(id(group), None)
        tenure = pipeline.tenure
        assert tenure is not None
        if decided is None or decided.is_settled:
            # What was decided in an earlier tenure was found in the journal.
            if not all(request_of(command).is_settled for command in group.commands):
                self._find_twin(self._earlier[pipeline].get(id(group)))
            return
        if decided.batch is not None:
            raise Violation(f"batch {decided.batch.head.sequence} is answered before it is durable")
        if group.commands and self.server.lock is not tenure.journal:
            raise Violation("a group is answered from memory without the lock")
        if self.server.lock is tenure.journal:
            self._settle(decided, None)

    def _find_twin(self, decided: Decided | None) -> None:
        """A group is answered as durable that never was: then another engine has stored the very same batch.

        That happens where requests leave no trace beside expiries that are due for
        both. The answers are as of that batch, and so is everything in them.
        """
        batch = None if decided is None else decided.batch
        if batch is None or batch.head not in self.server.heads:
            raise Violation("a group of an earlier tenure is answered that is not durable")
        assert decided is not None
        for command in decided.group.commands:
            request_of(command).is_settled = True
        self.counts["answer: of a twin"] += 1

    def answered(self, pipeline: Pipeline) -> None:
        """Follow the histories whose heads were just told."""
        tenure = pipeline.tenure
        assert tenure is not None
        heads, self.heads = self.heads, []
        if heads:
            view = TailView(tenure.tail, tenure.state.accounts)
            for request, head in heads:
                if head is not None:
                    state_audit.compare_history(self, view, request.events[0], head)

    def _settle(self, decided: Decided, batch: Batch | None) -> TransferColumns:
        ledger, now = self.ledger, decided.now
        marks = _marks(ledger)
        ledger.sweep(now)
        answers = decided.group.answers
        for command, answer in zip(decided.group.commands, answers, strict=True):
            request = request_of(command)
            if request.is_settled:
                raise Violation(f"decided again after it was durable: {request}")
            if request.is_refused:
                raise Violation(f"done after its client was told that it is not: {request}")
            request.is_settled = True
            self._settle_one(now, command, request, answer)
        decided.is_settled = True
        return self._compare_rows(marks, batch)

    def _settle_one(self, now: int, command: Any, request: Request, answer: Any) -> None:
        ledger = self.ledger
        if isinstance(command, CreateTransfers):
            request.expected = ledger.create_transfers(now, request.events)
            statuses = [status for _, status in request.expected]
            (answer,) = answer
            ours = (answer["timestamp"].tolist(), answer["status"].tolist())
            theirs = ([at for at, _ in request.expected], [TRANSFER_CODES[status] for status in statuses])
            self._compare_answers("transfers", request.events, ours, theirs)
            self.counts.update(f"transfer: {status}" for status in statuses)
            for event, status in zip(request.events, statuses, strict=True):
                if status == "created" and event[11] & (event[11] - 1):
                    self.counts.update(pairs_of(event[11]))
        elif isinstance(command, CreateAccounts):
            request.expected = ledger.create_accounts(now, request.events)
            ours = ([r.timestamp for r in answer], [int(r.status) for r in answer])
            statuses = [status for _, status in request.expected]
            theirs = ([at for at, _ in request.expected], [ACCOUNT_CODES[status] for status in statuses])
            self._compare_answers("accounts", request.events, ours, theirs)
            self.counts.update(f"account: {status}" for status in statuses)
        elif isinstance(command, LookupAccounts):
            known = (ledger.accounts.get(i) for i in request.events)
            request.expected = [account.record() for account in known if account is not None]
            same("looked up", request.events, state_audit.records(answer), request.expected)
        elif isinstance(command, FindHead):
            account = ledger.accounts.get(request.events[0])
            request.expected = account and (account.slot, account.last_transfer, account.flags)
            head = answer and (answer.slot, answer.last_transfer, answer.flags)
            same("head", request.events, head, request.expected)
        self.events += len(request.events)
        self.counts[f"request: {request.kind}"] += 1

    def _compare_answers(self, kind: str, events: Sequence[Event], ours: Any, theirs: Any) -> None:
        if ours == theirs:
            return
        for index, event in enumerate(events):
            pair = [(side[0][index], _NAMES.get(side[1][index], side[1][index])) for side in (ours, theirs)]
            if pair[0] != pair[1]:
                raise Violation(
                    f"event {self.events + index} ({kind}, {index} of {len(events)} in its request)\n"
                    f"  {event}\n  ours:             {pair[0]}\n  the plain ledger: {pair[1]}"
                )

    def _compare_rows(self, marks: dict[str, int], batch: Batch | None) -> TransferColumns:
        """The batch holds the rows that the plain ledger has written, in its order."""
        ledger = self.ledger
        rows = {name: getattr(ledger, name)[start:] for name, start in marks.items()}
        if batch is None:
            if any(rows.values()):
                raise Violation(f"nothing is stored of {rows}")
            return TransferColumns.empty()
        columns = TransferColumns.decode(batch.transfers)
        transfers = rows["rows"]
        same("transfers' rows", batch.head.sequence, len(columns), len(transfers))
        for name, ours, theirs in zip(
            TRANSFER_COLUMNS, columns_of(columns), zip(*transfers, strict=True), strict=bool(transfers)
        ):
            if tuple(ours) != theirs and (ours or any(theirs)):
                _tell_column(name, batch, ours, theirs, transfers)
        expected = [
            (a.slot, a.id, a.timestamp, a.ledger, a.code, a.created_flags, *a.user_data)
            for a in rows["slots"]
        ]
        same("accounts' rows", batch.head.sequence, accounts_from(batch.accounts), expected)
        same("expiries' rows", batch.head.sequence, expiries_from(batch.expiries), rows["expiry_rows"])
        same("failed ids' rows", batch.head.sequence, failed_from(batch.failed), rows["failed_rows"])
        counts = (batch.account_count, batch.transfer_count, batch.expiry_count, batch.failed_count)
        same(
            "counts",
            batch.head.sequence,
            counts,
            tuple(len(rows[n]) for n in ("slots", "rows", "expiry_rows", "failed_rows")),
        )
        same("timestamp", batch.head.sequence, batch.head.timestamp, ledger.last)
        ends = (transfers[0][0], transfers[-1][0]) if transfers else (None, None)
        same("range", batch.head.sequence, (batch.transfer_first, batch.transfer_last), ends)
        self.counts["expiry"] += len(rows["expiry_rows"])
        return columns


def request_of(command: Any) -> Request:
    """What a command was made of: the world's answers know it."""
    request: Request = command.answer.request
    return request


def _marks(ledger: PlainLedger) -> dict[str, int]:
    return {name: len(getattr(ledger, name)) for name in ("rows", "slots", "expiry_rows", "failed_rows")}


def _tell_column(
    name: str, batch: Batch, ours: list[int], theirs: Sequence[int], rows: Sequence[Any]
) -> None:
    for index, value in enumerate(theirs):
        if (ours[index] if ours else 0) != value:
            raise Violation(
                f"batch {batch.head.sequence}, row {index} of {len(rows)}, {name}: "
                f"ours {ours[index] if ours else 0}, the plain ledger's {value}\n  {rows[index]}"
            )


def same(what: str, where: Any, ours: Any, theirs: Any) -> None:
    """Raise where they differ."""
    if ours != theirs:
        raise Violation(f"{what} ({where})\n  ours:             {ours}\n  the plain ledger: {theirs}")


def pairs_of(flags: int) -> list[str]:
    """Names of every two flags that are set together."""
    bits = [bit for bit in range(9) if flags >> bit & 1]
    return [f"flags: {1 << low} with {1 << high}" for low, high in combinations(bits, 2)]
