"""Workloads: batches of packed transfers, repeatable from a seed.

Ids are UUIDv7, time-ordered as clients make them. A workload knows which share
of its transfers will be refused, so that a run can check what it measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ledger.contract import Account, AccountFlags, TransferFlags
from ledger.records import TRANSFER_DTYPE

Records = npt.NDArray[np.void]
Integers = npt.NDArray[np.int64]

SEED = 1
FUNDS = 10**12
"""What each account with a limit has to spend."""
BANK = 1 << 40
"""Account without a limit that funds the others, and takes their fees."""
LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)

_EPOCH_MS = 1_800_000_000_000
_IDS_A_MS = 1000
"""As a ledger at a million transfers a second sees them."""


class Ids:
    """UUIDv7 in order, a batch at a time; no two are alike."""

    def __init__(self, seed: int = SEED) -> None:
        self._numbers = np.random.default_rng(seed)
        self._next = 0

    def take(self, count: int) -> npt.NDArray[np.uint64]:
        """The next ids as (low, high) pairs."""
        serial = np.arange(self._next, self._next + count, dtype=np.uint64)
        self._next += count
        ids = np.empty((count, 2), np.uint64)
        milliseconds = np.uint64(_EPOCH_MS) + serial // np.uint64(_IDS_A_MS)
        ids[:, 1] = milliseconds << np.uint64(16) | np.uint64(0x7000) | serial % np.uint64(_IDS_A_MS)
        ids[:, 0] = self._numbers.integers(0, 2**62, count, dtype=np.uint64) | np.uint64(1 << 63)
        return ids

    def one(self) -> int:
        """The next id as a number."""
        low, high = self.take(1)[0].tolist()
        return int(high) << 64 | int(low)


class Picker(Protocol):
    """Picks pairs of different accounts."""

    def __call__(self, count: int) -> tuple[Integers, Integers]:
        """The debit and the credit accounts' numbers, from 1."""


def uniform(accounts: int, seed: int = SEED) -> Picker:
    """Any account, as likely as any other."""
    numbers = np.random.default_rng(seed)

    def pick(count: int) -> tuple[Integers, Integers]:
        debit = numbers.integers(0, accounts, count)
        return debit + 1, (debit + numbers.integers(1, accounts, count)) % accounts + 1

    return pick


def zipf(accounts: int, exponent: float, seed: int = SEED) -> Picker:
    """The account of rank ``r`` is picked ``r ** -exponent`` times as often as the first."""
    numbers = np.random.default_rng(seed)
    shares = np.cumsum(np.arange(1, accounts + 1, dtype=np.float64) ** -exponent)
    shares /= shares[-1]

    def pick(count: int) -> tuple[Integers, Integers]:
        debit, credit = (np.searchsorted(shares, numbers.random(count)) for _ in range(2))
        credit = np.where(debit == credit, (credit + 1) % accounts, credit)
        return debit.astype(np.int64) + 1, credit.astype(np.int64) + 1

    return pick


def hot(accounts: int, seed: int = SEED) -> Picker:
    """Every transfer goes into the first account."""
    numbers = np.random.default_rng(seed)

    def pick(count: int) -> tuple[Integers, Integers]:
        return numbers.integers(2, accounts + 1, count), np.ones(count, np.int64)

    return pick


def plain(pick: Picker, ids: Ids, count: int) -> Records:
    """A batch of plain transfers of small amounts."""
    records = np.zeros(count, TRANSFER_DTYPE)
    records["id"] = ids.take(count)
    debit, credit = pick(count)
    records["debit_account_id"][:, 0] = debit
    records["credit_account_id"][:, 0] = credit
    records["amount"][:, 0] = 1 + (debit * 31 + credit) % 999
    records["ledger"] = records["code"] = 1
    return records


def in_batches(make: Callable[[int], Records], transfers: int, batch: int) -> Iterator[Records]:
    """So many transfers in batches, the last one maybe shorter."""
    for first in range(0, transfers, batch):
        yield make(min(batch, transfers - first))


def linked_pairs(pick: Picker, ids: Ids, count: int) -> Records:
    """Payments, each linked with a fee from the same account to the bank."""
    records = plain(pick, ids, count - count % 2)
    records["flags"][0::2] = int(TransferFlags.LINKED)
    records["debit_account_id"][1::2] = records["debit_account_id"][0::2]
    records["credit_account_id"][1::2, 0] = BANK
    records["amount"][1::2, 0] = 1
    return records


def pending_then_post(pick: Picker, ids: Ids, transfers: int, batch: int) -> Iterator[Records]:
    """A batch that reserves, then a batch that posts it in full, and so on."""
    for _ in range(max(1, transfers // (2 * batch))):
        reserved = plain(pick, ids, batch)
        reserved["flags"] = int(TransferFlags.PENDING)
        yield reserved
        posted = np.zeros(batch, TRANSFER_DTYPE)
        posted["id"] = ids.take(batch)
        posted["pending_id"] = reserved["id"]
        posted["amount"] = np.uint64(2**64 - 1)
        posted["flags"] = int(TransferFlags.POST_PENDING_TRANSFER)
        yield posted


def with_one_refusal(batches: Iterator[Records], poor_account: int) -> Iterator[Records]:
    """In each batch one transfer, in the middle, from an account that has nothing to spend."""
    for batch in batches:
        batch["debit_account_id"][len(batch) // 2, 0] = poor_account
        yield batch


def funding(accounts: int, ids: Ids, batch: int) -> Iterator[Records]:
    """The bank gives each account what it may spend."""
    for first in range(0, accounts, batch):
        size = min(batch, accounts - first)
        records = np.zeros(size, TRANSFER_DTYPE)
        records["id"] = ids.take(size)
        records["debit_account_id"][:, 0] = BANK
        records["credit_account_id"][:, 0] = np.arange(first + 1, first + size + 1)
        records["amount"][:, 0] = FUNDS
        records["ledger"] = records["code"] = 1
        yield records


def accounts_in_batches(numbers: range, flags: int, batch: int) -> Iterator[list[Account]]:
    """Accounts to create, their numbers being their ids."""
    for first in range(0, len(numbers), batch):
        yield [Account(id=n, ledger=1, code=1, flags=flags) for n in numbers[first : first + batch]]
