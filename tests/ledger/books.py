"""Books in memory: the pure state machine with a plain list in place of the journal.

The same questions as of an engine, without a database: what the engine would look
up in the journal before it decides is looked up in dictionaries here. Every row
that would be appended is kept, for comparison.
"""

from collections.abc import Sequence
from typing import Any

from foundation.clock import Clock
from ledger import state_machine
from ledger.contract import (
    Account,
    CreateAccountResult,
    CreateTransferResult,
    Transfer,
    TransferFlags,
    TransferPendingStatus,
)
from ledger.draft import Draft, ExpiryRow, TransferRow
from ledger.state import State, StoredTransfer

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

    def decide(self, requests: Sequence[tuple[str, Request]]) -> list[list[Any]]:
        """Decide a group of requests ("accounts" or "transfers", events) as one commit."""
        now = self.clock.now_ns()
        draft = Draft()
        while state_machine.sweep_expired(self.state, draft, now):
            pass
        self._look_up(draft, requests)
        answers: list[list[Any]] = []
        for kind, events in requests:
            create: Any = (
                state_machine.create_accounts if kind == "accounts" else state_machine.create_transfers
            )
            answers.append(create(self.state, draft, now, events))
        self._store(draft)
        return answers

    def _look_up(self, draft: Draft, requests: Sequence[tuple[str, Request]]) -> None:
        named: set[int] = set()
        for kind, events in requests:
            if kind == "transfers":
                named |= {i for e in events if isinstance(e, Transfer) for i in (e.id, e.pending_id)}
            else:
                draft.transfer_timestamps |= {e.timestamp for e in events} & self.transfer_timestamps
        named |= {self.transfers[i].pending_id for i in named if i in self.transfers}
        for transfer_id in named - self.state.pendings.keys():
            if transfer_id in self.transfers:
                draft.known[transfer_id] = StoredTransfer(
                    self.transfers[transfer_id], self.statuses[transfer_id]
                )
        draft.failed = named & self.failed

    def _store(self, draft: Draft) -> None:
        for expiry in draft.expiries:
            self.statuses[expiry.pending.id] = TransferPendingStatus.EXPIRED
            self.rows.append(expiry)
        for row in draft.transfers:
            transfer = row.transfer
            self.transfers[transfer.id] = transfer
            self.transfer_timestamps.add(transfer.timestamp)
            self.statuses[transfer.id] = TransferPendingStatus.NONE
            if transfer.flags & TransferFlags.PENDING:
                self.statuses[transfer.id] = TransferPendingStatus.PENDING
            elif transfer.flags & TransferFlags.POST_PENDING_TRANSFER:
                self.statuses[transfer.pending_id] = TransferPendingStatus.POSTED
            elif transfer.flags & TransferFlags.VOID_PENDING_TRANSFER:
                self.statuses[transfer.pending_id] = TransferPendingStatus.VOIDED
            self.rows.append(row)
        self.failed |= {failed_id for failed_id, _ in draft.newly_failed}

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
