"""Balances: what a wallet holds, asset by asset, as the ledger says now."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.assets import ASSETS, Asset
from foundation.money import Money
from ledger.contract import Account
from ledger.interface import Ledger
from wallets.wallets import Wallet, wallet_account


@dataclass(frozen=True, slots=True)
class Balance:
    """A wallet's money in one asset."""

    asset: Asset
    balance: Money
    """What belongs to the wallet, reserved money included."""
    reserved: Money
    """What is promised and not gone yet, such as a withdrawal on its way."""
    available: Money
    """What can be spent now: balance less reserved."""


async def balances(ledger: Ledger, wallet: Wallet) -> list[Balance]:
    """The wallet's balance in every asset, zeros included, in the order of assets."""
    ids = {asset: wallet_account(wallet.id, asset) for asset in ASSETS}
    found = {account.id: account for account in await ledger.lookup_accounts(list(ids.values()))}
    return [balance_of(found.get(account_id, Account()), asset) for asset, account_id in ids.items()]


def balance_of(account: Account, asset: Asset) -> Balance:
    """What an account of a wallet says."""
    balance = Money(account.credits_posted - account.debits_posted, asset)
    reserved = Money(account.debits_pending, asset)
    return Balance(asset, balance, reserved, balance - reserved)
