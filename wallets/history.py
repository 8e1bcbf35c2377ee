"""History: a wallet's transfers, newest first, each with the balance after it.

The lines are the ledger's own statement of the wallet's accounts; the accounts of
several assets are merged by time, which is unique over the whole ledger. A page
ends with a cursor that stays valid while new lines arrive before it. A filtered
history is the ledger's own search; its cursors belong to that one filter.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from foundation.assets import asset_by_ledger
from foundation.errors import Refusal
from foundation.money import Money
from ledger.chart import TransferCode
from ledger.contract import ChangeEventType, InvalidFilter, StatementLine, Transfer, TransferFlags
from ledger.interface import Ledger
from ledger.queries.questions import StatementEntry, TransferSearch
from wallets.errors import WalletCode
from wallets.history_filters import Direction, HistoryFilter, HistoryKind, history_kind
from wallets.memos import Memo, Memos
from wallets.wallets import Wallet, WalletDirectory

PAGE_MAX: Final = 100
"""Most lines on a page."""

_CURSOR_PREFIX: Final = b"history:"

_ALL: Final = HistoryFilter()


class Effect(StrEnum):
    """What a line did to the balance."""

    SETTLED = "settled"
    """The money moved."""
    RESERVED = "reserved"
    """The money is held for something that is under way."""
    POSTED = "posted"
    """Money held before has moved."""
    RELEASED = "released"
    """Money held before is free again."""


_BETWEEN_WALLETS = frozenset({TransferCode.PAYMENT, TransferCode.PAYMENT_REFUND, TransferCode.PAYMENT_RECALL})
_ABOUT_ONE_THING = frozenset(
    {TransferCode.WITHDRAWAL, TransferCode.WITHDRAWAL_FEE, TransferCode.PAYMENT_RECALL}
)


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One transfer of a wallet, and the balance of that asset after it."""

    id: UUID
    """The transfer's id; for a payment the payment's."""
    kind: HistoryKind
    direction: Direction
    effect: Effect
    amount: Money
    balance: Money
    """After this line, reserved money included."""
    available: Money
    """After this line, reserved money left out."""
    counterparty: str | None
    """Handle of the other wallet, where there is one."""
    reference: UUID | None
    """Of a payment: the payer's number; of a fee, refund or recall: the payment; of a
    withdrawal's lines: the withdrawal; of other money posted or released: the line that reserved it."""
    at_ns: int
    """The ledger's time, nanoseconds since 1970."""
    memo_mark: int = 0
    """Of a payment: by which its memo is known (``Memo.mark``); 0 where it has none."""
    memo: Memo | None = None
    """Where memos were asked for (``with_memos``)."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Lines, newest first, and the cursor of the next page, None at the end."""

    lines: Sequence[HistoryLine]
    next_cursor: str | None


async def history(
    ledger: Ledger,
    directory: WalletDirectory,
    *,
    wallet: Wallet,
    only: HistoryFilter = _ALL,
    cursor: str | None = None,
    limit: int = 50,
) -> HistoryPage:
    """A page of a wallet's history, or of the lines that ``only`` lets through.

    ``limit`` is 1 to ``PAGE_MAX``. Refused as ``cursor_malformed``, and as the filter
    says. A filtered page may be short, or even empty, before the last one: the ledger
    looks for a second and says how far it came. The end is where no cursor is.
    """
    assert 1 <= limit <= PAGE_MAX
    if only.is_open:
        return await _unfiltered(ledger, directory, wallet, only, cursor, limit)
    only.check()
    search = TransferSearch(
        any_of=await only.criteria(directory, wallet),
        timestamp_min=only.since_ns or 0,
        timestamp_max=only.until_ns - 1 if only.until_ns is not None else 0,
        newest_first=True,
        limit=limit,
        cursor=cursor,
    )
    try:
        found = await ledger.search_transfers(search)
    except InvalidFilter as error:
        if error.field_name != "cursor":
            raise
        raise _cursor_refused() from None
    lines = await _with_balances(ledger, set(only.account_ids(wallet)), found.transfers)
    return HistoryPage(await _shown(directory, lines), found.cursor)


async def _unfiltered(
    ledger: Ledger,
    directory: WalletDirectory,
    wallet: Wallet,
    only: HistoryFilter,
    cursor: str | None,
    limit: int,
) -> HistoryPage:
    before = _parse_cursor(cursor) if cursor is not None else None
    accounts = only.account_ids(wallet)
    # One line more than the page tells whether another page follows.
    statements = await asyncio.gather(
        *(ledger.get_statement(account, before=before, limit=limit + 1) for account in accounts)
    )
    merged = sorted(
        ((account, line) for account, lines in zip(accounts, statements, strict=True) for line in lines),
        key=lambda pair: pair[1].transfer.timestamp,
        reverse=True,
    )
    page = merged[:limit]
    more = len(merged) > limit
    return HistoryPage(
        await _shown(directory, page), _cursor(page[-1][1].transfer.timestamp) if more else None
    )


async def _with_balances(
    ledger: Ledger, own: set[int], transfers: Sequence[Transfer]
) -> list[tuple[int, StatementLine]]:
    """Each transfer with its account and the balance after it, which a search does not tell.

    The lines that lie close together come with one question for each account; what
    lies further back is asked for one by one, so a page costs ``PAGE_MAX`` short
    questions at most, however far apart its lines are.
    """
    accounts = [t.debit_account_id if t.debit_account_id in own else t.credit_account_id for t in transfers]
    newest = {
        account: t.timestamp for account, t in zip(reversed(accounts), reversed(transfers), strict=True)
    }
    close = await asyncio.gather(
        *(
            ledger.get_statement(account, before=at + 1, limit=2 * accounts.count(account))
            for account, at in newest.items()
        )
    )
    lines = {line.transfer.id: line for statement in close for line in statement}
    far = [(a, t) for a, t in zip(accounts, transfers, strict=True) if t.id not in lines]
    for statement in await asyncio.gather(
        *(ledger.get_statement(account, before=t.timestamp + 1, limit=1) for account, t in far)
    ):
        lines |= {line.transfer.id: line for line in statement}
    return [(account, lines[t.id]) for account, t in zip(accounts, transfers, strict=True)]


async def _shown(directory: WalletDirectory, page: Sequence[tuple[int, StatementLine]]) -> list[HistoryLine]:
    others = await directory.by_accounts(
        other_account(account, line.transfer)
        for account, line in page
        if line.transfer.code in _BETWEEN_WALLETS
    )
    return [_line(account, line, others.get(other_account(account, line.transfer))) for account, line in page]


async def lines_of(
    directory: WalletDirectory, entries: Sequence[tuple[int, StatementEntry]]
) -> list[HistoryLine]:
    """Entries of the ledger's statements, each with its account, as lines of history."""
    lines = await _shown(
        directory, [(account, StatementLine(entry.transfer, entry.balance)) for account, entry in entries]
    )
    return [
        # An expiry is told by the transfer that had reserved the money, and happened later.
        replace(line, effect=Effect.RELEASED, at_ns=entry.timestamp)
        if entry.type is ChangeEventType.TWO_PHASE_EXPIRED
        else line
        for line, (_, entry) in zip(lines, entries, strict=True)
    ]


def _line(account_id: int, line: StatementLine, other: Wallet | None) -> HistoryLine:
    transfer, after = line.transfer, line.balance
    asset = asset_by_ledger(transfer.ledger)
    balance = Money(after.credits_posted - after.debits_posted, asset)
    outward = transfer.debit_account_id == account_id
    return HistoryLine(
        id=UUID(int=transfer.id),
        kind=history_kind(transfer.code),
        direction=Direction.OUT if outward else Direction.IN,
        effect=effect_of(transfer.flags),
        amount=Money(transfer.amount, asset),
        balance=balance,
        available=balance - Money(after.debits_pending, asset),
        counterparty=other.handle_at(transfer.timestamp) if other is not None else None,
        reference=reference_of(transfer),
        at_ns=transfer.timestamp,
        memo_mark=transfer.user_data_64 if transfer.code == TransferCode.PAYMENT else 0,
    )


async def with_memos(
    memos: Memos, lines: Sequence[HistoryLine], *, sha256: bytes | None = None
) -> list[HistoryLine]:
    """The lines, and the memos of those that have one; asks the database only if one has.

    With ``sha256`` only lines whose memo has it: the ledger, which searches, knows 64 bits of it.
    """
    found = await memos.of({line.id: line.memo_mark for line in lines})
    shown = [replace(line, memo=found[line.id]) if line.id in found else line for line in lines]
    if sha256 is None:
        return shown
    return [line for line in shown if line.memo is not None and line.memo.sha256 == sha256]


def reference_of(transfer: Transfer) -> UUID | None:
    """What a line is about: see :attr:`HistoryLine.reference`."""
    reference = transfer.pending_id or transfer.user_data_128
    if transfer.code in _ABOUT_ONE_THING:
        reference = transfer.user_data_128
    return UUID(int=reference) if reference else None


def other_account(account_id: int, transfer: Transfer) -> int:
    """The account on the other side of a transfer."""
    if transfer.debit_account_id == account_id:
        return transfer.credit_account_id
    return transfer.debit_account_id


def effect_of(flags: int) -> Effect:
    """What a transfer with these flags does to a balance."""
    if flags & TransferFlags.PENDING:
        return Effect.RESERVED
    if flags & TransferFlags.POST_PENDING_TRANSFER:
        return Effect.POSTED
    if flags & TransferFlags.VOID_PENDING_TRANSFER:
        return Effect.RELEASED
    return Effect.SETTLED


def _cursor(timestamp: int) -> str:
    return base64.urlsafe_b64encode(_CURSOR_PREFIX + timestamp.to_bytes(8, "big")).rstrip(b"=").decode()


def _parse_cursor(text: str) -> int:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if len(text) <= 64 else b""
    except (binascii.Error, ValueError):
        raw = b""
    timestamp = int.from_bytes(raw.removeprefix(_CURSOR_PREFIX), "big")
    if len(raw) != len(_CURSOR_PREFIX) + 8 or timestamp >= 2**63 or _cursor(timestamp) != text:
        raise _cursor_refused()
    return timestamp


def _cursor_refused() -> Refusal:
    return Refusal(WalletCode.CURSOR_MALFORMED, "The cursor is not one that a page gave.")
