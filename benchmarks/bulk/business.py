"""A business that pays many: its wallet, its two devices, its payees, and its files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import insert, text

from foundation.assets import USDT
from foundation.clock import Clock, SystemClock
from foundation.database import Database
from foundation.ids import derive_id, uuid7
from identity.models import Device, EnrolmentCode, Person
from ledger.chart import (
    AccountCode,
    TransferCode,
    new_account,
    open_accounts,
    open_system_accounts,
    system_account_id,
)
from ledger.client import LedgerClient
from ledger.contract import BATCH_MAX, Transfer
from wallets.models import WalletRow
from wallets.wallets import Wallet, WalletDirectory, open_wallet, wallet_account

FUNDS_MINOR = 10**15
"""What the business has at the start, in minor units."""


@dataclass(frozen=True)
class Business:
    """Who pays, and whom."""

    wallet: Wallet
    maker: UUID
    checker: UUID
    payees: list[UUID]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def file(self, lines: int) -> bytes:
        """A file with so many small payments, each with a number of its own."""
        rows = ["handle,amount,reference"]
        rows += [
            f"@payee_{number % len(self.payees):06},0.01,wage {next(self._numbers)}"
            for number in range(lines)
        ]
        return "\r\n".join(rows).encode()


async def opened(database: Database, ledger: LedgerClient, payees: int) -> Business:
    """A business with money, and so many wallets that have accounts in its asset."""
    clock = SystemClock()
    await open_system_accounts(ledger)
    people = [uuid7(clock) for _ in range(payees)]
    ids = [derive_id("wallet", person) for person in people]
    async with database.session() as session:
        owner = uuid7(clock)
        await session.execute(
            insert(Person), [{"id": each, "created_at": clock.now()} for each in [owner, *people]]
        )
        await session.flush()
        await session.execute(
            insert(WalletRow),
            [
                {
                    "id": wallet_id,
                    "person_id": person,
                    "handle": f"payee_{number:06}",
                    "tier": "standard",
                    "skeleton": f"payee{number:06}",
                    "created_at": clock.now(),
                }
                for number, (wallet_id, person) in enumerate(zip(ids, people, strict=True))
            ],
        )
    for start in range(0, payees, BATCH_MAX):
        await open_accounts(
            ledger,
            [
                new_account(wallet_account(each, USDT), AccountCode.WALLET, USDT, owner=each)
                for each in ids[start : start + BATCH_MAX]
            ],
        )
    wallet = await open_wallet(database, ledger, clock, person_id=owner, handle="the_mill")
    await ledger.create_transfers(
        [
            Transfer(
                id=uuid7(clock).int,
                debit_account_id=system_account_id(AccountCode.CUSTODY, USDT),
                credit_account_id=wallet_account(wallet.id, USDT),
                amount=FUNDS_MINOR,
                ledger=USDT.ledger,
                code=int(TransferCode.DEPOSIT),
            )
        ]
    )
    async with database.session() as session:
        await session.execute(
            text("UPDATE wallets_wallet SET tier = 'business' WHERE id = :id"), {"id": wallet.id}
        )
    found = (await WalletDirectory(database, ledger, clock).by_ids([wallet.id]))[wallet.id]
    maker, checker = [await device(database, clock, owner) for _ in range(2)]
    return Business(found, maker, checker, ids)


async def device(database: Database, clock: Clock, person_id: UUID) -> UUID:
    """A device of a person; what it signs with is no matter here."""
    made, code, now = uuid7(clock), uuid7(clock), clock.now()
    async with database.session() as session:
        session.add(
            EnrolmentCode(
                id=code,
                selector=code.hex,
                code_hash=b"",
                person_id=person_id,
                created_at=now,
                expires_at=now,
                wrong_tries=0,
                used_at=now,
            )
        )
        await session.flush()
        session.add(
            Device(
                id=made,
                person_id=person_id,
                key_id=made.hex,
                algorithm="ed25519",
                public_key=bytes(32),
                enrolment_code_id=code,
                created_at=now,
            )
        )
    return made
