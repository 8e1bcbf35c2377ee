"""Draft: what one commit will append to the journal.

The state machine decides a group of requests on the state in memory and writes
their rows here; the journal then stores the draft in one database transaction.
A chain that breaks rolls its scope back: rows, counters, statuses, timestamps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.accounts import AccountState
from ledger.columns import TransferColumns
from ledger.contract import Transfer, TransferFlags, TransferPendingStatus
from ledger.draft_rows import ExpiryRow, TransferRow
from ledger.state import CLOSED, State
from ledger.stored_transfer import StoredTransfer
from ledger.transfer_views import find_id, resolution_status, transfer_at

_PENDING = int(TransferFlags.PENDING)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)

AccountUndo = tuple[AccountState, int, int, int, int, int, int]
"""An account, and the counters, flags and latest transfer that it had."""


@dataclass(slots=True)
class Scope:
    """Where an open chain began, and how to get back there."""

    accounts: int
    transfers: int
    last_account_timestamp: int
    last_transfer_timestamp: int
    touched: list[AccountUndo] = field(default_factory=list)
    resolved: list[StoredTransfer] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """Rows to append, and the older transfers that this group refers to.

    ``known`` must hold every stored transfer that an event names by ``id`` or
    ``pending_id`` (and the pending transfers of those), ``failed`` every named
    id that was remembered as failed, and ``transfer_timestamps`` those imported
    account timestamps that a stored transfer has. The engine looks them up
    before it decides.
    """

    in_flight: Draft | None = None
    """The draft that is being committed, which no query can see yet."""
    known: dict[int, StoredTransfer] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    transfer_timestamps: set[int] = field(default_factory=set)
    accounts: list[AccountState] = field(default_factory=list)
    parts: list[list[TransferRow] | TransferColumns] = field(default_factory=list)
    """Transfers in order; ``transfers`` come after them."""
    transfers: list[TransferRow] = field(default_factory=list)
    expiries: list[ExpiryRow] = field(default_factory=list)
    newly_failed: list[tuple[int, int]] = field(default_factory=list)
    """(id, timestamp) of events that failed for a passing reason."""
    scope: Scope | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.accounts or self.transfers or self.parts or self.expiries or self.newly_failed)

    def add_columns(self, columns: TransferColumns) -> None:
        """Put transfers of a vectorised step after the rows so far."""
        assert self.scope is None
        if self.transfers:
            self.parts.append(self.transfers)
            self.transfers = []
        self.parts.append(columns)

    def all_parts(self) -> list[list[TransferRow] | TransferColumns]:
        """Every transfer of the draft, in order."""
        return [*self.parts, self.transfers] if self.transfers else self.parts

    @property
    def blocks(self) -> list[TransferColumns]:
        """What vectorised steps have accepted."""
        return [part for part in self.parts if isinstance(part, TransferColumns)]

    def open_scope(self, state: State) -> None:
        """A chain begins: from here on, changes can be taken back."""
        self.scope = Scope(
            len(self.accounts),
            len(self.transfers),
            state.last_account_timestamp,
            state.last_transfer_timestamp,
        )

    def keep_scope(self) -> None:
        """The chain holds."""
        self.scope = None

    def roll_back(self, state: State) -> None:
        """The chain is broken: everything since its start is undone, newest first.

        Remembered failed ids stay, as the contract wants.
        """
        scope = self.scope
        assert scope is not None
        for account, pending_d, posted_d, pending_c, posted_c, flags, last in reversed(scope.touched):
            account.debits_pending, account.debits_posted = pending_d, posted_d
            account.credits_pending, account.credits_posted = pending_c, posted_c
            account.flags, account.last_transfer = flags, last
        for stored in scope.resolved:
            stored.status = TransferPendingStatus.PENDING
            state.pendings.restore(stored)
            # Alive again, it is known from the state alone: a step that resolves
            # it in columns does not look here.
            self.known.pop(stored.transfer.id, None)
        for row in self.transfers[scope.transfers :]:
            # A pending transfer of this chain stays in the expiry heap; the
            # heap skips whatever is not alive.
            self.known.pop(row.transfer.id, None)
            state.pendings.remove(row.transfer.id)
            self.transfer_timestamps.discard(row.transfer.timestamp)
        for _ in self.accounts[scope.accounts :]:
            state.accounts.drop_newest()
        del self.transfers[scope.transfers :]
        del self.accounts[scope.accounts :]
        state.last_account_timestamp = scope.last_account_timestamp
        state.last_transfer_timestamp = scope.last_transfer_timestamp
        self.scope = None

    def touch(self, state: State, account: AccountState) -> None:
        """Note that an account is about to change, and how it was if a chain is open."""
        state.accounts.mark_changed(account)
        if self.scope is not None:
            self.scope.touched.append((account, *account.counters(), account.flags, account.last_transfer))

    def resolve(self, state: State, stored: StoredTransfer, status: TransferPendingStatus) -> None:
        """A pending transfer is posted, voided or expired, once."""
        stored.status = status
        state.pendings.remove(stored.transfer.id)
        # Later events of this group must still find it, now resolved.
        self.known[stored.transfer.id] = stored
        if self.scope is not None:
            self.scope.resolved.append(stored)

    def find(self, state: State, transfer_id: int) -> StoredTransfer | None:
        """A stored transfer by its id."""
        return state.pendings.get(transfer_id) or self.known.get(transfer_id)

    def load_from_memory(self, state: State, ids: set[int]) -> None:
        """Make known what this draft and the one in flight have under these ids.

        None of them is that of a live pending transfer. The ids found leave the
        set; the others can only be in the journal.
        """
        for draft in (self, self.in_flight):
            if draft is None:
                continue
            for transfer_id in list(ids):
                if transfer_id in draft.failed:
                    self.failed.add(transfer_id)
                    ids.discard(transfer_id)
                    continue
                stored = draft.known.get(transfer_id) or draft.find_unstored(state, transfer_id)
                if stored is not None:
                    self.known[transfer_id] = self.as_it_stands(stored)
                    ids.discard(transfer_id)

    def find_unstored(self, state: State, transfer_id: int) -> StoredTransfer | None:
        """One of its own transfers, as it was created."""
        for part in self.all_parts():
            if isinstance(part, TransferColumns):
                at = find_id(part, transfer_id)
                transfer = None if at is None else transfer_at(part, at, state.accounts.ids)
            else:
                transfer = next((row.transfer for row in part if row.transfer.id == transfer_id), None)
            if transfer is not None:
                is_pending = transfer.flags & _PENDING
                status = TransferPendingStatus.PENDING if is_pending else TransferPendingStatus.NONE
                return StoredTransfer(transfer, status)
        return None

    def as_it_stands(self, stored: StoredTransfer) -> StoredTransfer:
        """A transfer that was found where it was created, with what unstored rows made of it.

        Whoever asks knows that it is not alive: if it was pending there, then this
        draft or the one in flight has resolved it.
        """
        if stored.status is not TransferPendingStatus.PENDING:
            return stored
        for draft in (self, self.in_flight):
            status = None if draft is None else draft.status_of(stored.transfer.timestamp)
            if status is not None:
                return StoredTransfer(stored.transfer, status)
        return stored

    def status_of(self, pending_timestamp: int) -> TransferPendingStatus | None:
        """What its own rows make of a pending transfer; None for nothing."""
        for part in self.all_parts():
            if isinstance(part, TransferColumns):
                status = resolution_status(part, pending_timestamp)
                if status is not None:
                    return status
                continue
            for row in part:
                if row.pending_timestamp == pending_timestamp:
                    is_void = row.transfer.flags & _VOID
                    return TransferPendingStatus.VOIDED if is_void else TransferPendingStatus.POSTED
        if any(row.pending.timestamp == pending_timestamp for row in self.expiries):
            return TransferPendingStatus.EXPIRED
        return None

    def has_transfer_at(self, timestamp: int) -> bool:
        """Whether a transfer has that timestamp, among those that were looked up or are not stored yet."""
        if timestamp in self.transfer_timestamps:
            return True
        if any(timestamp in block["timestamp"] for block in self.blocks):
            return True
        return self.in_flight is not None and self.in_flight.has_transfer_at(timestamp)


def is_closed(account: AccountState) -> bool:
    """Whether the account takes no transfer but a void."""
    return bool(account.flags & CLOSED)


def append_row(
    state: State,
    draft: Draft,
    stored: Transfer,
    debit: AccountState,
    credit: AccountState,
    *,
    pending_timestamp: int,
) -> None:
    """Write the row of a transfer whose effects on both accounts are applied."""
    draft.transfers.append(
        TransferRow(
            stored,
            debit.slot,
            credit.slot,
            pending_timestamp,
            debit.last_transfer,
            credit.last_transfer,
            debit.counters(),
            credit.counters(),
            is_closed(debit),
            is_closed(credit),
        )
    )
    debit.last_transfer = credit.last_transfer = stored.timestamp
    state.last_transfer_timestamp = stored.timestamp
    draft.transfer_timestamps.add(stored.timestamp)
    if stored.flags & _PENDING:
        state.pendings.add(StoredTransfer(stored, TransferPendingStatus.PENDING))
    else:
        draft.known[stored.id] = StoredTransfer(stored)
