"""Businesses: what a wallet is called as one, and its tills.

Any wallet may be a business; tiers decide how much it may pay, and a business is paid. A
till's payments go to the business' own wallet, and say by their reference where they were
made: the till's id, or that of an invoice of the till. So a till has no balance that could
be wrong, and whoever works at one holds no money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from foundation.assets import Asset, asset_by_code
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from ledger.interface import Ledger
from wallets.merchant_errors import MerchantCode
from wallets.merchant_models import InvoiceRow, MerchantRow, TillRow, TillStaffRow
from wallets.payments import check_id
from wallets.wallets import Wallet, WalletDirectory

TILLS_MAX: Final = 50
"""Most tills of a business."""


@dataclass(frozen=True, slots=True)
class MerchantBooks:
    """What businesses are kept with."""

    database: Database
    ledger: Ledger
    clock: Clock
    directory: WalletDirectory


@dataclass(frozen=True, slots=True)
class Merchant:
    """A wallet as a business."""

    wallet: Wallet
    name: str


@dataclass(frozen=True, slots=True)
class Till:
    """A place where a business is paid."""

    id: UUID
    merchant: Merchant
    name: str
    asset: Asset


@dataclass(frozen=True, slots=True)
class TillMade:
    """The answer to an order: the till, and whether an earlier request made it."""

    till: Till
    replayed: bool


async def save_merchant(books: MerchantBooks, *, wallet: Wallet, name: str) -> Merchant:
    """Make a wallet a business, or give the business another name."""
    async with books.database.session() as session:
        await session.execute(
            insert(MerchantRow)
            .values(wallet_id=wallet.id, name=name, created_at=books.clock.now())
            .on_conflict_do_update(index_elements=[MerchantRow.wallet_id], set_={"name": name})
        )
    return Merchant(wallet, name)


async def merchant_of(books: MerchantBooks, *, wallet: Wallet) -> Merchant:
    """A wallet as a business; refused as ``merchant_not_found`` when it is none."""
    async with books.database.session() as session:
        row = await session.get(MerchantRow, wallet.id)
    if row is None:
        raise Refusal(
            MerchantCode.MERCHANT_NOT_FOUND, "This wallet is no business yet: give it a name first."
        )
    return Merchant(wallet, row.name)


async def open_till(
    books: MerchantBooks, *, wallet: Wallet, till_id: UUID, name: str, asset: Asset
) -> TillMade:
    """Open a till once under the owner's id.

    Refused as ``payment_id_malformed``, ``merchant_not_found``, ``merchant_id_taken`` or
    ``merchant_list_full``.
    """
    check_id(till_id)
    merchant = await merchant_of(books, wallet=wallet)
    async with books.database.session() as session:
        # Tills of one business are opened one after the other, or two at once would both be the last.
        await session.execute(
            select(MerchantRow.wallet_id).where(MerchantRow.wallet_id == wallet.id).with_for_update()
        )
        known = await session.get(TillRow, till_id)
        if known is not None:
            if (known.merchant_id, known.name, known.asset) != (wallet.id, name, asset.code):
                raise id_taken()
            return TillMade(_till(known, merchant), replayed=True)
        count = await session.scalar(
            select(func.count()).select_from(TillRow).where(TillRow.merchant_id == wallet.id)
        )
        if (count or 0) >= TILLS_MAX:
            raise list_full(TILLS_MAX)
        # An invoice with this id would make this till's payments its own.
        if await session.get(InvoiceRow, till_id) is not None:
            raise id_taken()
        # Another business may take the same id at this moment: the first one keeps it.
        made = await session.scalar(
            insert(TillRow)
            .values(
                id=till_id,
                merchant_id=wallet.id,
                name=name,
                asset=asset.code,
                created_at=books.clock.now(),
            )
            .on_conflict_do_nothing(index_elements=[TillRow.id])
            .returning(TillRow)
        )
        if made is None:
            raise id_taken()
        return TillMade(_till(made, merchant), replayed=False)


async def tills_of(books: MerchantBooks, *, wallet: Wallet) -> list[Till]:
    """The tills that a wallet owns, and those where its person works, in order of opening."""
    works_at = select(TillStaffRow.till_id).where(
        TillStaffRow.wallet_id == wallet.id, TillStaffRow.accepted_at.is_not(None)
    )
    async with books.database.session() as session:
        rows = (
            await session.execute(
                select(TillRow, MerchantRow)
                .join(MerchantRow, MerchantRow.wallet_id == TillRow.merchant_id)
                .where((TillRow.merchant_id == wallet.id) | TillRow.id.in_(works_at))
                .order_by(TillRow.created_at, TillRow.id)
            )
        ).all()
    return await _tills(books, [(till, merchant) for till, merchant in rows])


async def till_by_id(books: MerchantBooks, till_id: UUID) -> Till | None:
    """A till, whoever asks; who may act there is decided by ``wallets.till_rights``."""
    async with books.database.session() as session:
        row = (
            await session.execute(
                select(TillRow, MerchantRow)
                .join(MerchantRow, MerchantRow.wallet_id == TillRow.merchant_id)
                .where(TillRow.id == till_id)
            )
        ).one_or_none()
    return (await _tills(books, [(row[0], row[1])]))[0] if row is not None else None


def till_not_found() -> Refusal:
    """The answer to whoever has nothing to do with a till, or asks for one that is not there."""
    return Refusal(MerchantCode.TILL_NOT_FOUND, "There is no till with this id at which you may act.")


def id_taken() -> Refusal:
    """The answer to an id that stands for another till or invoice."""
    return Refusal(MerchantCode.MERCHANT_ID_TAKEN, "This id is in use for something else; make a new one.")


def list_full(most: int) -> Refusal:
    """The answer to one more than ``most``."""
    return Refusal(
        MerchantCode.MERCHANT_LIST_FULL, f"There are {most} already, and no more may be.", most=most
    )


async def _tills(books: MerchantBooks, rows: Sequence[tuple[TillRow, MerchantRow]]) -> list[Till]:
    wallets = await books.directory.by_ids({merchant.wallet_id for _, merchant in rows})
    return [_till(till, Merchant(wallets[merchant.wallet_id], merchant.name)) for till, merchant in rows]


def _till(row: TillRow, merchant: Merchant) -> Till:
    return Till(row.id, merchant, row.name, asset_by_code(row.asset))
