"""Magic amounts: which amount forces which answer, of payments and of withdrawals.

The last four digits of an amount in minor units decide: 0.009911 USDT, and 5.009911 as
well. Numbers never change their meaning; a test holds every refusal that the operations
may answer with, and that no bent request brings about, to have one.
"""

from __future__ import annotations

from typing import Final

from chain.errors import ChainCode
from foundation.errors import RefusalCode
from identity.errors import IdentityCode
from identity.pin_errors import PinCode
from treasury.errors import TreasuryCode
from wallet_api.sandbox.forcing import RETRY_SECONDS, Busy, Effect, Magic, Refuses, Slow, Unknown
from wallets.errors import WalletCode
from wallets.request_errors import AskingCode

_MINUTE: Final = 60

_BOTH: Final[dict[int, tuple[str, str, Effect]]] = {
    9_901: ("ledger_busy", "Busy twice, with Retry-After; the third attempt is carried out.", Busy(times=2)),
    9_902: (
        "ledger_unavailable",
        "Carried out, and the answer is lost: asking for the id, or sending it again, tells.",
        Unknown(is_made=True),
    ),
    9_903: (
        "ledger_unavailable",
        "Not carried out, and nobody knows: asking for the id tells.",
        Unknown(is_made=False),
    ),
    9_904: (
        "database_unavailable",
        "Carried out, and the database was away at the answer: asking for the id tells.",
        Unknown(is_made=True, code="database_unavailable"),
    ),
    9_905: ("slow", "Carried out and answered after 5 seconds.", Slow(5)),
    9_906: ("slow", "Carried out and answered after 40 seconds: longer than most clients wait.", Slow(40)),
}

_IDENTITY: Final[dict[int, RefusalCode]] = {
    9_907: IdentityCode.DEVICE_REVOKED,
    9_908: PinCode.SESSION_OVER,
}

_OF_PAYMENTS: Final[dict[int, RefusalCode]] = {
    9_911: WalletCode.INSUFFICIENT_FUNDS,
    9_912: WalletCode.PAYEE_UNKNOWN,
    9_913: WalletCode.WALLET_CLOSED,
    9_914: WalletCode.PAYEE_BALANCE_FULL,
    9_915: WalletCode.WALLET_ACCOUNT_MISSING,
    9_916: WalletCode.FEE_ABOVE_MAXIMUM,
    9_917: WalletCode.GREATER_THAN_TRANSACTION_MAX_VALUE,
    9_918: WalletCode.DAILY_VALUE_LIMIT_EXCEEDED,
    9_919: WalletCode.WEEKLY_VALUE_LIMIT_EXCEEDED,
    9_920: WalletCode.MONTHLY_VALUE_LIMIT_EXCEEDED,
    9_921: WalletCode.PAYMENT_ID_TAKEN,
    9_922: WalletCode.PAYMENT_ID_USED_DIFFERENTLY,
    9_923: WalletCode.PAYMENT_ALREADY_REFUSED,
    9_924: WalletCode.PAYEE_IS_PAYER,
    9_925: AskingCode.TOO_MANY_LOOKUPS,
    9_926: WalletCode.PAYEE_BALANCE_LIMIT_EXCEEDED,
}

_OF_WITHDRAWALS: Final[dict[int, RefusalCode]] = {
    9_931: TreasuryCode.WITHDRAWAL_EXCEEDS_BALANCE,
    9_932: TreasuryCode.RECEIVER_IS_BLOCKED,
    9_933: TreasuryCode.RECEIVER_IS_CONTRACT,
    9_934: TreasuryCode.RECEIVER_IS_OURS,
    9_935: TreasuryCode.RECEIVER_IS_ZERO,
    9_936: TreasuryCode.WITHDRAWAL_ABOVE_LIMIT,
    9_937: TreasuryCode.WITHDRAWAL_ABOVE_DAILY_LIMIT,
    9_938: TreasuryCode.WITHDRAWAL_FEE_ABOVE_MAXIMUM,
    9_939: TreasuryCode.WITHDRAWALS_STOPPED,
    9_940: TreasuryCode.WITHDRAWAL_WALLET_UNUSABLE,
    9_941: TreasuryCode.WITHDRAWAL_ALREADY_REFUSED,
    9_942: TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_WALLET,
    9_943: TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_ASSET,
    9_944: TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_AMOUNT,
    9_945: TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_RECEIVER,
    9_946: TreasuryCode.QUOTE_EXPIRED,
    9_947: TreasuryCode.QUOTE_NOT_FOUND,
    9_948: TreasuryCode.QUOTE_IS_FOR_ANOTHER,
    9_949: TreasuryCode.ASSET_NOT_ON_CHAIN,
    9_950: ChainCode.DEPLOYMENT_NOT_FOUND,
    9_951: TreasuryCode.YOUNG_FUNDS_DAILY_LIMIT_EXCEEDED,
    9_952: TreasuryCode.YOUNG_FUNDS_WEEKLY_LIMIT_EXCEEDED,
}

_RETRY: Final[dict[RefusalCode, int]] = {
    AskingCode.TOO_MANY_LOOKUPS: _MINUTE,
    TreasuryCode.WITHDRAWALS_STOPPED: RETRY_SECONDS,
    ChainCode.DEPLOYMENT_NOT_FOUND: RETRY_SECONDS,
}
"""Refusals after which the same request may succeed, and when."""


def _table(own: dict[int, RefusalCode]) -> dict[int, Magic]:
    made = {number: Magic(number, code, says, effect) for number, (code, says, effect) in _BOTH.items()}
    for number, code in (_IDENTITY | own).items():
        detail = f"The sandbox refuses amounts that end in {number}."
        refuses = Refuses(code, detail, _RETRY.get(code))
        made[number] = Magic(number, code.value, "Refused; nothing moves.", refuses)
    return dict(sorted(made.items()))


MAGIC_PAYMENTS: Final = _table(_OF_PAYMENTS)
"""By number: what amounts of payments force."""

MAGIC_WITHDRAWALS: Final = _table(_OF_WITHDRAWALS)
"""By number: what amounts of withdrawals force."""
