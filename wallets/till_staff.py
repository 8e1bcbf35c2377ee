"""People at a till: asked by the owner, working from their acceptance until either ends it.

Nobody is made to work for a business that they do not know: rights count only after the
person has accepted. To ask again with other rights asks anew, since more rights are more to
answer for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from foundation.errors import Refusal
from wallets.handle_lookups import HandleLookups
from wallets.handles import parse_handle
from wallets.merchant_errors import MerchantCode
from wallets.merchant_models import TillRow, TillStaffRow
from wallets.merchants import MerchantBooks, Till, list_full, till_by_id, till_not_found
from wallets.till_rights import TillAccess, TillRight, stored_rights
from wallets.wallets import Wallet

STAFF_MAX: Final = 50
"""Most people at a till."""


@dataclass(frozen=True, slots=True)
class TillStaff:
    """Somebody who works at a till, or was asked to."""

    wallet: Wallet
    rights: tuple[TillRight, ...]
    invited_at: datetime
    accepted_at: datetime | None
    """None: not accepted yet, and without rights until then."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A till at which somebody was asked to work, and has not said yes."""

    till: Till
    rights: tuple[TillRight, ...]


async def invite_staff(
    books: MerchantBooks,
    lookups: HandleLookups,
    access: TillAccess,
    *,
    handle: str,
    rights: Iterable[TillRight],
) -> TillStaff:
    """Ask somebody to work at a till; with the same rights again nothing changes.

    Refused as ``till_right_missing``, ``too_many_lookups``, ``staff_unknown`` or ``merchant_list_full``.
    """
    access.needs_owner()
    owner = access.till.merchant.wallet
    # Asking tells whether a handle exists, as looking it up does.
    await lookups.count(owner.person_id)
    wallet = await books.directory.payee(parse_handle(handle), asker=owner)
    if wallet is None or wallet.id == owner.id:
        raise Refusal(MerchantCode.STAFF_UNKNOWN, "Nobody else has this handle.")
    wanted = stored_rights(rights)
    async with books.database.session() as session:
        # One after the other, or two at once would both be the last.
        await session.execute(select(TillRow.id).where(TillRow.id == access.till.id).with_for_update())
        known = await session.get(TillStaffRow, (access.till.id, wallet.id))
        if known is not None and known.rights == wanted:
            return _staff(known, wallet)
        count = await session.scalar(
            select(func.count()).select_from(TillStaffRow).where(TillStaffRow.till_id == access.till.id)
        )
        if known is None and (count or 0) >= STAFF_MAX:
            raise list_full(STAFF_MAX)
        anew = {"rights": wanted, "invited_at": books.clock.now(), "accepted_at": None}
        await session.execute(
            insert(TillStaffRow)
            .values(till_id=access.till.id, wallet_id=wallet.id, **anew)
            .on_conflict_do_update(index_elements=[TillStaffRow.till_id, TillStaffRow.wallet_id], set_=anew)
        )
    return TillStaff(wallet, tuple(map(TillRight, wanted)), books.clock.now(), None)


async def accept_work(books: MerchantBooks, *, wallet: Wallet, till_id: UUID) -> Till:
    """Accept to work at a till; again is as good as once. Refused as ``till_not_found``."""
    async with books.database.session() as session:
        found = await session.scalar(
            update(TillStaffRow)
            .where(TillStaffRow.till_id == till_id, TillStaffRow.wallet_id == wallet.id)
            .values(accepted_at=func.coalesce(TillStaffRow.accepted_at, books.clock.now()))
            .returning(TillStaffRow.till_id)
        )
    till = await till_by_id(books, till_id) if found is not None else None
    if till is None:
        raise till_not_found()
    return till


async def end_work(books: MerchantBooks, *, wallet: Wallet, till_id: UUID, handle: str) -> None:
    """End somebody's work at a till: by the owner, or by the person, who so declines as well.

    Refused as ``till_not_found`` or ``staff_not_found``.
    """
    till = await till_by_id(books, till_id)
    is_owner = till is not None and till.merchant.wallet.id == wallet.id
    is_own = wallet.had(parse_handle(handle))
    if till is None or not (is_owner or is_own):
        raise till_not_found()
    person = await books.directory.by_handle(parse_handle(handle)) if is_owner else wallet
    ended = None
    if person is not None:
        async with books.database.session() as session:
            ended = await session.scalar(
                delete(TillStaffRow)
                .where(TillStaffRow.till_id == till_id, TillStaffRow.wallet_id == person.id)
                .returning(TillStaffRow.till_id)
            )
    if ended is None:
        # To somebody else a till where they were never asked is as one that is not there.
        raise _not_found() if is_owner else till_not_found()


async def staff_of(books: MerchantBooks, access: TillAccess) -> list[TillStaff]:
    """Who works at a till or was asked to; only the owner sees them."""
    access.needs_owner()
    async with books.database.session() as session:
        rows = (
            await session.scalars(
                select(TillStaffRow)
                .where(TillStaffRow.till_id == access.till.id)
                .order_by(TillStaffRow.invited_at, TillStaffRow.wallet_id)
            )
        ).all()
    wallets = await books.directory.by_ids({row.wallet_id for row in rows})
    return [_staff(row, wallets[row.wallet_id]) for row in rows]


async def invitations_of(books: MerchantBooks, *, wallet: Wallet) -> list[Invitation]:
    """The tills at which a wallet's person was asked to work, and has not said yes."""
    async with books.database.session() as session:
        rows = (
            await session.scalars(
                select(TillStaffRow)
                .where(TillStaffRow.wallet_id == wallet.id, TillStaffRow.accepted_at.is_(None))
                .order_by(TillStaffRow.invited_at, TillStaffRow.till_id)
                .limit(STAFF_MAX)
            )
        ).all()
    found = [(row, await till_by_id(books, row.till_id)) for row in rows]
    return [Invitation(till, tuple(map(TillRight, row.rights))) for row, till in found if till is not None]


def _staff(row: TillStaffRow, wallet: Wallet) -> TillStaff:
    return TillStaff(wallet, tuple(map(TillRight, row.rights)), row.invited_at, row.accepted_at)


def _not_found() -> Refusal:
    return Refusal(MerchantCode.STAFF_NOT_FOUND, "Nobody with this handle was asked to work here.")
