"""Knowledge: what a stream may know of a ledger, learned from its answers and reads alone."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.conformance.streams import POST, expires_at
from ledger.contract import Account, Transfer, TransferFlags

TRANSFERS_MAX = 4000
"""Transfers that are remembered; the older half of those that nothing can happen to is forgotten."""

Balance = tuple[int, int, int, int]
"""Debits pending, debits posted, credits pending, credits posted."""


class LearnedBooks:
    """What exists, as the ledger has shown it."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.balances: dict[int, Balance] = {}
        self.transfers: dict[int, Transfer] = {}
        self.fates: dict[int, str] = {}
        self.account_times: set[int] = set()
        self.transfer_times: set[int] = set()


class Knowledge:
    """Learns from what the ledger shows."""

    def __init__(self) -> None:
        self.books = LearnedBooks()
        self.last = 0

    def learn_accounts(self, accounts: Sequence[Account]) -> None:
        """These accounts are so now."""
        for a in accounts:
            self.books.accounts[a.id] = a
            self.books.balances[a.id] = (
                a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted
            )  # fmt: skip
            self.books.account_times.add(a.timestamp)
            self.last = max(self.last, a.timestamp)

    def learn_transfers(self, transfers: Sequence[Transfer]) -> None:
        """These transfers have just been created."""
        books = self.books
        for t in transfers:
            if t.id in books.transfers:
                continue
            books.transfers[t.id] = t
            books.transfer_times.add(t.timestamp)
            self.last = max(self.last, t.timestamp)
            if t.flags & TransferFlags.PENDING:
                books.fates[t.id] = "pending"
            elif t.pending_id:
                books.fates[t.pending_id] = "posted" if t.flags & POST else "voided"
        if len(books.transfers) > TRANSFERS_MAX:
            self._forget()

    def forget_accounts(self, before: int) -> None:
        """Take part no more in accounts of lower ids; what has their transfers stays as it is."""
        for account in [i for i in self.books.accounts if i < before]:
            del self.books.accounts[account]
            del self.books.balances[account]

    def timeouts(self) -> list[Transfer]:
        """Pending transfers whose time will be over."""
        books = self.books
        alive = (books.transfers[i] for i, fate in books.fates.items() if fate == "pending")
        return [t for t in alive if t.timeout]

    def expire(self, now_ns: int) -> None:
        """The time of these pending transfers is over."""
        for transfer in self.timeouts():
            end = expires_at(transfer)
            if end is not None and end <= now_ns:
                self.books.fates[transfer.id] = "expired"

    def _forget(self) -> None:
        books = self.books
        old = list(books.transfers)[: TRANSFERS_MAX // 2]
        gone = {i for i in old if books.fates.get(i) != "pending"}
        for each in gone:
            books.transfer_times.discard(books.transfers.pop(each).timestamp)
            books.fates.pop(each, None)
