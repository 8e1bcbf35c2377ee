"""History filters: which lines of a wallet's history are wanted.

A filter becomes a question of the ledger's own (``search_transfers``) that names
the wallet's accounts in every alternative: only their histories are read, a page
looks for a second at most, and the cursor says how far it came. What can mean
nothing is refused by the name of the field, never answered with an empty page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from foundation.assets import ASSETS, Asset
from foundation.errors import Refusal
from foundation.money import Money
from ledger.chart import TransferCode
from ledger.queries.questions import TransferCriteria
from wallets.errors import WalletCode
from wallets.handles import parse_handle
from wallets.memos import memo_mark
from wallets.wallets import Wallet, WalletDirectory, wallet_account


class Direction(StrEnum):
    """Which way the money went, seen from the wallet."""

    IN = "in"
    """Into the wallet."""
    OUT = "out"
    """Out of the wallet."""


class HistoryKind(StrEnum):
    """What a line of history is about."""

    PAYMENT = "payment"
    """Wallet to wallet."""
    PAYMENT_FEE = "payment_fee"
    """The fee of a payment."""
    REFUND = "refund"
    """A payment given back, all or in part."""
    RECALL = "recall"
    """A payment asked for back: held, then moved back or free again."""
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
    TransferCode.PAYMENT_RECALL: HistoryKind.RECALL,
    TransferCode.DEPOSIT: HistoryKind.DEPOSIT,
    TransferCode.WITHDRAWAL: HistoryKind.WITHDRAWAL,
    TransferCode.WITHDRAWAL_FEE: HistoryKind.WITHDRAWAL_FEE,
    TransferCode.CORRECTION: HistoryKind.CORRECTION,
    # The rest of a deposit that was taken back, taken later.
    TransferCode.DEBT_SETTLED: HistoryKind.CORRECTION,
}


def history_kind(code: int) -> HistoryKind:
    """What a transfer of this code is to its wallet."""
    try:
        return _KINDS.get(TransferCode(code), HistoryKind.OTHER)
    except ValueError:
        return HistoryKind.OTHER


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which lines; what is left out means any."""

    asset: Asset | None = None
    kinds: frozenset[HistoryKind] = frozenset()
    """One of these."""
    direction: Direction | None = None
    counterparty: str | None = None
    """Handle of the other wallet, in any spelling."""
    reference: UUID | None = None
    """Of a payment: the payer's number; of a fee: the payment; of a withdrawal: its id."""
    since_ns: int | None = None
    """From this instant on, nanoseconds since 1970."""
    until_ns: int | None = None
    """Before this instant, nanoseconds since 1970."""
    amount_min: Money | None = None
    """At least this much, of ``asset``."""
    amount_max: Money | None = None
    """At most this much, of ``asset``."""
    memo_sha256: bytes | None = None
    """Payments whose memo's ciphertext has this SHA-256, as far as the ledger knows: the first 64
    bits of it. ``with_memos`` compares the rest."""

    @property
    def is_open(self) -> bool:
        """Whether it asks for nothing but an asset, or for everything."""
        return self == HistoryFilter(asset=self.asset)

    def check(self) -> None:
        """Refuse as ``history_filter_malformed``, with the ``field``, what can mean nothing."""
        for name in ("amount_min", "amount_max"):
            amount = getattr(self, name)
            if amount is not None and amount.asset != self.asset:
                raise _malformed(name, "An amount is of one asset: name the asset as well.")
        if self.amount_min and self.amount_max and self.amount_min > self.amount_max:
            raise _malformed("amount_min", "The least amount is more than the greatest.")
        if self.memo_sha256 is not None and self.kinds and HistoryKind.PAYMENT not in self.kinds:
            raise _malformed("memo_hash", "Only payments have a memo.")
        if self.since_ns is not None and self.until_ns is not None and self.since_ns >= self.until_ns:
            raise _malformed("since", "The time begins at or after its end.")

    def account_ids(self, wallet: Wallet) -> tuple[int, ...]:
        """The wallet's accounts that it is about."""
        return tuple(wallet_account(wallet.id, each) for each in self._assets())

    async def criteria(self, directory: WalletDirectory, wallet: Wallet) -> tuple[TransferCriteria, ...]:
        """The alternatives of a search of the ledger; ``counterparty_unknown`` is refused.

        That tells whether somebody has a handle: whoever asks for others counts it as a look-up.
        """
        own = self.account_ids(wallet)
        # A deposit has another number where a payment has its memo's mark.
        kinds = self.kinds if self.memo_sha256 is None else frozenset({HistoryKind.PAYMENT})
        wanted = TransferCriteria(
            amount_min=self.amount_min.minor if self.amount_min is not None else 0,
            amount_max=self.amount_max.minor if self.amount_max is not None else None,
            codes=tuple(int(code) for code in TransferCode if history_kind(code) in kinds),
            user_data_64=(memo_mark(self.memo_sha256),) if self.memo_sha256 is not None else (),
            user_data_128=(self.reference.int,) if self.reference is not None else (),
        )
        theirs: tuple[int, ...] = ()
        if self.counterparty is not None:
            other = await directory.payee(parse_handle(self.counterparty), asker=wallet)
            if other is None:
                raise Refusal(WalletCode.COUNTERPARTY_UNKNOWN, "No wallet has this handle.")
            if other.id == wallet.id:
                raise _malformed("counterparty", "The other party is not the wallet itself.")
            theirs = tuple(wallet_account(other.id, each) for each in self._assets())
        outward = replace(wanted, debit_account_ids=own, credit_account_ids=theirs)
        inward = replace(wanted, credit_account_ids=own, debit_account_ids=theirs)
        if self.direction is not None:
            return (outward,) if self.direction is Direction.OUT else (inward,)
        # Either side in one alternative is one history to read instead of two.
        return (outward, inward) if theirs else (replace(wanted, account_ids=own),)

    def _assets(self) -> tuple[Asset, ...]:
        return (self.asset,) if self.asset is not None else ASSETS


def _malformed(field: str, detail: str) -> Refusal:
    return Refusal(WalletCode.HISTORY_FILTER_MALFORMED, detail, field=field)
