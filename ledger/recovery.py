"""Recovery: the state, rebuilt from the journal. The normal start uses it too.

A checkpoint, where there is one, gives accounts and live pending transfers as of
its batch; younger accounts are read by slot, and everything younger is replayed.
Rows carry running balances, so a replay is a streamed read with the last row
winning; afterwards debits must equal credits in every ledger, or the start is
refused. What the segments that are not sealed hold becomes the tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from foundation.errors import InvariantViolation
from ledger.archive import Head, Record
from ledger.checkpoints import Checkpoint
from ledger.columns import PENDING_COUNTERS, TransferColumns, uuid_pairs
from ledger.contract import TransferFlags
from ledger.id_filter import HEADER_SIZE, NO_SEGMENT, IDFilter, stored_key
from ledger.pendings import as_pendings
from ledger.segments import SEGMENT_ROWS, Segment, room_for
from ledger.state import CLOSED, State
from ledger.storage import ArchiveReader
from ledger.tail import Tail, TailSegment

Int64Array = npt.NDArray[np.int64]

_PENDING = int(TransferFlags.PENDING)

_ACCOUNT_COUNTERS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


class Recovery:
    """Reads the journal once, and leaves the state, the tail and the id filter."""

    def __init__(
        self,
        archive: ArchiveReader,
        head: Head,
        segment_rows: int = SEGMENT_ROWS,
        *,
        beside: ArchiveReader,
    ) -> None:
        """``beside`` reads the tail through a session of its own, while ``archive`` reads the rest."""
        self._archive = archive
        self._beside = beside
        self._head = head
        self._segment_rows = segment_rows
        self._segments: list[Segment] = []
        self._created: list[TransferColumns] = []
        """Pending transfers of the replayed part that may be alive."""
        self._resolved: list[Int64Array] = []
        self.state = State(last_timestamp=head.timestamp)
        self.tail = Tail(())
        self.ids = IDFilter()
        self.rows_replayed = 0
        """Transfers younger than the checkpoint."""

    def load(self) -> Recovery:
        """Everything the engine needs in memory, as of the head.

        The caller holds the writer's lock, so nothing is appended meanwhile.
        """
        state = self.state
        # Before the id filter: an engine that has lost the lock and does not know it yet
        # may still seal a segment meanwhile. What is not sealed here goes into the
        # tail, with its ids; what is sealed here has its part of the filter there.
        self._segments = self._archive.segments()
        with self._beside.read_ahead([one for one in self._segments if one.seal is None]) as tail:
            checkpoint = self._take_checkpoint()
            self._load_accounts()
            self._load_ids()
            self._load_tail(tail)
        count = state.accounts.stored
        balances, last = state.accounts.counters[:count], state.accounts.last_transfer[:count]
        self._replay_transfers(checkpoint, balances, last)
        self._replay_expiries(checkpoint, balances, last)
        state.last_transfer_timestamp = int(last.max(initial=0))
        self._keep_pendings()
        state.flush()
        check_sums(state)
        return self

    def _load_accounts(self) -> None:
        state = self.state
        for rows in self._archive.accounts(state.accounts.stored):
            first = state.accounts.stored
            slots = rows["slot"].astype(np.int64)
            if not np.array_equal(slots, np.arange(first, first + len(rows))):
                raise InvariantViolation(f"an account slot after {first} is missing from the journal")
            state.accounts.append_columns(
                len(rows),
                {
                    "ids": uuid_pairs(rows["id"]),
                    "timestamp": rows["timestamp"].astype(np.int64),
                    "user_data_128": uuid_pairs(rows["user_data_128"]),
                    "user_data_64": rows["user_data_64"].astype(np.int64).view(np.uint64),
                    "user_data_32": rows["user_data_32"].astype(np.int32).view(np.uint32),
                    "ledger": rows["ledger"].astype(np.int32).view(np.uint32),
                    "code": rows["code"].astype(np.int16).view(np.uint16),
                    "flags": rows["flags"].astype(np.uint16),
                    "created_flags": rows["flags"].astype(np.uint16),
                },
            )
            state.last_account_timestamp = int(rows["timestamp"][-1])

    def _load_ids(self) -> None:
        """The filter of sealed segments and failed ids; the tail's follow with its rows."""
        stored = self._archive.id_filters(HEADER_SIZE)
        if stored:
            self.ids = IDFilter(stored_key(stored[0][2]))
        for number, part, header in stored:
            self.ids.add_stored(header, partial(self._archive.id_filter, number, part))
        for pairs in self._archive.failed_ids():
            self.ids.begin(NO_SEGMENT, len(pairs))
            self._add_ids(pairs)

    def _add_ids(self, pairs: npt.NDArray[np.uint64]) -> None:
        self.ids.add(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))

    def _take_checkpoint(self) -> Checkpoint:
        checkpoint = Checkpoint.serving(self._archive.checkpoint())
        if not checkpoint.sequence:
            return checkpoint
        accounts = self.state.accounts
        checkpoint.restore(accounts)
        self.state.last_account_timestamp = int(accounts.timestamp[accounts.stored - 1])
        self._created.append(checkpoint.pendings)
        return checkpoint

    def _load_tail(self, parts: Iterator[tuple[int, TransferColumns]]) -> None:
        """The segments that are not sealed, their ids into the filter."""
        tail = []
        for segment, following in zip(self._segments, [*self._segments[1:], None], strict=True):
            if segment.seal is None:
                loaded = TailSegment(segment.number, segment.first_sequence, room_for(self._segment_rows))
                last = self._head.sequence if following is None else following.first_sequence - 1
                loaded.last_sequence = last
                tail.append(loaded)
        by_number = {segment.number: segment for segment in tail}
        begun = 0
        for number, rows in parts:
            if number != begun:
                self.ids.begin(number, self._segment_rows)
                begun = number
            by_number[number].append(rows)
            self._add_ids(rows["id"])
        self.tail = Tail([segment.in_order() for segment in tail])

    def _replay_transfers(self, checkpoint: Checkpoint, balances: Int64Array, last: Int64Array) -> None:
        tail = {segment.number: segment for segment in self.tail.segments}
        for segment in self._segments:
            if segment.seal is not None and segment.seal.last_sequence <= checkpoint.sequence:
                continue
            if segment.seal is None:
                parts: Iterable[TransferColumns] = [tail[segment.number].columns()]
            else:
                parts = self._archive.transfers(segment)
            for rows in parts:
                at = int(np.searchsorted(rows["timestamp"], checkpoint.transfer_timestamp, "right"))
                self._replay(rows.part(at, len(rows)), balances, last)

    def _replay(self, rows: TransferColumns, balances: Int64Array, last: Int64Array) -> None:
        if not len(rows):
            return
        self.rows_replayed += len(rows)
        slots = np.empty(2 * len(rows), np.int64)
        slots[0::2], slots[1::2] = rows["debit_account"], rows["credit_account"]
        after = np.empty((2 * len(rows), 4), np.int64)
        pending = [rows[name] for name in PENDING_COUNTERS]
        after[0::2, 0], after[0::2, 2], after[1::2, 0], after[1::2, 2] = pending
        for offset, side in enumerate(("debit", "credit")):
            after[offset::2, 1], after[offset::2, 3] = (
                rows[f"{side}_debits_posted"],
                rows[f"{side}_credits_posted"],
            )
        # Where a slot stands several times NumPy keeps the last one: the newest.
        balances[slots] = after
        last[slots] = np.repeat(rows["timestamp"], 2)
        created = np.flatnonzero(rows["flags"] & _PENDING)
        if len(created):
            self._created.append(rows.take(created))
        if "pending_timestamp" in rows.arrays:
            self._resolved.append(rows["pending_timestamp"][rows["pending_timestamp"] != 0])

    def _replay_expiries(self, checkpoint: Checkpoint, balances: Int64Array, last: Int64Array) -> None:
        """Let an account's newest expiry win where it was committed after its newest transfer.

        Timestamps alone do not tell: an imported transfer is younger than its
        timestamp. The batches do; in a batch, expiries come first.
        """
        batches = self._archive.batches(checkpoint.sequence)
        ends = batches["timestamp"].astype(np.int64)
        with_transfers = batches["transfer_last"] != 0
        transfer_ends = batches["transfer_last"][with_transfers].astype(np.int64)
        posted_in = np.append(batches["sequence"][with_transfers].astype(np.int64), 0)
        for rows in self._archive.expiries(checkpoint.timestamp):
            expired_in = batches["sequence"][np.searchsorted(ends, rows["timestamp"].astype(np.int64))]
            slots, after = _expiry_postings(rows)
            newest = last[slots]
            # An account whose newest transfer is older than the checkpoint has none in these batches.
            since = np.where(
                newest > checkpoint.transfer_timestamp, posted_in[np.searchsorted(transfer_ends, newest)], 0
            )
            wins = np.repeat(expired_in, 2) > since
            balances[slots[wins]] = after[wins]
            self._resolved.append(rows["pending_timestamp"].astype(np.int64))

    def _keep_pendings(self) -> None:
        """Hold those pending transfers that nothing has resolved."""
        created = TransferColumns.join(self._created)
        resolved = np.concatenate(self._resolved) if self._resolved else np.zeros(0, np.int64)
        alive = created.take(~np.isin(created["timestamp"], resolved))
        accounts = self.state.accounts
        for side, closing in (
            ("debit_account", int(TransferFlags.CLOSING_DEBIT)),
            ("credit_account", int(TransferFlags.CLOSING_CREDIT)),
        ):
            # A closing transfer closes for as long as it is pending.
            accounts.flags[alive[side][alive["flags"] & closing != 0]] |= CLOSED
        if len(alive):
            self.state.pendings.add_columns(len(alive), as_pendings(alive, accounts.ids))


def _expiry_postings(rows: Record) -> tuple[Int64Array, Int64Array]:
    """Slots and counters after each expiry, its debit side and then its credit side."""
    slots = np.empty(2 * len(rows), np.int64)
    after = np.empty((2 * len(rows), 4), np.int64)
    for offset, side in enumerate(("debit", "credit")):
        slots[offset::2] = rows[f"{side}_account"]
        for n, counter in enumerate(_ACCOUNT_COUNTERS):
            after[offset::2, n] = rows[f"{side}_{counter}"]
    return slots, after


def check_sums(state: State) -> None:
    """Debits equal credits in every ledger, pending and posted; else the books are broken."""
    accounts = state.accounts
    counters, ledgers = accounts.counters[: accounts.stored], accounts.ledger[: accounts.stored]
    for ledger in np.unique(ledgers).tolist():
        rows = counters[ledgers == ledger]
        # Halves are summed apart, so that no total can pass 64 bits unseen.
        high, low = (rows >> 32).sum(axis=0).tolist(), (rows & 0xFFFFFFFF).sum(axis=0).tolist()
        totals = [(h << 32) + part for h, part in zip(high, low, strict=True)]
        if totals[0] != totals[2] or totals[1] != totals[3]:
            raise InvariantViolation(
                f"ledger {ledger}: debits {totals[1]}+{totals[0]} are not credits {totals[3]}+{totals[2]}"
            )
