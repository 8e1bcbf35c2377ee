"""Wallets: opening one, and finding one by its handle, person or account.

A wallet has an account of the ledger in every asset, with ids derived from the
wallet's own, opened before anybody can see the wallet: whoever is found can be
paid. What the directory keeps in memory of a wallet is believed while changes are
followed (foundation.changes); whose an account is never changes.

A handle is one wallet's for ever, also after the wallet has taken another one
(wallets.handle_changes). So a directory that has missed a change can find a wallet under
a handle that it had, and never another wallet: money cannot go to a stranger by it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.assets import ASSETS, Asset
from foundation.changes import Changes
from foundation.clock import Clock, microseconds_of
from foundation.database import Database, is_any
from foundation.errors import Refusal
from foundation.ids import derive_id
from ledger.chart import AccountCode, new_account, open_accounts, wallet_account_id
from ledger.interface import Ledger
from wallets.errors import WalletCode
from wallets.handle_models import FormerHandleRow
from wallets.handles import parse_new_handle, skeleton
from wallets.models import WalletRow
from wallets.payee_passes import PayeePasses
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
    unlisted_at: datetime | None = None
    """Since when it is found only together with a pass (wallets.payee_passes); None: by its handle."""
    former: tuple[tuple[str, int], ...] = ()
    """Handles that it had before, in order, each with when it gave it up in nanoseconds since 1970."""

    def handle_at(self, ns: int) -> str:
        """The handle that it had at an instant, nanoseconds since 1970.

        The ledger's clock and the one that changes are written by may differ: what happened
        within a moment of a change may be told with either handle, but always with the same.
        """
        return next((handle for handle, given_up_ns in self.former if ns < given_up_ns), self.handle)

    def had(self, handle: str) -> bool:
        """Whether a normalised handle is or was this wallet's."""
        return handle == self.handle or any(handle == before for before, _ in self.former)


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
    own = await session.scalar(select(WalletRow).where(WalletRow.person_id == person_id))
    if own is not None:
        if own.handle == handle:
            return _wallet(own)
        raise Refusal(
            WalletCode.WALLET_ALREADY_OPEN,
            f"The wallet is open already, as @{own.handle}.",
            handle=own.handle,
        )
    wallet_id = derive_id("wallet", person_id)
    await check_handle_is_free(session, wallet_id, handle)
    row = WalletRow(
        id=wallet_id,
        person_id=person_id,
        handle=handle,
        tier=Tier.STANDARD,
        skeleton=skeleton(handle),
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


async def check_handle_is_free(session: AsyncSession, wallet_id: UUID, handle: str) -> None:
    """Refuse, as ``handle_taken`` or ``handle_too_similar``, what is or was another wallet's.

    Somebody may take it a moment later: a unique index and a trigger then refuse the row.
    """
    looks = skeleton(handle)
    former_looks = (FormerHandleRow.handle == handle) | (FormerHandleRow.skeleton == looks)
    # One statement, hence one snapshot: a handle on its way from one table to the other is in one of them.
    found = (
        await session.scalars(
            select(WalletRow.handle)
            .where((WalletRow.handle == handle) | _looks_like(looks), WalletRow.id != wallet_id)
            .union_all(
                select(FormerHandleRow.handle).where(former_looks, FormerHandleRow.wallet_id != wallet_id)
            )
        )
    ).all()
    if handle in found:
        raise Refusal(
            WalletCode.HANDLE_TAKEN,
            f"@{handle} belongs to somebody else; choose another handle.",
            handle=handle,
        )
    if found:
        # Whose it is, and how it is written, is not told: nobody asked for that handle.
        raise Refusal(
            WalletCode.HANDLE_TOO_SIMILAR,
            f"@{handle} looks like a handle of somebody else; choose one that is easier to tell apart.",
            handle=handle,
        )


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

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        clock: Clock,
        changes: Changes | None = None,
        passes: PayeePasses | None = None,
    ) -> None:
        """Without ``changes`` a wallet is read each time; without ``passes`` none opens anything."""
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._passes = passes
        self._changes = changes
        if changes is not None:
            changes.subscribe("wallet", self._forget)
        self._by_id: dict[UUID, Wallet] = {}
        self._by_handle: dict[str, Wallet] = {}
        self._by_person: dict[UUID, Wallet] = {}
        self._owners: dict[int, UUID | None] = {}

    async def by_handle(self, handle: str) -> Wallet | None:
        """The wallet with a normalised handle, listed or not; for a time also by one that it gave up."""
        return self._known(self._by_handle.get(handle)) or await self._load(
            is_named(handle, self._clock.now())
        )

    async def payee(
        self, handle: str, *, asker: Wallet | None = None, shown: bytes | None = None
    ) -> Wallet | None:
        """The wallet that whoever asks may find by a handle; None for nobody's and for an unlisted one's.

        An unlisted wallet is found by itself, and by whoever shows its pass. It is never kept in
        memory under its handle: nobody's handle and an unlisted one's take the same time.
        """
        found = await self.by_handle(handle)
        if found is None or (asker is not None and found.id == asker.id):
            return found
        return found if self.opens(found.id, found.unlisted_at, shown) else None

    def opens(self, wallet_id: UUID, unlisted_at: datetime | None, shown: bytes | None) -> bool:
        """Whether a wallet may be found by its handle and this pass, if it needs one."""
        if unlisted_at is None or self._passes is None:
            return unlisted_at is None
        return self._passes.opens(wallet_id, unlisted_at, shown)

    def pass_of(self, wallet: Wallet) -> bytes | None:
        """The pass that the wallet's own payment codes carry; None where it is listed."""
        if wallet.unlisted_at is None:
            return None
        assert self._passes is not None, "codes are made where there are passes"
        return self._passes.of(wallet.id, wallet.unlisted_at)

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
        return {wallet.id: wallet for wallet in await self._read(is_any(WalletRow.id, wallet_ids))}

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
        before = self._by_id.get(wallet.id)
        if before is not None:
            # Its handle may be another one by now, and nothing would ever forget the former.
            self._by_handle.pop(before.handle, None)
        if len(self._by_id) >= WALLETS_CACHED_MAX:
            oldest = self._by_id.pop(next(iter(self._by_id)))
            self._by_handle.pop(oldest.handle, None)
            self._by_person.pop(oldest.person_id, None)
        self._by_id[wallet.id] = wallet
        self._by_person[wallet.person_id] = wallet
        if wallet.unlisted_at is None:
            self._by_handle[wallet.handle] = wallet


def is_named(handle: str, now: datetime) -> ColumnElement[bool]:
    """Of a row of ``WalletRow``: a handle is its own, or was and still pays it."""
    former = (
        select(FormerHandleRow.wallet_id)
        .where(FormerHandleRow.handle == handle, FormerHandleRow.pays_until > now)
        # Whoever had it, had it alone: all such rows are of one wallet.
        .limit(1)
        .scalar_subquery()
    )
    return (WalletRow.handle == handle) | (WalletRow.id == former)


def _columns() -> Any:
    handles, times = (
        select(func.array_agg(aggregate_order_by(column, FormerHandleRow.number)))
        .where(FormerHandleRow.wallet_id == WalletRow.id)
        .correlate(WalletRow)
        .scalar_subquery()
        for column in (FormerHandleRow.handle, FormerHandleRow.given_up_at)
    )
    return select(
        WalletRow.id,
        WalletRow.person_id,
        WalletRow.handle,
        WalletRow.created_at,
        WalletRow.tier,
        WalletRow.unlisted_at,
        handles.label("former_handles"),
        times.label("given_up_at"),
    )


def _wallet(row: Any) -> Wallet:
    # A wallet that is opened, or opened again, is answered with the handle that was asked for.
    times = getattr(row, "given_up_at", None) or []
    handles = getattr(row, "former_handles", None) or []
    return Wallet(
        row.id,
        row.person_id,
        row.handle,
        row.created_at,
        Tier(row.tier),
        row.unlisted_at,
        tuple((handle, microseconds_of(at) * 1_000) for handle, at in zip(handles, times, strict=True)),
    )
