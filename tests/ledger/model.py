"""Model: the contract a second time, written from its text alone and in the plainest way.

Plain dictionaries, one event at a time, a copy of everything before each chain.
Nothing here is shared with the engine but the records that go in and come out;
statuses are strings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ledger.contract import Account, Transfer
from tests.ledger.model_books import (
    CLOSED,
    CLOSING_CREDIT,
    CLOSING_DEBIT,
    IMPORTED_ACCOUNT,
    IMPORTED_TRANSFER,
    LINKED,
    PENDING,
    POST,
    VOID,
    Balance,
    Books,
    Change,
    expires_at,
    moved_amount,
    resolved_amount,
)
from tests.ledger.model_refusals import USER_DATA, account_refusals, time_refusals, transfer_refusals

TRANSIENT = {
    "debit_account_not_found", "credit_account_not_found", "pending_transfer_not_found",
    "debit_account_already_closed", "credit_account_already_closed", "exceeds_credits", "exceeds_debits",
}  # fmt: skip

Answer = tuple[int, str]
"""(timestamp, status) of one event."""


class Model:
    """A ledger that is asked one request after the other."""

    def __init__(self) -> None:
        self.books = Books()
        self.failed: set[int] = set()
        self.last = 0
        """The last timestamp that was given out."""

    def create_accounts(self, now: int, events: Sequence[Account]) -> list[Answer]:
        return self._request(now, events, IMPORTED_ACCOUNT)

    def create_transfers(self, now: int, events: Sequence[Transfer]) -> list[Answer]:
        return self._request(now, events, IMPORTED_TRANSFER)

    def sweep(self, now: int) -> int:
        """Expire what is due; how many."""
        due = []
        for transfer_id, fate in self.books.fates.items():
            transfer = self.books.transfers[transfer_id]
            ends = expires_at(transfer)
            if fate == "pending" and ends is not None and ends <= now:
                due.append((ends, transfer.timestamp, transfer_id))
        if due:
            self.last = max(now, self.last + len(due))
        for number, (_, _, transfer_id) in enumerate(sorted(due)):
            pending = self.books.transfers[transfer_id]
            self.books.fates[transfer_id] = "expired"
            self._release(pending, reopen=True)
            self._note(self.last - len(due) + number + 1, "expired", pending)
        return len(due)

    def _request(self, now: int, events: Sequence[Any], imported_flag: int) -> list[Answer]:
        self.sweep(now)
        if events:
            self.last = max(now, self.last + len(events))
        answers: list[Answer] = []
        for chain in split_into_chains(events):
            linked = bool(events[chain[0]].flags & LINKED)
            before = self.books.copy() if linked else self.books
            answered: list[Answer] = []
            for index in chain:
                event, timestamp = events[index], self.last - len(events) + index + 1
                if index == len(events) - 1 and event.flags & LINKED:
                    answered.append((timestamp, "linked_event_chain_open"))
                elif any(status != "created" for _, status in answered):
                    answered.append((timestamp, "linked_event_failed"))
                else:
                    batch_imported = bool(events[0].flags & imported_flag)
                    answered.append(
                        self._event(event, timestamp, imported_flag, batch_imported=batch_imported)
                    )
            if linked:
                answered = self._end_chain(answered, before)
            answers += answered
        return answers

    def _end_chain(self, answered: list[Answer], before: Books) -> list[Answer]:
        failures = [n for n, (_, status) in enumerate(answered) if status != "created"]
        if not failures:
            return answered
        self.books = before
        rolled_back = [(timestamp, "linked_event_failed") for timestamp, _ in answered[: failures[0]]]
        return rolled_back + answered[failures[0] :]

    def _event(self, event: Any, timestamp: int, imported_flag: int, *, batch_imported: bool) -> Answer:
        imported = bool(event.flags & imported_flag)
        refusal = next(
            time_refusals(event, self.last, imported=imported, batch_imported=batch_imported), None
        )
        if refusal is None and isinstance(event, Account):
            refusal = next(account_refusals(self.books, event), None)
        elif refusal is None:
            refusal = next(transfer_refusals(self.books, self.failed, event, timestamp), None)
        if refusal == "exists":
            books: Any = self.books.accounts if isinstance(event, Account) else self.books.transfers
            return books[event.id].timestamp, refusal
        if refusal is not None:
            if refusal in TRANSIENT:
                self.failed.add(event.id)
            return timestamp, refusal
        stored_at = event.timestamp if imported else timestamp
        if isinstance(event, Account):
            self._store_account(event, stored_at)
        else:
            self._store_transfer(event, stored_at)
        return stored_at, "created"

    def _store_account(self, e: Account, timestamp: int) -> None:
        self.books.accounts[e.id] = replace(e, timestamp=timestamp)
        self.books.balances[e.id] = (0, 0, 0, 0)
        self.books.account_times.add(timestamp)

    def _store_transfer(self, e: Transfer, timestamp: int) -> None:
        if e.flags & (POST | VOID):
            pending = self.books.transfers[e.pending_id]
            self.books.fates[pending.id] = "posted" if e.flags & POST else "voided"
            self._release(pending, reopen=bool(e.flags & VOID))
            stored = replace(pending, id=e.id, pending_id=pending.id, flags=e.flags, timeout=0)
            stored.amount = resolved_amount(e, pending)
            for name in USER_DATA:
                setattr(stored, name, getattr(e, name) or getattr(pending, name))
        else:
            stored = replace(e, amount=moved_amount(self.books, e))
        stored.timestamp = timestamp
        amount = 0 if stored.flags & VOID else stored.amount
        if stored.flags & PENDING:
            self.books.fates[stored.id] = "pending"
            self._add(stored.debit_account_id, (amount, 0, 0, 0))
            self._add(stored.credit_account_id, (0, 0, amount, 0))
        else:
            self._add(stored.debit_account_id, (0, amount, 0, 0))
            self._add(stored.credit_account_id, (0, 0, 0, amount))
        self._set_closed(stored, closed=True)
        self.books.transfers[stored.id] = stored
        self.books.transfer_times.add(timestamp)
        kinds = {PENDING: "pending", POST: "posted", VOID: "voided"}
        kind = next((name for flag, name in kinds.items() if stored.flags & flag), "single_phase")
        self._note(timestamp, kind, stored)

    def _release(self, pending: Transfer, *, reopen: bool) -> None:
        self._add(pending.debit_account_id, (-pending.amount, 0, 0, 0))
        self._add(pending.credit_account_id, (0, 0, -pending.amount, 0))
        if reopen:
            self._set_closed(pending, closed=False)

    def _set_closed(self, transfer: Transfer, *, closed: bool) -> None:
        sides = ((CLOSING_DEBIT, transfer.debit_account_id), (CLOSING_CREDIT, transfer.credit_account_id))
        for flag, account_id in sides:
            if transfer.flags & flag:
                account = self.books.accounts[account_id]
                flags = account.flags | CLOSED if closed else account.flags & ~CLOSED
                self.books.accounts[account_id] = replace(account, flags=flags)

    def _add(self, account_id: int, change: Balance) -> None:
        a, b, c, d = self.books.balances[account_id]
        self.books.balances[account_id] = (a + change[0], b + change[1], c + change[2], d + change[3])

    def _note(self, timestamp: int, kind: str, transfer: Transfer) -> None:
        debit, credit = self.account(transfer.debit_account_id), self.account(transfer.credit_account_id)
        self.books.changes.append(Change(timestamp, kind, transfer, debit, credit))

    def account(self, account_id: int) -> Account:
        """An account with its balances as they stand."""
        names = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
        balances = dict(zip(names, self.books.balances[account_id], strict=True))
        return replace(self.books.accounts[account_id], **balances)


def split_into_chains(events: Sequence[Any]) -> Iterator[list[int]]:
    """Indexes of events that stand or fall together."""
    chain: list[int] = []
    for index, event in enumerate(events):
        chain.append(index)
        if not event.flags & LINKED:
            yield chain
            chain = []
    if chain:
        yield chain
