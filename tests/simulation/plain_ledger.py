"""Plain ledger: the contract a third time, for the simulator: one event at a time, and fast.

Dictionaries, tuples and lists; an event is the tuple of its numbers in the order of
its record, a status is its name. It shares no rule with the engine, and a test says
that it agrees with ``tests/ledger/model.py``, which was written from the contract's
text alone. What it keeps is what the journal must hold, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from tests.simulation import plain_refusals
from tests.simulation.plain_refusals import (
    BALANCING_CREDIT,
    BALANCING_DEBIT,
    CLOSED,
    CLOSING_CREDIT,
    CLOSING_DEBIT,
    IMPORTED_ACCOUNT,
    IMPORTED_TRANSFER,
    LINKED,
    MAX,
    PENDING,
    POST,
    SECOND,
    TRANSIENT,
    VOID,
)

Event = tuple[int, ...]
"""The numbers of an account or a transfer, in the order of its record."""
Answer = tuple[int, str]
"""(timestamp, status) of one event."""
Row = tuple[int, ...]
"""The numbers of a journal row, in the order of the journal's columns, 0 for NULL."""

SWEEP_MAX = 8189
"""So many expire with timestamps of one batch."""
DEBIT_CLOSED, CREDIT_CLOSED = 1 << 12, 1 << 13


class PlainAccount:
    """An account as it stands."""

    __slots__ = (
        "code", "created_flags", "credits_pending", "credits_posted", "debits_pending", "debits_posted",
        "flags", "id", "last_transfer", "ledger", "slot", "timestamp", "user_data",
    )  # fmt: skip

    def __init__(self, event: Event, slot: int, timestamp: int) -> None:
        self.id, self.slot, self.timestamp = event[0], slot, timestamp
        self.user_data, self.ledger, self.code = event[5:8], event[9], event[10]
        self.flags = self.created_flags = event[11]
        self.debits_pending = self.debits_posted = self.credits_pending = self.credits_posted = 0
        self.last_transfer = 0

    def changing(self) -> tuple[int, ...]:
        """All that a transfer can change."""
        return (
            self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted,
            self.flags, self.last_transfer,
        )  # fmt: skip

    def restore(self, changing: tuple[int, ...]) -> None:
        """Be again as it was."""
        (
            self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted,
            self.flags, self.last_transfer,
        ) = changing  # fmt: skip

    def record(self) -> Event:
        """The account as the contract shows it."""
        return (
            self.id, *self.changing()[:4], *self.user_data, 0, self.ledger, self.code, self.flags,
            self.timestamp,
        )  # fmt: skip


class PlainLedger:
    """A ledger that is asked one request after the other, and what its journal must say."""

    def __init__(self) -> None:
        self.accounts: dict[int, PlainAccount] = {}
        self.slots: list[PlainAccount] = []
        self.transfers: dict[int, Event] = {}
        self.fates: dict[int, str] = {}
        """What became of each pending transfer: pending, posted, voided or expired."""
        self.failed: set[int] = set()
        self.failed_rows: list[tuple[int, int]] = []
        self.rows: list[Row] = []
        self.postings: list[list[int]] = []
        """For each slot, which rows are its account's."""
        self.expiry_rows: list[Row] = []
        self.rows_before_expiry: list[int] = []
        """For each of them, how many transfers came before it in the books."""
        self.transfer_times: set[int] = set()
        self.account_times: set[int] = set()
        self.newest_account = 0
        self.newest_transfer = 0
        self.last = 0
        """The last timestamp that was given out."""
        self.live = 0
        """How many pending transfers are alive."""
        self.ends: list[tuple[int, int, int]] = []
        """(end, timestamp, id) of every pending transfer with a timeout, as a heap; the dead stay."""
        self._saved: list[tuple[PlainAccount, tuple[int, ...]]] | None = None
        self._resolved: list[int] = []

    def sweep(self, now: int) -> int:
        """Expire what is due; how many."""
        total = 0
        while due := self._due(now):
            total += len(due)
            self.last = max(now, self.last + len(due))
            for number, transfer_id in enumerate(due):
                pending = self.transfers[transfer_id]
                debit, credit = self.accounts[pending[1]], self.accounts[pending[2]]
                self.fates[transfer_id] = "expired"
                self.live -= 1
                self._release(pending, debit, credit, reopen=True)
                self.rows_before_expiry.append(len(self.rows))
                self.expiry_rows.append(
                    (
                        self.last - len(due) + number + 1, pending[12], *debit.changing()[:4],
                        *credit.changing()[:4], debit.slot, credit.slot, _closed_bits(debit, credit),
                    )
                )  # fmt: skip
        return total

    def next_end(self) -> int | None:
        """When the next live pending transfer ends."""
        while self.ends and not self._is_live(self.ends[0]):
            heappop(self.ends)
        return self.ends[0][0] if self.ends else None

    def create_accounts(self, now: int, events: Sequence[Event]) -> list[Answer]:
        """Decide one request."""
        return self._request(now, events, IMPORTED_ACCOUNT)

    def create_transfers(self, now: int, events: Sequence[Event]) -> list[Answer]:
        """Decide one request."""
        return self._request(now, events, IMPORTED_TRANSFER)

    def _is_live(self, end: tuple[int, int, int]) -> bool:
        return self.fates.get(end[2]) == "pending" and self.transfers[end[2]][12] == end[1]

    def _due(self, now: int) -> list[int]:
        due: list[int] = []
        while self.ends and self.ends[0][0] <= now and len(due) < SWEEP_MAX:
            end = heappop(self.ends)
            # The same one can stand here twice, when its chain was tried before.
            if self._is_live(end) and end[2] not in due[-1:]:
                due.append(end[2])
        return due

    def _request(self, now: int, events: Sequence[Event], imported_flag: int) -> list[Answer]:
        count = len(events)
        if not count:
            return []
        self.last = max(now, self.last + count)
        first = self.last - count + 1
        batch_imported = events[0][11] & imported_flag
        decide = self._account if imported_flag == IMPORTED_ACCOUNT else self._transfer
        answers: list[Answer] = []
        chain: int | None = None
        broken = False
        for index, event in enumerate(events):
            timestamp, linked = first + index, event[11] & LINKED
            if linked and chain is None:
                chain, broken, mark = index, False, self._mark()
            if linked and index == count - 1:
                answer = timestamp, "linked_event_chain_open"
            elif broken:
                answer = timestamp, "linked_event_failed"
            else:
                answer = decide(event, timestamp, batch_imported)
            answers.append(answer)
            if chain is None:
                continue
            if not broken and answer[1] != "created":
                broken = True
                self._return_to(mark)
                answers[chain:index] = [(at, "linked_event_failed") for at, _ in answers[chain:index]]
            if not linked or index == count - 1:
                chain, broken = None, False
                self._saved, self._resolved = None, []
        return answers

    def _mark(self) -> tuple[int, int, int, int]:
        self._saved, self._resolved = [], []
        return len(self.rows), len(self.slots), self.newest_account, self.newest_transfer

    def _return_to(self, mark: tuple[int, int, int, int]) -> None:
        rows, slots, self.newest_account, self.newest_transfer = mark
        for account, before in reversed(self._saved or ()):
            account.restore(before)
        self._saved = None
        for row in self.rows[rows:]:
            self.postings[row[8]].pop()
            self.postings[row[9]].pop()
            del self.transfers[row[13]]
            self.transfer_times.discard(row[0])
            if self.fates.pop(row[13], "") == "pending":
                self.live -= 1
        for transfer_id in self._resolved:
            if transfer_id in self.transfers:
                self.fates[transfer_id] = "pending"
                self.live += 1
        for account in self.slots[slots:]:
            del self.accounts[account.id]
            self.account_times.discard(account.timestamp)
        del self.rows[rows:], self.slots[slots:], self.postings[slots:]

    def _account(self, e: Event, timestamp: int, batch_imported: int) -> Answer:
        refusal = plain_refusals.of_account(self, e, batch_imported)
        if refusal == "exists":
            return self.accounts[e[0]].timestamp, refusal
        if refusal is not None:
            return timestamp, refusal
        stored_at = e[12] if e[11] & IMPORTED_ACCOUNT else timestamp
        account = PlainAccount(e, len(self.slots), stored_at)
        self.accounts[account.id] = account
        self.slots.append(account)
        self.postings.append([])
        self.account_times.add(stored_at)
        self.newest_account = max(self.newest_account, stored_at)
        return stored_at, "created"

    def _transfer(self, e: Event, timestamp: int, batch_imported: int) -> Answer:
        refusal = plain_refusals.of_transfer(self, e, timestamp, batch_imported)
        if refusal is None:
            stored_at = e[12] if e[11] & IMPORTED_TRANSFER else timestamp
            if e[11] & (POST | VOID):
                self._resolve(e, stored_at)
            else:
                self._move(e, stored_at)
            return stored_at, "created"
        if refusal == "exists":
            return self.transfers[e[0]][12], refusal
        if refusal in TRANSIENT:
            self.failed.add(e[0])
            self.failed_rows.append((e[0], timestamp))
        return timestamp, refusal

    def _save(self, debit: PlainAccount, credit: PlainAccount) -> None:
        if self._saved is not None:
            self._saved.append((debit, debit.changing()))
            self._saved.append((credit, credit.changing()))

    def _move(self, e: Event, timestamp: int) -> None:
        debit, credit, flags = self.accounts[e[1]], self.accounts[e[2]], e[11]
        self._save(debit, credit)
        amount = moved_amount(e, debit, credit) if flags & (BALANCING_DEBIT | BALANCING_CREDIT) else e[3]
        if flags & PENDING:
            debit.debits_pending += amount
            credit.credits_pending += amount
            self.fates[e[0]] = "pending"
            self.live += 1
            if e[8]:
                heappush(self.ends, (timestamp + e[8] * SECOND, timestamp, e[0]))
            if flags & CLOSING_DEBIT:
                debit.flags |= CLOSED
            if flags & CLOSING_CREDIT:
                credit.flags |= CLOSED
        else:
            debit.debits_posted += amount
            credit.credits_posted += amount
        self._write((*e[:3], amount, *e[4:12], timestamp), debit, credit, 0)

    def _resolve(self, e: Event, timestamp: int) -> None:
        pending = self.transfers[e[4]]
        debit, credit = self.accounts[pending[1]], self.accounts[pending[2]]
        self._save(debit, credit)
        is_void = bool(e[11] & VOID)
        self._release(pending, debit, credit, reopen=is_void)
        amount = resolved_amount(e, pending)
        if not is_void:
            debit.debits_posted += amount
            credit.credits_posted += amount
        self.fates[pending[0]] = "voided" if is_void else "posted"
        self.live -= 1
        self._resolved.append(pending[0])
        user_data = [asked or kept for asked, kept in zip(e[5:8], pending[5:8], strict=True)]
        stored = (e[0], *pending[1:3], amount, e[4], *user_data, 0, *pending[9:11], e[11], timestamp)
        self._write(stored, debit, credit, pending[12])

    def _release(self, pending: Event, debit: PlainAccount, credit: PlainAccount, *, reopen: bool) -> None:
        debit.debits_pending -= pending[3]
        credit.credits_pending -= pending[3]
        if reopen and pending[11] & CLOSING_DEBIT:
            debit.flags &= ~CLOSED
        if reopen and pending[11] & CLOSING_CREDIT:
            credit.flags &= ~CLOSED

    def _write(self, t: Event, debit: PlainAccount, credit: PlainAccount, pending_timestamp: int) -> None:
        timestamp = t[12]
        self.transfers[t[0]] = t
        self.transfer_times.add(timestamp)
        self.newest_transfer = max(self.newest_transfer, timestamp)
        self.postings[debit.slot].append(len(self.rows))
        self.postings[credit.slot].append(len(self.rows))
        self.rows.append(
            (
                timestamp, t[3], debit.last_transfer, credit.last_transfer,
                debit.debits_posted, debit.credits_posted, credit.debits_posted, credit.credits_posted,
                debit.slot, credit.slot, t[9], t[10], t[11] | _closed_bits(debit, credit), t[0],
                debit.debits_pending, debit.credits_pending, credit.debits_pending, credit.credits_pending,
                pending_timestamp, t[4], t[5], t[6], t[7], t[8],
            )
        )  # fmt: skip
        debit.last_transfer = credit.last_transfer = timestamp


def _closed_bits(debit: PlainAccount, credit: PlainAccount) -> int:
    return (DEBIT_CLOSED if debit.flags & CLOSED else 0) | (CREDIT_CLOSED if credit.flags & CLOSED else 0)


def moved_amount(e: Event, debit: PlainAccount, credit: PlainAccount) -> int:
    """The amount after balancing (section 8)."""
    amounts = [e[3]]
    if e[11] & BALANCING_DEBIT:
        amounts.append(max(0, debit.credits_posted - debit.debits_posted - debit.debits_pending))
    if e[11] & BALANCING_CREDIT:
        amounts.append(max(0, credit.debits_posted - credit.credits_posted - credit.credits_pending))
    return min(amounts)


def resolved_amount(e: Event, pending: Event) -> int:
    """What a post or void asks for (section 5.4, step 5)."""
    everything = 0 if e[11] & VOID else MAX
    return pending[3] if e[3] == everything else e[3]
