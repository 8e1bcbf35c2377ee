"""Accounts in memory: columns for whole batches, one object at a time for the exact path.

The columns are the truth. The sequential state machine works on
``AccountState`` objects that are loaded on demand; ``flush`` writes back what it
changed, and must be called before the columns are read. Some 150 bytes an
account, index included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ledger.contract import Account
from ledger.slot_map import ABSENT, SlotMap

_MASK64 = 2**64 - 1

LOADED_MAX = 16_384
"""How many loaded objects are kept between groups."""

COLUMNS: tuple[tuple[str, type[np.generic], int], ...] = (
    ("ids", np.uint64, 2),
    ("counters", np.int64, 4),
    ("last_transfer", np.int64, 1),
    ("timestamp", np.int64, 1),
    ("user_data_128", np.uint64, 2),
    ("user_data_64", np.uint64, 1),
    ("user_data_32", np.uint32, 1),
    ("ledger", np.uint32, 1),
    ("code", np.uint16, 1),
    ("flags", np.uint16, 1),
    ("created_flags", np.uint16, 1),
)
"""Name, type and width of each column; 128-bit numbers are (low, high) pairs."""


@dataclass(slots=True)
class AccountState:
    """An account as it stands: identity, counters, and its latest transfer."""

    slot: int
    """Position in order of creation; how the journal names the account."""
    id: int
    user_data_128: int
    user_data_64: int
    user_data_32: int
    ledger: int
    code: int
    flags: int
    timestamp: int
    created_flags: int
    """Flags at creation, as the journal keeps them; ``flags`` may gain or lose ``closed``."""
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    last_transfer: int = 0
    """Timestamp of the account's newest transfer, 0 when it has none."""

    def counters(self) -> tuple[int, int, int, int]:
        """Debits pending and posted, credits pending and posted."""
        return self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted

    def to_account(self) -> Account:
        """The account as the contract shows it."""
        return Account(
            self.id, self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted,
            self.user_data_128, self.user_data_64, self.user_data_32, 0,
            self.ledger, self.code, self.flags, self.timestamp,
        )  # fmt: skip


class Accounts:
    """Every account of the ledger, by id and by slot."""

    ids: npt.NDArray[np.uint64]
    counters: npt.NDArray[np.int64]
    last_transfer: npt.NDArray[np.int64]
    timestamp: npt.NDArray[np.int64]
    user_data_128: npt.NDArray[np.uint64]
    user_data_64: npt.NDArray[np.uint64]
    user_data_32: npt.NDArray[np.uint32]
    ledger: npt.NDArray[np.uint32]
    code: npt.NDArray[np.uint16]
    flags: npt.NDArray[np.uint16]
    created_flags: npt.NDArray[np.uint16]

    def __init__(self, capacity: int = 1024) -> None:
        self.stored = 0
        """Accounts in the columns; those of the group in hand come on top."""
        self.index = SlotMap(self, lambda self: self.ids, capacity)
        self._capacity = capacity
        for name, kind, width in COLUMNS:
            setattr(self, name, np.zeros((capacity, width) if width > 1 else capacity, kind))
        self._loaded: dict[int, AccountState] = {}
        self._new: list[AccountState] = []
        self._dirty: dict[int, AccountState] = {}

    def __len__(self) -> int:
        return self.stored + len(self._new)

    def get(self, account_id: int) -> AccountState | None:
        """The account as an object of the exact path, or None."""
        account = self._loaded.get(account_id)
        if account is not None:
            return account
        slot = self.index.get_one(account_id)
        if slot == ABSENT:
            return None
        account = self._load(slot)
        self._loaded[account_id] = account
        return account

    def __iter__(self) -> Iterator[AccountState]:
        """Every account in order of creation, as objects."""
        changed = self._dirty
        for slot in range(self.stored):
            yield changed.get(slot) or self._load(slot)
        yield from self._new

    def add(self, account: AccountState) -> None:
        """Add a new account; its slot is the next one."""
        assert account.slot == len(self)
        self._new.append(account)
        self._loaded[account.id] = account

    def drop_newest(self) -> None:
        """Take the newest account of the group in hand back."""
        account = self._new.pop()
        del self._loaded[account.id]
        self._dirty.pop(account.slot, None)

    def mark_changed(self, account: AccountState) -> None:
        """Note that an object will differ from its columns until ``flush``."""
        self._dirty[account.slot] = account

    def has_timestamp(self, timestamp: int) -> bool:
        """Whether an account was created at that instant; timestamps rise with slots."""
        if any(account.timestamp == timestamp for account in self._new):
            return True
        at = int(np.searchsorted(self.timestamp[: self.stored], timestamp))
        return at < self.stored and int(self.timestamp[at]) == timestamp

    def flush(self) -> None:
        """Write new and changed objects into the columns."""
        if self._new:
            self._append(self._new)
            self._new = []
        if self._dirty:
            slots = np.fromiter(self._dirty, np.int64, len(self._dirty))
            changed = self._dirty.values()
            self.counters[slots] = [a.counters() for a in changed]
            self.flags[slots] = [a.flags for a in changed]
            self.last_transfer[slots] = [a.last_transfer for a in changed]
            self._dirty = {}
        if len(self._loaded) > LOADED_MAX:
            self._loaded.clear()

    def forget_loaded(self) -> None:
        """Drop the objects: the columns have been changed directly."""
        assert not self._new
        assert not self._dirty
        self._loaded.clear()

    def reserve(self, count: int) -> None:
        """Make room for so many accounts at once."""
        self._grow(count)
        self.index.reserve(count)

    def append_columns(self, count: int, columns: dict[str, npt.NDArray[np.generic]]) -> None:
        """Add ``count`` accounts at once, as recovery does."""
        self._grow(self.stored + count)
        end = self.stored + count
        for name, values in columns.items():
            # Memory that was never written takes none: most accounts have no user data.
            if values.any():
                getattr(self, name)[self.stored : end] = values
        ids = self.ids[self.stored : end]
        slots = np.arange(self.stored, end, dtype=np.int32)
        self.index.insert(np.ascontiguousarray(ids[:, 0]), np.ascontiguousarray(ids[:, 1]), slots)
        self.stored = end

    def to_account(self, account_id: int) -> Account | None:
        """An account as the contract shows it, or None."""
        account = self.get(account_id)
        return None if account is None else account.to_account()

    @property
    def nbytes(self) -> int:
        """Memory of columns and index."""
        columns: list[npt.NDArray[np.generic]] = [getattr(self, name) for name, _, _ in COLUMNS]
        return sum(column.nbytes for column in columns) + self.index.nbytes

    def _load(self, slot: int) -> AccountState:
        counters = self.counters[slot].tolist()
        low, high = self.ids[slot].tolist()
        data_low, data_high = self.user_data_128[slot].tolist()
        return AccountState(
            slot, high << 64 | low, data_high << 64 | data_low,
            self.user_data_64[slot].item(), self.user_data_32[slot].item(),
            self.ledger[slot].item(), self.code[slot].item(), self.flags[slot].item(),
            self.timestamp[slot].item(), self.created_flags[slot].item(),
            counters[0], counters[1], counters[2], counters[3], self.last_transfer[slot].item(),
        )  # fmt: skip

    def _append(self, accounts: list[AccountState]) -> None:
        self.append_columns(
            len(accounts),
            {
                "ids": np.array([(a.id & _MASK64, a.id >> 64) for a in accounts], np.uint64),
                "counters": np.array([a.counters() for a in accounts], np.int64),
                "last_transfer": np.array([a.last_transfer for a in accounts], np.int64),
                "timestamp": np.array([a.timestamp for a in accounts], np.int64),
                "user_data_128": np.array(
                    [(a.user_data_128 & _MASK64, a.user_data_128 >> 64) for a in accounts], np.uint64
                ),
                "user_data_64": np.array([a.user_data_64 for a in accounts], np.uint64),
                "user_data_32": np.array([a.user_data_32 for a in accounts], np.uint32),
                "ledger": np.array([a.ledger for a in accounts], np.uint32),
                "code": np.array([a.code for a in accounts], np.uint16),
                "flags": np.array([a.flags for a in accounts], np.uint16),
                "created_flags": np.array([a.created_flags for a in accounts], np.uint16),
            },
        )

    def _grow(self, count: int) -> None:
        if count <= self._capacity:
            return
        # Half as much again: doubling would hold a million accounts in the
        # memory of two.
        self._capacity = max(count, self._capacity + self._capacity // 2)
        for name, _, _ in COLUMNS:
            old = getattr(self, name)
            new = np.zeros((self._capacity, *old.shape[1:]), old.dtype)
            if old.any():
                new[: self.stored] = old[: self.stored]
            setattr(self, name, new)
