"""History: a wallet's transfers, newest first, each with the balance after it.

The lines are the ledger's own statement of the wallet's accounts; the accounts of
several assets are merged by time, which is unique over the whole ledger. A page
ends with a cursor that stays valid while new lines arrive before it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from foundation.assets import ASSETS, Asset, asset_by_ledger
from foundation.errors import Refusal
from foundation.money import Money
from ledger.chart import TransferCode
from ledger.contract import StatementLine, Transfer, TransferFlags
from ledger.interface import Ledger
from wallets.errors import WalletCode
from wallets.wallets import Wallet, WalletDirectory, wallet_account

PAGE_MAX: Final = 100
"""Most lines on a page."""

_CURSOR_PREFIX: Final = b"history:"


class Direction(StrEnum):
    """Which way the money went, seen from the wallet."""

    IN = "in"
    """Into the wallet."""
    OUT = "out"
    """Out of the wallet."""


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


class HistoryKind(StrEnum):
    """What a line of history is about."""

    PAYMENT = "payment"
    """Wallet to wallet."""
    PAYMENT_FEE = "payment_fee"
    """The fee of a payment."""
    REFUND = "refund"
    """A payment given back, all or in part."""
    DEPOSIT = "deposit"
    """Tokens that arrived on chain."""
    WITHDRAWAL = "withdrawal"
    """Tokens sent to an address on chain."""
    WITHDRAWAL_FEE = "withdrawal_fee"
    """The fee of a withdrawal."""
    CORRECTION = "correction"
    """An earlier line taken back."""
    OTHER = "other"
    """Something newer than this list."""


_KINDS: Final = {
    TransferCode.PAYMENT: HistoryKind.PAYMENT,
    TransferCode.PAYMENT_FEE: HistoryKind.PAYMENT_FEE,
    TransferCode.PAYMENT_REFUND: HistoryKind.REFUND,
    TransferCode.DEPOSIT: HistoryKind.DEPOSIT,
    TransferCode.WITHDRAWAL: HistoryKind.WITHDRAWAL,
    TransferCode.WITHDRAWAL_FEE: HistoryKind.WITHDRAWAL_FEE,
    TransferCode.CORRECTION: HistoryKind.CORRECTION,
    # The rest of a deposit that was taken back, taken later.
    TransferCode.DEBT_SETTLED: HistoryKind.CORRECTION,
}


_BETWEEN_WALLETS = frozenset({TransferCode.PAYMENT, TransferCode.PAYMENT_REFUND})
_OF_A_WITHDRAWAL = frozenset({TransferCode.WITHDRAWAL, TransferCode.WITHDRAWAL_FEE})


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
    """Of a payment: the payer's number; of a fee or refund: the payment; of a withdrawal's
    lines: the withdrawal; of other money posted or released: the line that reserved it."""
    at_ns: int
    """The ledger's time, nanoseconds since 1970."""


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
    asset: Asset | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> HistoryPage:
    """A page of a wallet's history, of one asset or of all; ``cursor_malformed`` is refused.

    ``limit`` is 1 to ``PAGE_MAX``.
    """
    assert 1 <= limit <= PAGE_MAX
    before = _parse_cursor(cursor) if cursor is not None else None
    accounts = [wallet_account(wallet.id, each) for each in ((asset,) if asset else ASSETS)]
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
    others = await directory.by_accounts(
        _other(account, line.transfer) for account, line in page if line.transfer.code in _BETWEEN_WALLETS
    )
    lines = [_line(account, line, others.get(_other(account, line.transfer))) for account, line in page]
    more = len(merged) > limit
    return HistoryPage(lines, _cursor(page[-1][1].transfer.timestamp) if more else None)


def _line(account_id: int, line: StatementLine, other: Wallet | None) -> HistoryLine:
    transfer, after = line.transfer, line.balance
    asset = asset_by_ledger(transfer.ledger)
    balance = Money(after.credits_posted - after.debits_posted, asset)
    outward = transfer.debit_account_id == account_id
    reference = transfer.pending_id or transfer.user_data_128
    if transfer.code in _OF_A_WITHDRAWAL:
        reference = transfer.user_data_128
    return HistoryLine(
        id=UUID(int=transfer.id),
        kind=_kind(transfer.code),
        direction=Direction.OUT if outward else Direction.IN,
        effect=_effect(transfer.flags),
        amount=Money(transfer.amount, asset),
        balance=balance,
        available=balance - Money(after.debits_pending, asset),
        counterparty=other.handle if other is not None else None,
        reference=UUID(int=reference) if reference else None,
        at_ns=transfer.timestamp,
    )


def _other(account_id: int, transfer: Transfer) -> int:
    if transfer.debit_account_id == account_id:
        return transfer.credit_account_id
    return transfer.debit_account_id


def _kind(code: int) -> HistoryKind:
    try:
        return _KINDS.get(TransferCode(code), HistoryKind.OTHER)
    except ValueError:
        return HistoryKind.OTHER


def _effect(flags: int) -> Effect:
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
        raise Refusal(WalletCode.CURSOR_MALFORMED, "The cursor is not one that a page gave.")
    return timestamp
