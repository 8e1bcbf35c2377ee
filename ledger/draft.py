"""Draft: what one commit will append to the journal.

The state machine decides a group of requests on the state in memory and writes
their rows here; the journal then stores the draft in one database transaction.
A chain that breaks rolls its scope back: rows, counters, statuses, timestamps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ledger.accounts import AccountState
from ledger.contract import Transfer, TransferFlags, TransferPendingStatus
from ledger.records import unpack_transfers
from ledger.state import CLOSED, State, StoredTransfer

_PENDING = int(TransferFlags.PENDING)

Counters = tuple[int, int, int, int]
"""Debits pending, debits posted, credits pending, credits posted."""


@dataclass(slots=True)
class TransferRow:
    """A transfer with its history: both accounts after it, and before it."""

    transfer: Transfer
    debit_slot: int
    credit_slot: int
    pending_timestamp: int
    """Timestamp of the pending transfer it posts or voids, else 0."""
    debit_previous: int
    """Timestamp of the debit account's previous transfer, 0 for none."""
    credit_previous: int
    debit_after: Counters
    credit_after: Counters
    debit_closed: bool
    credit_closed: bool


@dataclass(slots=True)
class ExpiryRow:
    """A pending transfer's time is over: both accounts after its release."""

    timestamp: int
    pending: Transfer
    debit_slot: int
    credit_slot: int
    debit_after: Counters
    credit_after: Counters
    debit_closed: bool
    credit_closed: bool


@dataclass(slots=True, frozen=True)
class Block:
    """Transfers accepted in one vectorised step, in their canonical bytes."""

    events: npt.NDArray[np.void]
    """The records asked for, without timestamps."""
    first: int
    """Timestamp of the first; event i has ``first + i``."""
    last: int
    data: bytes

    def find(self, transfer_id: int) -> Transfer | None:
        """One of its transfers by id."""
        low, high = transfer_id & (2**64 - 1), transfer_id >> 64
        ids = self.events["id"]
        at = np.flatnonzero((ids[:, 0] == low) & (ids[:, 1] == high))
        if not len(at):
            return None
        (transfer,) = unpack_transfers(self.events[at[:1]].tobytes())
        transfer.timestamp = self.first + int(at[0])
        return transfer


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
    parts: list[list[TransferRow] | Block] = field(default_factory=list)
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

    def add_block(self, block: Block) -> None:
        """Put a block of transfers after the rows so far."""
        assert self.scope is None
        if self.transfers:
            self.parts.append(self.transfers)
            self.transfers = []
        self.parts.append(block)

    def all_parts(self) -> list[list[TransferRow] | Block]:
        """Every transfer of the draft, in order."""
        return [*self.parts, self.transfers] if self.transfers else self.parts

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
            state.pendings[stored.transfer.id] = stored
        for row in self.transfers[scope.transfers :]:
            # A pending transfer of this chain stays in the expiry heap; the
            # heap skips whatever is not alive.
            self.known.pop(row.transfer.id, None)
            state.pendings.pop(row.transfer.id, None)
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
        del state.pendings[stored.transfer.id]
        # Later events of this group must still find it, now resolved.
        self.known[stored.transfer.id] = stored
        if self.scope is not None:
            self.scope.resolved.append(stored)

    def find(self, state: State, transfer_id: int) -> StoredTransfer | None:
        """A stored transfer by its id."""
        return state.pendings.get(transfer_id) or self.known.get(transfer_id)

    def load_from_memory(self, ids: set[int]) -> None:
        """Make known what this draft and the one in flight have under these ids.

        The ids found leave the set; the others can only be in the journal.
        """
        self._take_from(self, ids)
        if self.in_flight is not None:
            self._take_from(self.in_flight, ids)

    def _take_from(self, other: Draft, ids: set[int]) -> None:
        blocks = [part for part in other.parts if isinstance(part, Block)]
        for transfer_id in list(ids):
            if transfer_id in other.failed:
                self.failed.add(transfer_id)
                ids.discard(transfer_id)
                continue
            stored = other.known.get(transfer_id)
            for block in blocks if stored is None else ():
                transfer = block.find(transfer_id)
                if transfer is not None:
                    stored = StoredTransfer(transfer)
            if stored is not None:
                self.known[transfer_id] = stored
                ids.discard(transfer_id)

    def has_transfer_at(self, timestamp: int) -> bool:
        """Whether a transfer has that timestamp, among those that were looked up or are not stored yet."""
        if timestamp in self.transfer_timestamps:
            return True
        blocks = [part for part in self.parts if isinstance(part, Block)]
        if any(block.first <= timestamp <= block.last for block in blocks):
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
        state.add_pending(StoredTransfer(stored, TransferPendingStatus.PENDING))
    else:
        draft.known[stored.id] = StoredTransfer(stored)
