"""Wallets: opening one, and finding one by its handle, person or account.

A wallet has an account of the ledger in every asset, with ids derived from the
wallet's own, opened before anybody can see the wallet: whoever is found can be
paid. What the directory keeps in memory never changes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.assets import ASSETS, Asset
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import derive_id
from ledger.chart import AccountCode, new_account, open_accounts, wallet_account_id
from ledger.interface import Ledger
from wallets.errors import WalletCode
from wallets.handles import parse_new_handle
from wallets.models import WalletRow

WALLETS_CACHED_MAX: Final = 200_000
"""Wallets kept in memory by one process; about 500 bytes each."""


@functools.lru_cache(maxsize=WALLETS_CACHED_MAX)
def wallet_account(wallet_id: UUID, asset: Asset) -> int:
    """Id of a wallet's account in an asset; a hash, so it is worth remembering."""
    return wallet_account_id(wallet_id, asset)


@dataclass(frozen=True, slots=True)
class Wallet:
    """Somebody's wallet."""

    id: UUID
    person_id: UUID
    handle: str
    """Normalised, without @."""
    created_at: datetime


async def open_wallet(
    database: Database, ledger: Ledger, clock: Clock, *, person_id: UUID, handle: str
) -> Wallet:
    """Open a person's wallet; the same handle again gives the same wallet.

    Refused as ``handle_malformed``, ``handle_reserved``, ``handle_taken`` or
    ``wallet_already_open``.
    """
    wanted = parse_new_handle(handle)
    try:
        async with database.session() as session:
            return await _open(session, ledger, clock, person_id, wanted)
    except IntegrityError:
        pass
    # Somebody was faster by a moment: this person's other device, or another person
    # who wants the same handle. What they committed can be read now.
    async with database.session() as session:
        return await _open(session, ledger, clock, person_id, wanted)


async def _open(session: AsyncSession, ledger: Ledger, clock: Clock, person_id: UUID, handle: str) -> Wallet:
    rows = (
        await session.scalars(
            select(WalletRow).where((WalletRow.person_id == person_id) | (WalletRow.handle == handle))
        )
    ).all()
    for row in rows:
        if row.person_id == person_id:
            if row.handle == handle:
                return _wallet(row)
            raise Refusal(
                WalletCode.WALLET_ALREADY_OPEN,
                f"The wallet is open already, as @{row.handle}.",
                handle=row.handle,
            )
    if rows:
        raise Refusal(
            WalletCode.HANDLE_TAKEN,
            f"@{handle} belongs to somebody else; choose another handle.",
            handle=handle,
        )
    row = WalletRow(
        id=derive_id("wallet", person_id), person_id=person_id, handle=handle, created_at=clock.now()
    )
    session.add(row)
    await session.flush()
    # The row holds the handle, uncommitted, while the accounts are opened. If the
    # process dies before the commit, empty accounts are left that nobody can find, and
    # the repeated request, which derives the same ids, completes them. The other order
    # would show a wallet to payers whose payments could only fail.
    await open_wallet_accounts(ledger, row.id)
    return _wallet(row)


async def open_wallet_accounts(ledger: Ledger, wallet_id: UUID) -> None:
    """Open a wallet's accounts in every asset; those that exist stay as they are."""
    await open_accounts(
        ledger,
        [
            new_account(wallet_account(wallet_id, asset), AccountCode.WALLET, asset, owner=wallet_id)
            for asset in ASSETS
        ],
    )


class WalletDirectory:
    """Finds wallets; what was found once costs nothing again."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._by_id: dict[UUID, Wallet] = {}
        self._by_handle: dict[str, Wallet] = {}
        self._by_person: dict[UUID, Wallet] = {}
        self._owners: dict[int, UUID | None] = {}

    async def by_handle(self, handle: str) -> Wallet | None:
        """The wallet with a normalised handle."""
        return self._by_handle.get(handle) or await self._load(WalletRow.handle == handle)

    async def by_person(self, person_id: UUID) -> Wallet:
        """A person's wallet; refused as ``wallet_not_open`` when there is none yet."""
        wallet = self._by_person.get(person_id) or await self._load(WalletRow.person_id == person_id)
        if wallet is None:
            raise Refusal(WalletCode.WALLET_NOT_OPEN, "Open a wallet first: choose its handle.")
        return wallet

    async def by_accounts(self, account_ids: Iterable[int]) -> dict[int, Wallet]:
        """The wallets to which accounts of the ledger belong; others are left out."""
        wanted = set(account_ids)
        missing = wanted - self._owners.keys()
        if missing:
            found = {account.id: account for account in await self._ledger.lookup_accounts(sorted(missing))}
            for account_id in missing:
                account = found.get(account_id)
                is_wallet = account is not None and account.code == AccountCode.WALLET
                if len(self._owners) >= WALLETS_CACHED_MAX:
                    self._owners.pop(next(iter(self._owners)))
                self._owners[account_id] = UUID(int=account.user_data_128) if account and is_wallet else None
        owners = {account_id: owner for account_id in wanted if (owner := self._owners.get(account_id))}
        await self._load_ids(set(owners.values()) - self._by_id.keys())
        return {
            account_id: self._by_id[owner] for account_id, owner in owners.items() if owner in self._by_id
        }

    async def _load(self, condition: ColumnElement[bool]) -> Wallet | None:
        async with self._database.connection() as connection:
            row = (await connection.execute(_columns().where(condition))).one_or_none()
        return None if row is None else self._keep(_wallet(row))

    async def _load_ids(self, wallet_ids: set[UUID]) -> None:
        if not wallet_ids:
            return
        async with self._database.connection() as connection:
            rows = (await connection.execute(_columns().where(WalletRow.id.in_(wallet_ids)))).all()
        for row in rows:
            self._keep(_wallet(row))

    def _keep(self, wallet: Wallet) -> Wallet:
        if len(self._by_id) >= WALLETS_CACHED_MAX:
            oldest = self._by_id.pop(next(iter(self._by_id)))
            self._by_handle.pop(oldest.handle, None)
            self._by_person.pop(oldest.person_id, None)
        self._by_id[wallet.id] = wallet
        self._by_handle[wallet.handle] = wallet
        self._by_person[wallet.person_id] = wallet
        return wallet


def _columns() -> Any:
    return select(WalletRow.id, WalletRow.person_id, WalletRow.handle, WalletRow.created_at)


def _wallet(row: Any) -> Wallet:
    return Wallet(row.id, row.person_id, row.handle, row.created_at)
