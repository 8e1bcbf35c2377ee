"""Bringing a file of payments: every line is checked, and nothing moves.

The file's row and its lines are written in one database transaction: if the process dies,
all of them are there or none, and the same request again tells. The same file under the
same id gives the bulk payment as it stands.

A file tells its maker which of ten thousand handles exist, so only a business that the bank
knows may bring one, handles that nobody has count as look-ups, and whoever has looked too
many up waits as everybody does. What was asked stays in the lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from foundation.assets import Asset
from foundation.clock import Clock
from foundation.database import Database, is_any
from foundation.errors import Refusal
from foundation.money import Money
from ledger.contract import BATCH_MAX, AccountFlags
from ledger.interface import Ledger
from wallets.bulk_errors import BulkCode
from wallets.bulk_files import BulkFile, BulkLine, read_bulk_file
from wallets.bulk_models import BulkPaymentRow
from wallets.bulk_payments import BulkPayment, bulk_payment_of
from wallets.errors import WalletCode
from wallets.fees import payment_fee
from wallets.handle_lookups import LOOKUPS_PER_MINUTE, HandleLookups
from wallets.handle_models import FormerHandleRow
from wallets.models import WalletRow
from wallets.payments import check_id
from wallets.tiers import TIER_LIMITS, Tier
from wallets.wallets import Wallet, open_wallet_accounts, wallet_account

MISSING_ACCOUNTS_MAX: Final = 100
"""Payees whose accounts in a newer asset are opened while a file is checked."""

_COPY_LINES: Final = (
    "COPY wallets_bulk_line (bulk_id, number, payee, payee_id, amount, fee, reference, fault) FROM STDIN"
)


@dataclass(frozen=True, slots=True)
class BulkBooks:
    """What files are checked and kept with."""

    database: Database
    ledger: Ledger
    clock: Clock
    lookups: HandleLookups


@dataclass(frozen=True, slots=True)
class BulkOrder:
    """What a payer's device asks for."""

    id: UUID
    """Made by the maker's device, and kept there before it is sent."""
    payer: Wallet
    made_by: UUID
    """The device; another one releases the file."""
    asset: Asset
    content: bytes
    """The file."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The answer to an order: the bulk payment, and whether an earlier request made it."""

    bulk_payment: BulkPayment
    replayed: bool


async def upload_bulk_payment(books: BulkBooks, order: BulkOrder) -> Uploaded:
    """Check a file, and keep it with what is wrong with it.

    Refused as ``payment_id_malformed``, ``bulk_tier_needed``, ``too_many_lookups``, as
    ``read_bulk_file`` says, as ``bulk_id_taken`` or as ``bulk_id_used_differently``.
    """
    check_id(order.id)
    if order.payer.tier is not Tier.BUSINESS:
        raise Refusal(BulkCode.BULK_TIER_NEEDED, "Files of payments are for businesses that the bank knows.")
    books.lookups.check(order.payer.person_id)
    # Ten thousand lines take longer than anybody else's request should wait for.
    file = await asyncio.to_thread(read_bulk_file, order.content, order.asset)
    before = await _known(books.database, order, file)
    if before is not None:
        return before
    payees = await _payees(books, order, file.lines)
    try:
        async with books.database.session() as session:
            row = _row(order, file, books.clock)
            session.add(row)
            await session.flush()
            await _copy_lines(await session.connection(), order, file.lines, payees)
    except IntegrityError:
        # The same request was faster by a moment, or another one with this id.
        found = await _known(books.database, order, file)
        if found is None:
            raise
        return found
    return Uploaded(bulk_payment_of(row, order.payer), replayed=False)


async def _known(database: Database, order: BulkOrder, file: BulkFile) -> Uploaded | None:
    async with database.session() as session:
        row = await session.get(BulkPaymentRow, order.id)
    if row is None:
        return None
    if row.payer_id != order.payer.id:
        raise Refusal(BulkCode.BULK_ID_TAKEN, "This id is in use; make a new one.")
    for field, was, now in (
        ("asset", row.asset, order.asset.code),
        ("digest", row.digest, file.digest),
        # Else a second device that repeats the first one's request would believe that it is the maker.
        ("device", row.made_by, order.made_by),
    ):
        if was != now:
            raise Refusal(
                BulkCode.BULK_ID_USED_DIFFERENTLY,
                f"A file was brought under this id with another {field}.",
                field=field,
            )
    return Uploaded(bulk_payment_of(row, order.payer), replayed=True)


async def _payees(books: BulkBooks, order: BulkOrder, lines: Sequence[BulkLine]) -> dict[str, UUID]:
    """The wallets of the lines' payees by handle; what is wrong with a payee is written to the lines."""
    wanted = {line.payee for line in lines if line.fault is None}
    async with books.database.connection() as connection:
        # A wallet that is not listed is as nobody's here; the payer's own is told from it below.
        listed = WalletRow.unlisted_at.is_(None) | (WalletRow.id == order.payer.id)
        own = select(WalletRow.handle, WalletRow.id).where(is_any(WalletRow.handle, wanted), listed)
        former = (
            select(FormerHandleRow.handle, WalletRow.id)
            .join(WalletRow, WalletRow.id == FormerHandleRow.wallet_id)
            .where(
                is_any(FormerHandleRow.handle, wanted),
                FormerHandleRow.pays_until > books.clock.now(),
                listed,
            )
        )
        rows = await connection.execute(own.union_all(former))
        found: dict[str, UUID] = {row.handle: row.id for row in rows}
    await _count_lookups(books.lookups, order.payer.person_id, len(wanted - found.keys()))
    closed = await _closed(books.ledger, found.values(), order.asset)
    most = TIER_LIMITS[order.payer.tier].get(order.asset)
    for line in lines:
        if line.fault is not None or line.amount is None:
            continue
        payee_id = found.get(line.payee)
        if payee_id is None:
            line.fault = WalletCode.PAYEE_UNKNOWN
        elif payee_id == order.payer.id:
            line.fault = WalletCode.PAYEE_IS_PAYER
        elif payee_id in closed:
            line.fault = WalletCode.WALLET_CLOSED
        elif most is not None and line.amount.minor > most.per_payment:
            line.fault = WalletCode.GREATER_THAN_TRANSACTION_MAX_VALUE
    return found


async def _count_lookups(lookups: HandleLookups, person_id: UUID, unknown: int) -> None:
    # The file that goes beyond the bound is told all of its lines, or nobody could correct it; the
    # next one waits. One more than the bound has every process know.
    with suppress(Refusal):
        for _ in range(min(unknown, LOOKUPS_PER_MINUTE + 1)):
            await lookups.count(person_id)


async def _closed(ledger: Ledger, wallet_ids: Iterable[UUID], asset: Asset) -> set[UUID]:
    """Those whose account in the asset is closed. Accounts that are missing are opened, a few at a time."""
    accounts = {wallet_account(wallet_id, asset): wallet_id for wallet_id in wallet_ids}
    ids, closed, there = list(accounts), set(), set()
    for start in range(0, len(ids), BATCH_MAX):
        for account in await ledger.lookup_accounts(ids[start : start + BATCH_MAX]):
            there.add(account.id)
            if account.flags & AccountFlags.CLOSED:
                closed.add(accounts[account.id])
    # A wallet that is older than the asset has no account in it yet. What is not opened here is
    # refused line by line as wallet_account_missing, and the next file finds fewer of them.
    for account_id in [each for each in ids if each not in there][:MISSING_ACCOUNTS_MAX]:
        await open_wallet_accounts(ledger, accounts[account_id])
    return closed


def _row(order: BulkOrder, file: BulkFile, clock: Clock) -> BulkPaymentRow:
    good = [line.amount for line in file.lines if line.fault is None and line.amount is not None]
    return BulkPaymentRow(
        id=order.id,
        payer_id=order.payer.id,
        made_by=order.made_by,
        asset=order.asset.code,
        digest=file.digest,
        lines=len(file.lines),
        wrong=len(file.lines) - len(good),
        total=sum((each.minor for each in good), 0),
        fees=sum((payment_fee(each).minor for each in good), 0),
        created_at=clock.now(),
        done=0,
        paid=0,
        paid_total=0,
    )


async def _copy_lines(
    connection: AsyncConnection, order: BulkOrder, lines: Sequence[BulkLine], payees: dict[str, UUID]
) -> None:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    async with driver.cursor() as cursor, cursor.copy(_COPY_LINES) as copy:
        for line in lines:
            await copy.write_row(
                (
                    order.id,
                    line.number,
                    line.payee,
                    payees.get(line.payee),
                    line.amount.minor if line.amount is not None else None,
                    _fee(line.amount),
                    line.reference,
                    line.fault.value if line.fault is not None else None,
                )
            )


def _fee(amount: Money | None) -> int | None:
    return payment_fee(amount).minor if amount is not None else None
