"""Refusals of the treasury: deposits and withdrawals that cannot be.

Members stand in the order in which a withdrawal is checked. What the ledger
refused for a passing reason has burned the withdrawal's id: the codes that say so
ask for a new one.
"""

from __future__ import annotations

from foundation.errors import RefusalCode


class TreasuryCode(RefusalCode):
    """Why money does not come in or go out."""

    ASSET_NOT_ON_CHAIN = "asset_not_on_chain"
    """The asset has no token on this chain: no deposits, no withdrawals."""
    WITHDRAWAL_ID_MALFORMED = "withdrawal_id_malformed"
    """A withdrawal's id is a UUIDv7 made by the client."""
    WITHDRAWAL_AMOUNT_NOT_POSITIVE = "withdrawal_amount_not_positive"
    """The amount is zero or negative."""
    RECEIVER_IS_ZERO = "receiver_is_zero"
    """Nobody holds the key of the zero address."""
    RECEIVER_IS_CONTRACT = "receiver_is_contract"
    """The receiver is a token contract, which would keep the money for ever."""
    RECEIVER_IS_OURS = "receiver_is_ours"
    """The receiver is the vault, a hot address or a customer's deposit address."""
    WITHDRAWAL_EXISTS_WITH_DIFFERENT_WALLET = "withdrawal_exists_with_different_wallet"
    """The id belongs to another wallet's withdrawal."""
    WITHDRAWAL_EXISTS_WITH_DIFFERENT_ASSET = "withdrawal_exists_with_different_asset"
    """The id was used for another asset."""
    WITHDRAWAL_EXISTS_WITH_DIFFERENT_AMOUNT = "withdrawal_exists_with_different_amount"
    """The id was used for another amount."""
    WITHDRAWAL_EXISTS_WITH_DIFFERENT_RECEIVER = "withdrawal_exists_with_different_receiver"
    """The id was used for another receiver."""
    WITHDRAWAL_FEE_ABOVE_MAXIMUM = "withdrawal_fee_above_maximum"
    """The fee is higher than the customer agreed to."""
    WITHDRAWALS_STOPPED = "withdrawals_stopped"
    """The breaker has tripped; the books are being checked."""
    WITHDRAWAL_WALLET_UNUSABLE = "withdrawal_wallet_unusable"
    """The wallet's account is closed or does not exist."""
    WITHDRAWAL_EXCEEDS_BALANCE = "withdrawal_exceeds_balance"
    """Amount and fee are more than the wallet has; the id is burned, a retry needs a new one."""
    WITHDRAWAL_ALREADY_REFUSED = "withdrawal_already_refused"
    """The id was refused before and is burned; a retry needs a new one."""
    WITHDRAWAL_NOT_FOUND = "withdrawal_not_found"
    """There is no such withdrawal, or it is somebody else's."""
    CUSTODY_UNIT_TOO_COARSE = "custody_unit_too_coarse"
    """A token has fewer decimals than the ledger's asset; such a token is not taken in."""
