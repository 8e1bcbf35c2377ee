"""Journal: the whole of it is replayed, and every value of every row follows from those before it.

Written apart from the engine: it knows the contract and the journal's form, and
none of the code that decides. Batches are taken some thousand transfers at a
time, all checks over them are masks over columns, and of everything that is wrong
the first place in the journal is named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ledger.archive import GENESIS_HASH
from ledger.checks.accounts import Accounts
from ledger.checks.batches import COUNTS, check_hashes, check_numbers
from ledger.checks.checkpoint import TABLE as CHECKPOINT_TABLE
from ledger.checks.checkpoint import check_checkpoint, decode_checkpoint
from ledger.checks.findings import Finding, FoundWrong, Verdict, shown
from ledger.checks.ids import IDs, StoredFilter
from ledger.checks.marks import StoredMarks
from ledger.checks.pendings import Pendings
from ledger.checks.postings import check_postings
from ledger.checks.row_layouts import ACCOUNTS, BATCHES, EXPIRIES, FAILED, Columns
from ledger.checks.rows import RowStream, Taken, table_rows, transfer_rows
from ledger.checks.segments import check_catalog, check_seal
from ledger.checks.stretch import Stretch
from ledger.checks.tables import JournalTables, read_ahead
from ledger.checks.transfers import check_expiry_rows, check_failed, check_transfers
from ledger.columns import MalformedRows, TransferColumns
from ledger.segments import Segment, table_of

STRETCH_TRANSFERS = 65_536
"""Batches are looked at together until they have so many transfers."""
STRETCH_BATCHES = 8_192
"""And at most so many batches."""

ROWS_MAX = 2**31 - 1
"""More than any table of accounts has."""

Report = Callable[[int], None]
"""Is told how many transfers are checked."""


@dataclass(slots=True, frozen=True)
class Summary:
    """What was checked, and what was found."""

    batches: int
    accounts: int
    transfers: int
    expiries: int
    failed_ids: int
    segments: int
    head_hash: bytes
    finding: Finding | None = None
    """The first wrong row; None when all is well."""


def check_journal(
    tables: JournalTables, report: Report = lambda _: None, *, known_hash: bytes | None = None
) -> Summary:
    """Replay the journal and verify all of it, or up to the first wrong row.

    A journal whose newest batches were taken away without a trace is a sound one:
    ``known_hash``, a head that was noted elsewhere, must be among its batches.
    """
    check = _Check(tables, report, known_hash)
    try:
        check.run()
    except FoundWrong as wrong:
        return check.summary(wrong.finding)
    return check.summary(None)


class _Check:
    """One replay: what was read so far, and the state as of there."""

    def __init__(self, tables: JournalTables, report: Report, known_hash: bytes | None) -> None:
        self._tables = tables
        self._report = report
        self._known_hash = known_hash
        self._segments: list[Segment] = []
        self._batches = table_rows(BATCHES, tables.batches())
        self._expiries = table_rows(EXPIRIES, tables.expiries())
        self._failed = table_rows(FAILED, tables.failed_ids())
        self._pendings = Pendings()
        self._ids = IDs()
        self._sequence = 0
        self._timestamp = 0
        self._hash = GENESIS_HASH
        self._last_transfer = self._last_expiry = self._last_failed = 0
        self._transfer_count = 0
        self._account_count = 0

    def summary(self, finding: Finding | None) -> Summary:
        """What was checked until now."""
        return Summary(
            self._sequence, self._account_count, self._transfer_count, self._expiries.taken,
            self._failed.taken, len(self._segments), self._hash, finding,
        )  # fmt: skip

    def run(self) -> None:
        """Check everything; ``FoundWrong`` at the first wrong row."""
        tables = self._tables
        self._segments = tables.segments()
        check_catalog(self._segments, tables.bounds(), tables.strays())
        stored = tables.checkpoint()
        self._checkpoint = None if stored is None else decode_checkpoint(*stored)
        with _naming("ledger_account"):
            self._accounts = Accounts(table_rows(ACCOUNTS, tables.accounts()).take(ROWS_MAX))
        for segment, following in zip(self._segments, [*self._segments[1:], None], strict=True):
            self._check_segment(segment, None if following is None else following.first_sequence - 1)
        self._check_ends()
        self._accounts.check_ids()
        self._accounts.check_sums()
        self._ids.check(tables)

    def _check_segment(self, segment: Segment, last: int | None) -> None:
        table = table_of(segment.number)
        pieces = read_ahead(partial(self._tables.transfers, segment))
        rows = transfer_rows(pieces)
        before = self._transfer_count
        id_filter = self._stored_filter(segment)
        marks = self._stored_marks(segment)
        first_timestamp = 0
        for batches in self._stretches(last):
            stretch = self._take(batches, segment, rows)
            transfers = stretch.transfers
            self._check_stretch(stretch)
            if len(transfers):
                first_timestamp = first_timestamp or int(transfers["timestamp"][0])
                self._ids.add(transfers["id"])
                if id_filter is not None:
                    id_filter.check(transfers["timestamp"], transfers["id"])
                if marks is not None:
                    marks.add(transfers)
            self._ids.add(stretch.failed["id"])
        with _naming(table):
            at_end = rows.is_at_end
        if not at_end:
            left = rows.take(1).columns["timestamp"][0]
            raise FoundWrong(
                Finding(table, f"timestamp {left}", "batch", "none", "a batch that counts the row")
            )
        check_seal(segment, self._transfer_count - before, first_timestamp, self._last_transfer)
        if marks is not None:
            marks.check()

    def _stored_filter(self, segment: Segment) -> StoredFilter | None:
        pieces = self._tables.id_filters(segment.number)
        if pieces is None:
            return None
        if pieces or segment.seal is None:
            return StoredFilter(segment.number, pieces) if pieces else None
        raise FoundWrong(
            Finding("ledger_id_filter", f"number {segment.number}", "data", "missing", "a filter")
        )

    def _stored_marks(self, segment: Segment) -> StoredMarks | None:
        stored = None if segment.seal is None else self._tables.history_marks(segment.number)
        return None if stored is None else StoredMarks(segment.number, stored)

    def _stretches(self, last: int | None) -> Iterator[Taken[Columns]]:
        """The batches up to that sequence, some at a time; all that there are for None."""
        while last is None or self._sequence < last:
            room = STRETCH_BATCHES if last is None else min(STRETCH_BATCHES, last - self._sequence)
            if self._checkpoint is not None and self._checkpoint.sequence > self._sequence:
                room = min(room, self._checkpoint.sequence - self._sequence)
            with _naming("ledger_batch"):
                batches = self._batches.take(room)
            if not batches.count:
                if last is not None:
                    raise _missing_batch(self._sequence + 1)
                return
            self._check_sequences(batches.columns)
            yield from _cut(batches)

    def _check_sequences(self, columns: Columns) -> None:
        expected = np.arange(self._sequence + 1, self._sequence + 1 + len(columns["sequence"]))
        wrong = columns["sequence"] != expected
        for name in COUNTS:
            wrong |= columns[name] < 0
        if wrong.any():
            at = int(np.argmax(wrong))
            key = f"sequence {columns['sequence'][at]}"
            if columns["sequence"][at] != expected[at]:
                raise FoundWrong(
                    Finding(
                        "ledger_batch", key, "sequence", shown(columns["sequence"][at]), shown(expected[at])
                    )
                )
            column = next(name for name in COUNTS if columns[name][at] < 0)
            raise FoundWrong(Finding("ledger_batch", key, column, shown(columns[column][at]), "not negative"))

    def _take(self, batches: Taken[Columns], segment: Segment, rows: RowStream[TransferColumns]) -> Stretch:
        columns = batches.columns
        counts = {name: int(columns[name].astype(np.int64).sum()) for name in COUNTS}
        known = self._accounts.known
        with _naming(table_of(segment.number)):
            transfers = rows.take(counts["transfer_count"])
        with _naming("ledger_expiry"):
            expiries = self._expiries.take(counts["expiry_count"])
        with _naming("ledger_failed_id"):
            failed = self._failed.take(counts["failed_count"])
        accounts = self._accounts.take(counts["account_count"])
        return Stretch.of(
            batches, segment.number, accounts, expiries, transfers, failed, self._timestamp, known
        )

    def _check_stretch(self, stretch: Stretch) -> None:
        verdict = Verdict()
        check_numbers(stretch, verdict)
        self._accounts.check(stretch, verdict)
        check_expiry_rows(stretch, self._accounts, self._last_expiry, verdict)
        check_transfers(stretch, self._accounts, self._last_transfer, verdict)
        check_failed(stretch, self._last_failed, verdict)
        self._pendings.add(stretch)
        resolved = self._pendings.resolve(stretch, verdict)
        check_postings(stretch, self._accounts, resolved, verdict)
        self._hash = check_hashes(stretch, self._hash, verdict)
        verdict.settle()
        self._go_on(stretch)

    def _go_on(self, stretch: Stretch) -> None:
        self._sequence = int(stretch.sequences[-1])
        self._timestamp = int(stretch.ends[-1])
        self._account_count = self._accounts.known
        self._transfer_count += len(stretch.transfers)
        if len(stretch.transfers):
            self._last_transfer = int(stretch.transfers["timestamp"][-1])
        if len(stretch.expiries):
            self._last_expiry = int(stretch.expiries["timestamp"][-1])
        if len(stretch.failed):
            self._last_failed = int(stretch.failed["timestamp"][-1])
        checkpoint = self._checkpoint
        if checkpoint is not None and checkpoint.sequence == self._sequence:
            check_checkpoint(checkpoint, self._timestamp, self._last_transfer, self._accounts, self._pendings)
        if self._known_hash is not None and self._known_hash in stretch.batches.columns["hash"].tolist():
            self._known_hash = None
        self._report(self._transfer_count)

    def _check_ends(self) -> None:
        """Every row is in a batch, and the checkpoint's batch was there."""
        if self._accounts.known != self._accounts.rows.count:
            raise FoundWrong(_in_no_batch("ledger_account", f"slot {self._accounts.known}"))
        for table, stream in (("ledger_expiry", self._expiries), ("ledger_failed_id", self._failed)):
            with _naming(table):
                at_end = stream.is_at_end
            if not at_end:
                raise FoundWrong(_in_no_batch(table, f"timestamp {stream.take(1).columns['timestamp'][0]}"))
        if self._known_hash is not None:
            key, expected = f"any sequence up to {self._sequence}", self._known_hash.hex()
            raise FoundWrong(Finding("ledger_batch", key, "hash", "another", expected))
        checkpoint = self._checkpoint
        if checkpoint is not None and not 0 < checkpoint.sequence <= self._sequence:
            found, expected = str(checkpoint.sequence), f"at most that of the newest batch, {self._sequence}"
            raise FoundWrong(Finding(CHECKPOINT_TABLE, f"sequence {found}", "sequence", found, expected))


def _cut(batches: Taken[Columns]) -> Iterator[Taken[Columns]]:
    """These batches, so many at a time that their transfers are not too many."""
    ends = np.cumsum(batches.columns["transfer_count"].astype(np.int64))
    first = before = 0
    while first < batches.count:
        last = max(first + 1, int(np.searchsorted(ends, before + STRETCH_TRANSFERS, "right")))
        yield batches.part(first, last)
        first, before = last, int(ends[last - 1])


@contextlib.contextmanager
def _naming(table: str) -> Iterator[None]:
    """Say which table has the row that cannot be read."""
    try:
        yield
    except MalformedRows as error:
        key = f"row {error.index + 1} in its order"
        raise FoundWrong(Finding(table, key, "form", "another", "the canonical one")) from error


def _missing_batch(sequence: int) -> FoundWrong:
    return FoundWrong(Finding("ledger_batch", f"sequence {sequence}", "sequence", "missing", str(sequence)))


def _in_no_batch(table: str, key: str) -> Finding:
    return Finding(table, key, "batch", "none", "a batch that counts the row")
