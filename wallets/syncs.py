"""Syncs: all that changed in a wallet since a place, in one answer, and the place to go on from.

A place is in two orders. In the ledger's, it is the time of a line: lines are committed in
the order of their times, so what comes later has a later one, and each line comes exactly
once. In the database's, it is a change of an object (a request to pay, a withdrawal, a
deposit): such rows become visible in the order in which their transactions end, not in that
in which they began. So only changes of transactions before the oldest one that is under way
are brought; what that one writes comes when it has ended, and nothing can appear before a
place that was passed. An object comes again whenever it changed, as it stands now.

What a thing has become is often the ledger's word and changes no row: a request is accepted
by a payment, a withdrawal ends by a transfer. So the objects that lines are about come with
the lines, read after them; and withdrawals under way come each time, since sending them
writes nothing of theirs.

A place belongs to no wallet: in another one it means the same times. An app that would show
a stored place in the view of a duress PIN must not be told that it is another wallet's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from foundation.assets import ASSETS
from foundation.errors import Refusal
from ledger.contract import Account
from ledger.interface import Ledger
from ledger.queries.questions import BalancesAsOf, PeriodStatement, StatementEntry
from treasury.deposits import Deposit, deposits_by_ids
from treasury.withdrawals import Withdrawal, list_open_withdrawals, withdrawals_by_ids
from wallets.balances import Balance, balance_of
from wallets.errors import WalletCode
from wallets.history import HistoryLine, lines_of
from wallets.history_filters import HistoryKind
from wallets.models import PaymentRequestRow
from wallets.payment_requests import Books, PaymentRequest, settled
from wallets.sync_models import WalletChangeRow
from wallets.wallets import Wallet, wallet_account

PAGE_MAX: Final = 50
"""Most lines, and most changed objects, in one answer."""

OBJECTS_PER_LINE: Final = 3
"""Objects for each line that was asked for, at most: its own, a changed one, a withdrawal under way."""

_PLACE: Final = struct.Struct(">4sqqq")
_PREFIX: Final = b"sync"


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a wallet is known; all of it has been brought, and nothing after it."""

    ledger_ns: int = 0
    """The ledger's time of the last line."""
    transaction: int = 0
    """The database's transaction of the last change."""
    number: int = 0
    """The last change of that transaction."""


@dataclass(frozen=True, slots=True)
class SyncPage:
    """What changed; lines in the order of the books."""

    lines: Sequence[HistoryLine]
    requests: Sequence[PaymentRequest]
    withdrawals: Sequence[Withdrawal]
    deposits: Sequence[Deposit]
    """From when they are final; what is only seen in a block may still vanish."""
    balances: Sequence[Balance]
    """As of one instant, after every line of this page if ``has_more`` is false."""
    next_cursor: str
    has_more: bool
    """More has changed already: ask at once."""


async def sync(books: Books, *, wallet: Wallet, cursor: str | None = None, limit: int = 5) -> SyncPage:
    """What changed in a wallet since a cursor, or ever; refused as ``cursor_malformed``.

    ``limit`` is 1 to ``PAGE_MAX``: lines, changed objects, and withdrawals under way each.
    """
    assert 1 <= limit <= PAGE_MAX
    place = _parse(cursor) if cursor is not None else Place()
    changes = await _changes(books, wallet, place, limit + 1)
    accounts = [wallet_account(wallet.id, asset) for asset in ASSETS]
    found = await books.ledger.get_balances_as_of(BalancesAsOf(account_ids=tuple(accounts)))
    entries = await _entries(books.ledger, found.accounts, place.ledger_ns, found.timestamp, limit + 1)
    lines = await lines_of(books.directory, entries[:limit])
    has_more = len(changes) > limit or len(entries) > limit
    changes = changes[:limit]
    last = changes[-1] if changes else None
    reached = Place(
        lines[-1].at_ns if len(entries) > limit else max(found.timestamp, place.ledger_ns),
        last.transaction if last is not None else place.transaction,
        last.number if last is not None else place.number,
    )
    # Read after lines and changes, so that each is at least as new as what it comes for.
    requests, withdrawals, deposits = await _objects(books, wallet, changes, lines, limit)
    held = {account.id: account for account in found.accounts}
    return SyncPage(
        lines=lines,
        requests=requests,
        withdrawals=withdrawals,
        deposits=deposits,
        balances=[
            balance_of(held.get(account, Account()), asset)
            for account, asset in zip(accounts, ASSETS, strict=True)
        ],
        next_cursor=_text(reached),
        has_more=has_more,
    )


async def _changes(books: Books, wallet: Wallet, place: Place, limit: int) -> list[WalletChangeRow]:
    where = tuple_(WalletChangeRow.transaction, WalletChangeRow.number)
    oldest_under_way: Any = text("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    async with books.database.session() as session:
        rows = await session.scalars(
            select(WalletChangeRow)
            .where(
                WalletChangeRow.wallet_id == wallet.id,
                where > tuple_(place.transaction, place.number),
                WalletChangeRow.transaction < oldest_under_way,
            )
            .order_by(WalletChangeRow.transaction, WalletChangeRow.number)
            .limit(limit)
        )
        return list(rows)


async def _entries(
    ledger: Ledger, accounts: Sequence[Account], after_ns: int, upto_ns: int, limit: int
) -> list[tuple[int, StatementEntry]]:
    """The oldest lines of all accounts after a time, up to one that is the same for all of them."""
    if after_ns >= upto_ns:
        return []
    pages = await asyncio.gather(
        *(
            ledger.get_period_statement(
                PeriodStatement(each.id, timestamp_min=after_ns + 1, timestamp_max=upto_ns, limit=limit)
            )
            for each in accounts
        )
    )
    merged = [
        (account.id, entry) for account, page in zip(accounts, pages, strict=True) for entry in page.entries
    ]
    return sorted(merged, key=lambda pair: pair[1].timestamp)[:limit]


async def _objects(
    books: Books,
    wallet: Wallet,
    changes: Sequence[WalletChangeRow],
    lines: Sequence[HistoryLine],
    limit: int,
) -> tuple[list[PaymentRequest], list[Withdrawal], list[Deposit]]:
    wanted: dict[str, set[UUID]] = {"request": set(), "withdrawal": set(), "deposit": set()}
    for change in changes:
        wanted[change.kind].add(change.object_id)
    for line in lines:
        match line.kind:
            case HistoryKind.PAYMENT if line.reference is not None:
                wanted["request"].add(line.reference)
            case HistoryKind.WITHDRAWAL if line.reference is not None:
                wanted["withdrawal"].add(line.reference)
            case HistoryKind.DEPOSIT:
                wanted["deposit"].add(line.id)
    async with books.database.session() as session:
        rows = await _requests(session, wallet, wanted["request"])
        under_way = await list_open_withdrawals(session, wallet_id=wallet.id, limit=limit)
    wanted["withdrawal"].update(under_way)
    return (
        await settled(books, rows),
        await withdrawals_by_ids(
            books.database, books.ledger, wallet_id=wallet.id, ids=sorted(wanted["withdrawal"])
        ),
        await deposits_by_ids(
            books.database, books.ledger, wallet_id=wallet.id, ids=sorted(wanted["deposit"])
        ),
    )


async def _requests(session: AsyncSession, wallet: Wallet, ids: set[UUID]) -> list[PaymentRequestRow]:
    if not ids:
        return []
    # A payer may write any reference: only requests of this wallet are its business.
    own = (PaymentRequestRow.payee_id == wallet.id) | (PaymentRequestRow.payer_id == wallet.id)
    rows = await session.scalars(
        select(PaymentRequestRow)
        .where(PaymentRequestRow.id.in_(ids), own)
        .order_by(PaymentRequestRow.created_at, PaymentRequestRow.id)
    )
    return list(rows)


def _text(place: Place) -> str:
    packed = _PLACE.pack(_PREFIX, place.ledger_ns, place.transaction, place.number)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _parse(cursor: str) -> Place:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)) if len(cursor) <= 64 else b""
        prefix, *numbers = _PLACE.unpack(raw)
    except (binascii.Error, ValueError, struct.error):
        prefix, numbers = b"", [0, 0, 0]
    place = Place(*numbers)
    if prefix != _PREFIX or min(numbers) < 0 or _text(place) != cursor:
        raise Refusal(WalletCode.CURSOR_MALFORMED, "The cursor is not one that a sync gave.")
    return place
