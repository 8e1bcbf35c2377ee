"""A small world for the contract's tests: accounts with names, requests as text.

One line is one event, and one call of ``request`` is one request::

    T1: alice -> bob 100 linked pending timeout=5   | linked_event_failed
        bob -> alice MAX balancing_debit            | created

``T1:`` names the transfer for later lines, ``of=T1`` is its pending_id, ``-``
stands for account 0, and a field may be set by its name. Ids are fresh in every
world, so that many of them live in one ledger.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from foundation.clock import SettableClock
from ledger.contract import (
    AMOUNT_LIMIT,
    AMOUNT_MAX,
    Account,
    CreateAccountResult,
    CreateAccountStatus,
    CreateTransferResult,
    CreateTransferStatus,
    Transfer,
    TransferFlags,
)


class SmallLedger(Protocol):
    """The part of a ledger that tests of the contract's statuses need."""

    async def create_accounts(self, accounts: Sequence[Account]) -> list[CreateAccountResult]: ...

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]: ...

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]: ...

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]: ...


FLAG_WORDS = {flag.name.lower(): int(flag) for flag in TransferFlags if flag.name} | {
    "post": int(TransferFlags.POST_PENDING_TRANSFER),
    "void": int(TransferFlags.VOID_PENDING_TRANSFER),
}
RESOLUTION = TransferFlags.POST_PENDING_TRANSFER | TransferFlags.VOID_PENDING_TRANSFER
AMOUNT_WORDS = {"MAX": AMOUNT_MAX, "LIMIT": AMOUNT_LIMIT}

_FRESH_IDS = itertools.count(1_000_000)


@dataclass
class World:
    """Named accounts and transfers in some ledger."""

    ledger: SmallLedger
    clock: SettableClock
    accounts: dict[str, int] = field(default_factory=dict)
    transfers: dict[str, int] = field(default_factory=dict)
    fresh_ids: Iterator[int] = field(default_factory=lambda: _FRESH_IDS)

    def new_id(self) -> int:
        return next(self.fresh_ids)

    async def open(self, names: str, *, flags: int = 0, ledger: int = 1, code: int = 1, **more: int) -> None:
        """Create accounts with these names, one request each."""
        for name in names.split():
            self.accounts[name] = self.new_id()
            account = Account(id=self.accounts[name], ledger=ledger, code=code, flags=flags, **more)
            [result] = await self.ledger.create_accounts([account])
            assert result.status is CreateAccountStatus.CREATED, result

    def event(self, line: str) -> Transfer:
        """The transfer that a line describes."""
        name, colon, rest = line.partition(":")
        debit, arrow, credit, amount, *words = (rest if colon else line).split()
        assert arrow == "->", line
        event = Transfer(
            id=self.new_id(),
            debit_account_id=0 if debit == "-" else self.accounts[debit],
            credit_account_id=0 if credit == "-" else self.accounts[credit],
            amount=AMOUNT_WORDS[amount] if amount in AMOUNT_WORDS else int(amount),
            flags=sum(FLAG_WORDS[word] for word in words if "=" not in word),
        )
        # A post or void inherits what it leaves out.
        event.ledger = event.code = 0 if event.flags & RESOLUTION else 1
        for key, value in (word.split("=") for word in words if "=" in word):
            if key == "of":
                event.pending_id = self.transfers[value]
            elif key == "id":
                event.id = self.transfers[value] if value in self.transfers else int(value)
            else:
                assert hasattr(event, key), line
                setattr(event, key, int(value))
        if colon:
            self.transfers[name.strip()] = event.id
        return event

    async def request(self, text: str) -> list[CreateTransferResult]:
        """Send one request and compare each status with what its line says."""
        lines = [line.split("|") for line in text.strip().splitlines()]
        events = [self.event(line) for line, _ in lines]
        results = await self.ledger.create_transfers(events)
        answered = [r.status.name.lower() for r in results]
        assert answered == [status.strip() for _, status in lines], f"answered {answered}"
        return results

    async def statuses(self, *events: Transfer) -> list[CreateTransferStatus]:
        return [r.status for r in await self.ledger.create_transfers(events)]

    async def account(self, name: str) -> Account:
        [account] = await self.ledger.lookup_accounts([self.accounts[name]])
        return account

    async def transfer(self, name: str) -> Transfer | None:
        found = await self.ledger.lookup_transfers([self.transfers[name]])
        return found[0] if found else None

    async def balances(self, name: str) -> tuple[int, int, int, int]:
        """Debits pending and posted, credits pending and posted."""
        a = await self.account(name)
        return a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted

    async def posted(self, *names: str) -> list[int]:
        """Credits minus debits, posted, of each account."""
        accounts = [await self.account(name) for name in names]
        return [a.credits_posted - a.debits_posted for a in accounts]
