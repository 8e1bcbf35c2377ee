"""Refusals of wallets and payments.

Members stand in the order in which they are checked. None of them tells a caller
about a payment or a balance that is not the caller's.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class WalletCode(RefusalCode):
    """Why a wallet is not opened, or money is not paid."""

    HANDLE_MALFORMED = "handle_malformed"
    """A handle is 3 to 30 of a-z, 0-9 and _, and begins with a letter."""
    HANDLE_RESERVED = "handle_reserved"
    """The handle could be taken for the bank's own."""
    HANDLE_TAKEN = "handle_taken"
    """Somebody else's wallet has this handle."""
    WALLET_ALREADY_OPEN = "wallet_already_open"
    """The person has a wallet, with another handle."""
    WALLET_NOT_OPEN = "wallet_not_open"
    """The device is enrolled, and its person has not opened a wallet yet."""
    PAYMENT_ID_MALFORMED = "payment_id_malformed"
    """The id of a payment or withdrawal is not a UUIDv7."""
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    """An amount to move is more than zero."""
    PAYEE_UNKNOWN = "payee_unknown"
    """No wallet has this handle."""
    PAYEE_IS_PAYER = "payee_is_payer"
    """A wallet does not pay itself."""
    FEE_ABOVE_MAXIMUM = "fee_above_maximum"
    """The fee is higher than the payer agreed to."""
    PAYMENT_ID_TAKEN = "payment_id_taken"
    """The id belongs to something that is not this wallet's payment."""
    PAYMENT_ID_USED_DIFFERENTLY = "payment_id_used_differently"
    """The id was used for a payment with other content; the field that differs is named."""
    PAYMENT_ALREADY_REFUSED = "payment_already_refused"
    """The id was refused before, and stays refused; a new attempt has a new id."""
    WALLET_ACCOUNT_MISSING = "wallet_account_missing"
    """One of the two wallets had no account in this asset; it has been opened now."""
    WALLET_CLOSED = "wallet_closed"
    """One of the two wallets' accounts in this asset is closed."""
    PAYEE_BALANCE_FULL = "payee_balance_full"
    """The payee's balance would no longer fit 64 bits."""
    INSUFFICIENT_FUNDS = "insufficient_funds"
    """The payer's available balance does not cover the amount and its fee."""
    PAYMENT_NOT_FOUND = "payment_not_found"
    """No payment with this id has this wallet as payer or payee."""
    CURSOR_MALFORMED = "cursor_malformed"
    """The cursor is not one that a page of history gave."""
    COUNTERPARTY_UNKNOWN = "counterparty_unknown"
    """History is asked for of a handle that no wallet has."""
    HISTORY_FILTER_MALFORMED = "history_filter_malformed"
    """A filter of history that can mean nothing; its field is named."""
