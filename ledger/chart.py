"""The chart of accounts: which accounts and transfers the products use.

Every account has a code that says what it is for, and the flags that hold it to
that. An asset's own accounts (custody, fees, dust …) have ids derived from their
code and asset, so that every process knows them without asking.
"""

from __future__ import annotations

from enum import IntEnum
from uuid import UUID

from foundation.assets import ASSETS, Asset
from foundation.errors import InvariantViolation
from foundation.ids import derive_id
from ledger.contract import Account, AccountFlags, CreateAccountStatus
from ledger.interface import Ledger


class AccountCode(IntEnum):
    """What an account is for."""

    CUSTODY = 10
    """Tokens held on chain: its debits are what came in, its credits what left."""
    SWEEP_IN_FLIGHT = 11
    """Tokens on their way from a deposit address to the vault."""
    WALLET = 20
    """A customer's money; never below zero."""
    WALLET_DURESS = 21
    """The small wallet that a duress PIN opens."""
    LIMIT = 22
    """Room left under a limit, or used of it; counts no money, and is in a ledger of limits."""
    LIMIT_POOL = 23
    """Where room comes from and goes to."""
    AGENT_FLOAT = 30
    """What an agent holds for customers."""
    AGENT_OWN = 31
    """An agent's own money."""
    COMMISSION = 32
    """Commissions earned by agents."""
    FEES = 40
    """Fees earned by the bank."""
    REMITTANCE_ESCROW = 50
    """Remittances waiting to be picked up."""
    WITHDRAWAL_IN_FLIGHT = 60
    """Withdrawals that are on their way to the chain."""
    DRAW_ESCROW = 70
    """Ticket money of a draw."""
    PRIZE_PAYABLE = 71
    """Prizes won and not yet claimed."""
    CAUSE = 72
    """Money for the cause of a draw."""
    CAMPAIGN = 73
    """Money given to a campaign."""
    LIQUIDITY = 80
    """A provider's side of an exchange."""
    SUSPENSE = 90
    """Money that came in and has no owner yet; each has a case."""
    DUST = 91
    """What does not divide into the ledger's unit."""
    RECEIVABLE = 92
    """Owed to the bank: credits that the chain took back after they were spent; each has a case."""
    DEBT = 93
    """What one reversed deposit still leaves owed: its share of RECEIVABLE, and no more is paid on it."""
    DEBTS = 94
    """The other side of all DEBT accounts: their sum. It is nobody's money."""


class TransferCode(IntEnum):
    """Why money moved."""

    DEPOSIT = 100
    """Tokens arrived on chain: custody to wallet."""
    WITHDRAWAL = 110
    """Wallet to withdrawals in flight: pending, then posted or voided."""
    WITHDRAWAL_FEE = 111
    """The fee of a withdrawal: pending, then posted or voided with it."""
    WITHDRAWAL_SETTLED = 112
    """Withdrawals in flight to custody: the tokens have left."""
    SWEEP = 120
    """Tokens moved from a deposit address to the vault."""
    CORRECTION = 130
    """Undoes a transfer that the world took back; refers to it by user_data_128."""
    DEBT_SHARE = 131
    """A reversed deposit's debt grows or falls, beside the same change of RECEIVABLE; no money moves."""
    DEBT_SETTLED = 132
    """Wallet to what is owed: the debtor paid; refers to the deposit by user_data_128."""
    DEBT_WRITTEN_OFF = 133
    """Fees to what is owed: the bank bears it; refers to the deposit by user_data_128."""
    PAYMENT = 200
    """Wallet to wallet."""
    PAYMENT_FEE = 201
    """The fee of a payment, linked with it."""
    PAYMENT_REFUND = 202
    """Who was paid gives back, at most the payment in all; refers to the payment by user_data_128."""
    PAYMENT_RECALL = 203
    """Who has paid asks for it back: pending from payee to payer, then posted, voided or expired; refers to
    the payment by user_data_128."""
    LIMIT_USED = 300
    """A payment takes its amount of the room under a limit, linked with it."""
    LIMIT_REFILLED = 301
    """A week or month begins: what was used of its room comes back."""
    LIMIT_SET = 302
    """The room under a limit is raised or lowered."""
    RECALL_ROOM = 303
    """What a recall takes beside the money: room of the payment, and one of the payer's open recalls."""
    RECALL_MADE = 304
    """A payment is recalled, once; refers to the recall by user_data_128."""


DEBIT_BALANCE = AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS
"""Assets of the bank: what it holds."""
CREDIT_BALANCE = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
"""Liabilities of the bank: what it owes."""

SYSTEM_CODES = (
    AccountCode.CUSTODY,
    AccountCode.SWEEP_IN_FLIGHT,
    AccountCode.FEES,
    AccountCode.WITHDRAWAL_IN_FLIGHT,
    AccountCode.SUSPENSE,
    AccountCode.DUST,
    AccountCode.RECEIVABLE,
    AccountCode.DEBTS,
)
"""Accounts that every asset has once."""

_DEBIT_BALANCE_CODES = frozenset(
    {AccountCode.CUSTODY, AccountCode.SWEEP_IN_FLIGHT, AccountCode.RECEIVABLE, AccountCode.DEBT}
)


LIMIT_LEDGERS = 1_000
"""Ledger numbers of limits: an asset's own and this. No asset has such a number."""


def limit_ledger(asset: Asset) -> int:
    """The ledger in which room under limits on an asset is counted, in its minor units."""
    return LIMIT_LEDGERS + asset.ledger


def account_flags(code: AccountCode) -> AccountFlags:
    """The limit that holds an account of this code, and its kept history."""
    limit = DEBIT_BALANCE if code in _DEBIT_BALANCE_CODES else CREDIT_BALANCE
    return limit | AccountFlags.HISTORY


def system_account_id(code: AccountCode, asset: Asset) -> int:
    """Id of an asset's own account of this code."""
    return derive_id("system-account", int(code), asset.code).int


def wallet_account_id(wallet_id: UUID, asset: Asset) -> int:
    """Id of a wallet's account in an asset."""
    return derive_id("wallet-account", wallet_id, asset.code).int


def new_account(account_id: int, code: AccountCode, asset: Asset, owner: UUID | None = None) -> Account:
    """The account to create; its owner, if it has one, stands in user_data_128."""
    return Account(
        id=account_id,
        ledger=asset.ledger,
        code=int(code),
        flags=int(account_flags(code)),
        user_data_128=owner.int if owner is not None else 0,
    )


async def open_accounts(ledger: Ledger, accounts: list[Account]) -> None:
    """Create accounts that may exist already; anything else is a broken chart."""
    results = await ledger.create_accounts(accounts)
    for account, result in zip(accounts, results, strict=True):
        if result.status not in (CreateAccountStatus.CREATED, CreateAccountStatus.EXISTS):
            raise InvariantViolation(f"account {UUID(int=account.id)}: {result.status.name}")


async def open_system_accounts(ledger: Ledger) -> None:
    """Create every asset's own accounts; safe to repeat, done at each start."""
    await open_accounts(
        ledger,
        [
            new_account(system_account_id(code, asset), code, asset)
            for asset in ASSETS
            for code in SYSTEM_CODES
        ],
    )
