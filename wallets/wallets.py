"""Wallets: opening one, and finding one by its handle, person or account.

A wallet has an account of the ledger in every asset, with ids derived from the
wallet's own, opened before anybody can see the wallet: whoever is found can be
paid. What the directory keeps in memory of a wallet is believed while changes are
followed (foundation.changes); whose an account is never changes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.assets import ASSETS, Asset
from foundation.changes import Changes
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from foundation.ids import derive_id
from ledger.chart import AccountCode, new_account, open_accounts, wallet_account_id
from ledger.interface import Ledger
from wallets.errors import WalletCode
from wallets.handles import parse_new_handle, skeleton
from wallets.models import WalletRow
from wallets.tiers import Tier

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
    tier: Tier = Tier.STANDARD
    """How much it may pay."""


async def open_wallet(
    database: Database, ledger: Ledger, clock: Clock, *, person_id: UUID, handle: str
) -> Wallet:
    """Open a person's wallet; the same handle again gives the same wallet.

    Refused as ``handle_malformed``, ``handle_reserved``, ``handle_taken``,
    ``handle_too_similar`` or ``wallet_already_open``.
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
    looks = skeleton(handle)
    rows = (
        await session.scalars(
            select(WalletRow).where(
                (WalletRow.person_id == person_id) | (WalletRow.handle == handle) | _looks_like(looks)
            )
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
    if any(row.handle == handle for row in rows):
        raise Refusal(
            WalletCode.HANDLE_TAKEN,
            f"@{handle} belongs to somebody else; choose another handle.",
            handle=handle,
        )
    if rows:
        # Whose it is, and how it is written, is not told: nobody asked for that handle.
        raise Refusal(
            WalletCode.HANDLE_TOO_SIMILAR,
            f"@{handle} looks like a handle of somebody else; choose one that is easier to tell apart.",
            handle=handle,
        )
    row = WalletRow(
        id=derive_id("wallet", person_id),
        person_id=person_id,
        handle=handle,
        tier=Tier.STANDARD,
        skeleton=looks,
        created_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    # The row holds the handle, uncommitted, while the accounts are opened. If the
    # process dies before the commit, empty accounts are left that nobody can find, and
    # the repeated request, which derives the same ids, completes them. The other order
    # would show a wallet to payers whose payments could only fail.
    await open_wallet_accounts(ledger, row.id)
    return _wallet(row)


def _looks_like(looks: str) -> ColumnElement[bool]:
    # A few wallets have no skeleton: those beside an older look-alike, whose skeleton is
    # compared, and those that another release opened a moment ago, which have none yet.
    handle_looks = func.translate(WalletRow.handle, "01i_", "oll")
    handle_looks = func.replace(func.replace(handle_looks, "m", "rn"), "w", "vv")
    return (WalletRow.skeleton == looks) | (WalletRow.skeleton.is_(None) & (handle_looks == looks))


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

    def __init__(self, database: Database, ledger: Ledger, changes: Changes | None = None) -> None:
        """Without ``changes`` a wallet is read each time."""
        self._database = database
        self._ledger = ledger
        self._changes = changes
        if changes is not None:
            changes.subscribe("wallet", self._forget)
        self._by_id: dict[UUID, Wallet] = {}
        self._by_handle: dict[str, Wallet] = {}
        self._by_person: dict[UUID, Wallet] = {}
        self._owners: dict[int, UUID | None] = {}

    async def by_handle(self, handle: str) -> Wallet | None:
        """The wallet with a normalised handle."""
        return self._known(self._by_handle.get(handle)) or await self._load(WalletRow.handle == handle)

    async def by_person(self, person_id: UUID) -> Wallet:
        """A person's wallet; refused as ``wallet_not_open`` when there is none yet."""
        wallet = self._known(self._by_person.get(person_id)) or await self._load(
            WalletRow.person_id == person_id
        )
        if wallet is None:
            raise Refusal(WalletCode.WALLET_NOT_OPEN, "Open a wallet first: choose its handle.")
        return wallet

    async def by_ids(self, wallet_ids: Iterable[UUID]) -> dict[UUID, Wallet]:
        """The wallets with these ids; those that do not exist are left out."""
        wanted = set(wallet_ids)
        found = {
            wallet_id: wallet
            for wallet_id in wanted
            if (wallet := self._known(self._by_id.get(wallet_id))) is not None
        }
        return found | await self._load_ids(wanted - found.keys())

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
        wallets = await self.by_ids(owners.values())
        return {account_id: wallets[owner] for account_id, owner in owners.items() if owner in wallets}

    def _known(self, wallet: Wallet | None) -> Wallet | None:
        """A wallet that is remembered, if nothing that happened to it can have been missed."""
        return wallet if self._changes is not None and self._changes.are_followed else None

    def _forget(self, name: str | None) -> None:
        if name is None:
            self._by_id.clear()
            self._by_handle.clear()
            self._by_person.clear()
        elif (wallet := self._by_id.pop(UUID(name), None)) is not None:
            self._by_handle.pop(wallet.handle, None)
            self._by_person.pop(wallet.person_id, None)

    async def _load(self, condition: ColumnElement[bool]) -> Wallet | None:
        found = await self._read(condition)
        return found[0] if found else None

    async def _load_ids(self, wallet_ids: set[UUID]) -> dict[UUID, Wallet]:
        if not wallet_ids:
            return {}
        return {wallet.id: wallet for wallet in await self._read(WalletRow.id.in_(wallet_ids))}

    async def _read(self, condition: ColumnElement[bool]) -> list[Wallet]:
        seen = self._changes.count if self._changes is not None else 0
        async with self._database.connection() as connection:
            rows = (await connection.execute(_columns().where(condition))).all()
        found = [_wallet(row) for row in rows]
        # A notice that came meanwhile may be of one of these: then none is kept.
        if self._changes is not None and self._changes.count == seen:
            for wallet in found:
                self._keep(wallet)
        return found

    def _keep(self, wallet: Wallet) -> None:
        if len(self._by_id) >= WALLETS_CACHED_MAX:
            oldest = self._by_id.pop(next(iter(self._by_id)))
            self._by_handle.pop(oldest.handle, None)
            self._by_person.pop(oldest.person_id, None)
        self._by_id[wallet.id] = wallet
        self._by_handle[wallet.handle] = wallet
        self._by_person[wallet.person_id] = wallet


def _columns() -> Any:
    return select(WalletRow.id, WalletRow.person_id, WalletRow.handle, WalletRow.created_at, WalletRow.tier)


def _wallet(row: Any) -> Wallet:
    return Wallet(row.id, row.person_id, row.handle, row.created_at, Tier(row.tier))
