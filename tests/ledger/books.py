"""Books in memory: the state machine with a plain list in place of the journal.

The same questions as of an engine, without a database: what the engine would look
up in the journal before it decides is looked up in dictionaries here. Every row
that would be appended is kept, for comparison.
"""

from collections.abc import Sequence
from typing import Any

from foundation.clock import Clock
from ledger import state_machine
from ledger.archive import Head
from ledger.columns import TransferColumns
from ledger.contract import (
    Account,
    CreateAccountResult,
    CreateTransferResult,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
    TransferPendingStatus,
)
from ledger.decisions import TransferRequest, decide_request
from ledger.draft import Draft
from ledger.draft_rows import ExpiryRow, TransferRow
from ledger.id_filter import IDFilter
from ledger.journal import seal
from ledger.state import State
from ledger.stored_transfer import StoredTransfer
from ledger.transfer_views import transfer_at

Request = Sequence[Account] | Sequence[Transfer]


class Books:
    """A ledger whose journal is a list."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.state = State()
        self.transfers: dict[int, Transfer] = {}
        self.statuses: dict[int, TransferPendingStatus] = {}
        self.failed: set[int] = set()
        self.transfer_timestamps: set[int] = set()
        self.rows: list[TransferRow | ExpiryRow] = []
        self.head = Head()
        """The newest batch: its hash says that everything before was the same."""

    def decide(self, requests: Sequence[tuple[str, Request]]) -> list[list[Any]]:
        """Decide a group of requests ("accounts" or "transfers", events) as one commit."""
        now = self.clock.now_ns()
        draft = self._begin()
        while state_machine.sweep_expired(self.state, draft, now):
            pass
        answers: list[list[Any]] = []
        for kind, events in requests:
            if kind == "accounts":
                draft.transfer_timestamps |= {e.timestamp for e in events} & self.transfer_timestamps
                answers.append(state_machine.create_accounts(self.state, draft, now, events))  # type: ignore[arg-type]  # the kind says which
            else:
                answers.append(self._create_transfers(draft, now, events))  # type: ignore[arg-type]  # the kind says which
        self.state.flush()
        if not draft.is_empty:
            self.head = seal(self.head, draft, self.state.last_timestamp).head
        self._end(draft)
        return answers

    def _begin(self) -> Draft:
        return Draft()

    def _end(self, draft: Draft) -> None:
        self._store(draft)

    def _create_transfers(self, draft: Draft, now: int, events: Sequence[Transfer]) -> list[Any]:
        named = {i for e in events for i in (e.id, e.pending_id)}
        named -= {row.transfer.id for row in draft.transfers}
        self._look_up(draft, named)
        return list(state_machine.create_transfers(self.state, draft, now, events))

    def _look_up(self, draft: Draft, named: set[int]) -> None:
        """Make known what the list has under these ids, and the pending transfers of those."""
        named = named | {self.transfers[i].pending_id for i in named if i in self.transfers}
        for transfer_id in named - draft.known.keys():
            if transfer_id in self.transfers and transfer_id not in self.state.pendings:
                stored = StoredTransfer(self.transfers[transfer_id], self.statuses[transfer_id])
                draft.known[transfer_id] = draft.as_it_stands(stored)
        draft.failed |= named & self.failed

    def _store(self, draft: Draft) -> None:
        for expiry in draft.expiries:
            self.statuses[expiry.pending.id] = TransferPendingStatus.EXPIRED
            self.rows.append(expiry)
        for part in draft.all_parts():
            if isinstance(part, TransferColumns):
                for index in range(len(part)):
                    self._store_transfer(transfer_at(part, index, self.state.accounts.ids))
            else:
                self.rows += part
                for row in part:
                    self._store_transfer(row.transfer)
        self.failed |= {failed_id for failed_id, _ in draft.newly_failed}

    def _store_transfer(self, transfer: Transfer) -> None:
        self.transfers[transfer.id] = transfer
        self.transfer_timestamps.add(transfer.timestamp)
        self.statuses[transfer.id] = TransferPendingStatus.NONE
        if transfer.flags & TransferFlags.PENDING:
            self.statuses[transfer.id] = TransferPendingStatus.PENDING
        elif transfer.flags & TransferFlags.POST_PENDING_TRANSFER:
            self.statuses[transfer.pending_id] = TransferPendingStatus.POSTED
        elif transfer.flags & TransferFlags.VOID_PENDING_TRANSFER:
            self.statuses[transfer.pending_id] = TransferPendingStatus.VOIDED

    async def create_accounts(self, accounts: Sequence[Account]) -> list[CreateAccountResult]:
        return self.decide([("accounts", accounts)])[0]

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]:
        return self.decide([("transfers", transfers)])[0]

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        self.decide([])
        found = (self.state.accounts.to_account(i) for i in ids)
        return [account for account in found if account is not None]

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        return [self.transfers[i] for i in ids if i in self.transfers]


class PipelinedBooks(Books):
    """Books that decide as the writer does: vectorised where that holds, on top of a draft in flight.

    What is in flight is in no list yet, as a batch that is being committed is in no query.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.ids = IDFilter()
        self.in_flight: Draft | None = None
        self.blocks = 0

    def _begin(self) -> Draft:
        return Draft(in_flight=self.in_flight)

    def _end(self, draft: Draft) -> None:
        if self.in_flight is not None:
            self._store(self.in_flight)
        self.in_flight, draft.in_flight = draft, None
        self.blocks += sum(isinstance(part, TransferColumns) for part in draft.all_parts())

    def _create_transfers(self, draft: Draft, now: int, events: Sequence[Transfer]) -> list[Any]:
        def load(ids: set[int]) -> None:
            wanted = set(ids)
            draft.load_from_memory(self.state, wanted)
            self._look_up(draft, wanted)
            pending_ids = {draft.known[i].transfer.pending_id for i in ids if i in draft.known}
            pending_ids = {i for i in pending_ids if i not in draft.known and i not in self.state.pendings}
            draft.load_from_memory(self.state, pending_ids)
            self._look_up(draft, pending_ids)

        results = decide_request(self.state, draft, self.ids, now, TransferRequest(objects=events), load)
        return [CreateTransferResult(t, CreateTransferStatus(s)) for t, s, _ in results.tolist()]
