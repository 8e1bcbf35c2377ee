"""Clients that never give up, and remember what they were told.

Each sends requests with ids of its own, repeats them with the same ids until
there is an answer, and keeps every acknowledgement. ``verify`` then asks the
ledger about each id that was ever sent: what was acknowledged is there once, with
the timestamp that was told, and what was refused is not there.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar
from uuid import UUID

import psycopg

from foundation.postgres import sync_url
from ledger.contract import (
    Account,
    AccountFlags,
    CreateAccountStatus,
    CreateTransferResult,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)
from ledger.interface import Ledger, LedgerBusy, LedgerUnavailable
from tests.ledger.invariants import check_journal

BANK, OPEN, LIMITED = 1, (2, 3, 4, 5), (6, 7, 8)
"""Accounts: one that pays in, some without limits, some that must not be overdrawn."""
PATIENCE_SECONDS = 120
"""How long a client repeats one request before it says that the ledger is gone."""

Item = TypeVar("Item")
Status = CreateTransferStatus
LINKED, PENDING = int(TransferFlags.LINKED), int(TransferFlags.PENDING)
POST, VOID = int(TransferFlags.POST_PENDING_TRANSFER), int(TransferFlags.VOID_PENDING_TRANSFER)


@dataclass
class Tally:
    """What all clients were told."""

    stored: dict[int, tuple[Transfer, int | None]] = field(default_factory=dict)
    """Acknowledged transfers with their timestamps (None when an ``exists`` did not tell it)."""
    refused: dict[int, Status] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    """Requests that were sent again because no answer came."""

    def note(self, request: Sequence[Transfer], results: Sequence[CreateTransferResult]) -> None:
        self.statuses.update(result.status.name.lower() for result in results)
        chained = bool(request[0].flags & LINKED)
        existed = results[0].status is Status.EXISTS
        for event, result in zip(request, results, strict=True):
            if result.status in {Status.CREATED, Status.EXISTS}:
                self.stored[event.id] = (event, result.timestamp)
            elif chained and existed:
                # The chain went through before its answer was lost.
                self.stored[event.id] = (event, None)
            else:
                self.refused[event.id] = result.status


async def open_accounts(ledger: Ledger) -> None:
    """Create the accounts, however often it takes, and pay something in."""
    limited = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
    accounts = [
        Account(id=i, ledger=1, code=1, flags=limited if i in LIMITED else 0) for i in (BANK, *OPEN, *LIMITED)
    ]
    results = await ledger.create_accounts(accounts)
    assert {r.status for r in results} <= {CreateAccountStatus.CREATED, CreateAccountStatus.EXISTS}


class CrashClient:
    """One client: its own ids, its own pending transfers, its own stream of requests."""

    def __init__(self, number: int, ledger: Ledger, tally: Tally, random: Random) -> None:
        self._ledger, self._tally, self._random = ledger, tally, random
        self._ids = itertools.count((number + 1) << 64)
        self._pending: list[Transfer] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            request = self._request()
            results = await self._ask(request)
            self._tally.note(request, results)
            self._pending += [
                event for event in request if event.flags & PENDING and event.id in self._tally.stored
            ]

    async def _ask(self, request: Sequence[Transfer]) -> list[CreateTransferResult]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self._ledger.create_transfers(request)
            except (LedgerUnavailable, LedgerBusy):
                if time.monotonic() > deadline:
                    raise
                self._tally.repeats += 1
                await asyncio.sleep(0.02)

    def _request(self) -> list[Transfer]:
        choice = self._random.random()
        if choice < 0.15:
            chain = [self._transfer(OPEN) for _ in range(self._random.randrange(2, 5))]
            for event in chain[:-1]:
                event.flags |= LINKED
            return chain
        if choice < 0.3:
            event = self._transfer(OPEN)
            event.flags = PENDING
            return [event]
        if choice < 0.45 and self._pending:
            pending = self._pending.pop(self._random.randrange(len(self._pending)))
            flags = self._random.choice([POST, VOID])
            return [Transfer(next(self._ids), amount=pending.amount, pending_id=pending.id, flags=flags)]
        if choice < 0.6:
            return [Transfer(next(self._ids), BANK, self._random.choice(LIMITED), 5, ledger=1, code=1)]
        return [self._transfer((*OPEN, *LIMITED)) for _ in range(self._random.randrange(1, 30))]

    def _transfer(self, accounts: Sequence[int]) -> Transfer:
        debit, credit = self._random.sample(accounts, 2)
        return Transfer(next(self._ids), debit, credit, self._random.randrange(1, 10), ledger=1, code=1)


async def verify(ledger: Ledger, tally: Tally, database_url: str) -> None:
    """Everything that was told is true, and nothing else has happened."""
    ids = [*tally.stored, *tally.refused]
    found: dict[int, Transfer] = {}
    for page in _pages(ids):
        found |= {t.id: t for t in await ledger.lookup_transfers(page)}
    assert found.keys() == tally.stored.keys(), "lost, or stored though it was refused"
    for transfer_id, (event, timestamp) in tally.stored.items():
        stored = found[transfer_id]
        assert timestamp in {None, stored.timestamp}
        assert (stored.amount, stored.flags) == (event.amount, event.flags)
    assert _count_rows(database_url, ids) == len(tally.stored), "doubled"
    await _verify_balances(ledger, found)
    unlinked = [event for event, _ in tally.stored.values() if not event.flags & LINKED]
    for events in _pages(unlinked):
        for event, result in zip(events, await ledger.create_transfers(events), strict=True):
            assert (result.status, result.timestamp) == (Status.EXISTS, found[event.id].timestamp)
    burnt = [Transfer(i) for i, status in tally.refused.items() if status.is_transient]
    for events in _pages(burnt):
        assert {r.status for r in await ledger.create_transfers(events)} == {Status.ID_ALREADY_FAILED}
    check_journal(database_url)


async def _verify_balances(ledger: Ledger, found: dict[int, Transfer]) -> None:
    """The balances are the sum of what is stored."""
    sums: Counter[tuple[int, str]] = Counter()
    for transfer in found.values():
        pending = transfer.flags & (PENDING | POST | VOID)
        amount = found[transfer.pending_id].amount if transfer.pending_id else transfer.amount
        for side, account_id in (
            ("debits", transfer.debit_account_id),
            ("credits", transfer.credit_account_id),
        ):
            if pending:
                sums[account_id, f"{side}_pending"] += amount if transfer.flags & PENDING else -amount
            if not transfer.flags & (PENDING | VOID):
                sums[account_id, f"{side}_posted"] += transfer.amount
    for account in await ledger.lookup_accounts([BANK, *OPEN, *LIMITED]):
        for name in ("debits_pending", "debits_posted", "credits_pending", "credits_posted"):
            assert getattr(account, name) == sums[account.id, name], f"{name} of {account.id}"


def _pages(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[n : n + 8189] for n in range(0, len(items), 8189)]


def _count_rows(url: str, ids: Sequence[int]) -> int:
    return count_stored(url, ids).total()


def count_stored(url: str, ids: Sequence[int]) -> Counter[int]:
    """How often each of these transfers is in the journal; what is not there is not counted."""
    with psycopg.connect(sync_url(url)) as db:
        query = "SELECT id, count(*) FROM ledger_transfer WHERE id = ANY(%s) GROUP BY id"
        rows = db.execute(query, ([UUID(int=i) for i in ids],)).fetchall()
    return Counter({transfer_id.int: count for transfer_id, count in rows})
