"""Withdrawal checks: what a request must be, before anything is written for it.

First what can be told without asking anybody, then whether the id stands for this
very request already, then what the tables say of the receiver. A request that passes
may still be refused by the ledger.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.addresses import ZERO_ADDRESS, parse_address
from foundation.errors import Refusal
from foundation.money import Money
from treasury.blocked_receivers import is_blocked
from treasury.cold_models import TreasuryColdAddress
from treasury.custody import Custody, CustodyToken
from treasury.errors import TreasuryCode
from treasury.models import TreasuryDepositAddress, TreasuryWithdrawal

_CLIENT_ID_VERSION: Final = 7


def checked_receiver(
    custody: Custody, token: CustodyToken, withdrawal_id: UUID, amount: Money, to_address: str
) -> str:
    """The receiver's address, after what can be refused without asking anybody."""
    # A client's id of another version could be one that is derived from the world,
    # such as that of a deposit on its way, and block it.
    if withdrawal_id.version != _CLIENT_ID_VERSION:
        raise Refusal(TreasuryCode.WITHDRAWAL_ID_MALFORMED, "A withdrawal's id is a UUIDv7.")
    if amount.minor <= 0:
        raise Refusal(
            TreasuryCode.WITHDRAWAL_AMOUNT_NOT_POSITIVE, "The amount of a withdrawal is more than zero."
        )
    receiver = parse_address(to_address)
    if receiver == ZERO_ADDRESS:
        raise Refusal(TreasuryCode.RECEIVER_IS_ZERO, "Nobody holds the key of the zero address.")
    if custody.token_at(receiver) is not None:
        raise Refusal(
            TreasuryCode.RECEIVER_IS_CONTRACT, f"The address is a token, such as {token.asset.code}."
        )
    if receiver in custody.own_addresses or receiver == custody.implementation:
        raise _receiver_is_ours()
    return receiver


async def refuse_receiver(session: AsyncSession, receiver: str) -> None:
    """Refuse a customer's deposit address, a cold address, and what is never paid."""
    for ours in (TreasuryDepositAddress, TreasuryColdAddress):
        if await session.scalar(select(exists().where(ours.address == receiver))):
            raise _receiver_is_ours()
    if await is_blocked(session, receiver):
        raise Refusal(TreasuryCode.RECEIVER_IS_BLOCKED, "This address is never paid.")


async def may_be_paid(session: AsyncSession, receiver: str) -> bool:
    """Whether nothing has come to speak against the receiver since the withdrawal was asked for."""
    try:
        await refuse_receiver(session, receiver)
    except Refusal:
        return False
    return True


def same_request(
    row: TreasuryWithdrawal, wallet_id: UUID, amount: Money, receiver: str
) -> TreasuryWithdrawal:
    """The row, if the request repeats it; refused with the first field that differs."""
    differing: list[tuple[bool, TreasuryCode, str]] = [
        (row.wallet_id != wallet_id, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_WALLET, "wallet"),
        (row.asset != amount.asset.code, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_ASSET, "asset"),
        (row.amount != amount.minor, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_AMOUNT, "amount"),
        (row.to_address != receiver, TreasuryCode.WITHDRAWAL_EXISTS_WITH_DIFFERENT_RECEIVER, "receiver"),
    ]
    for differs, code, field in differing:
        if differs:
            raise Refusal(code, f"This id was used for a withdrawal with another {field}.", field=field)
    return row


def _receiver_is_ours() -> Refusal:
    return Refusal(
        TreasuryCode.RECEIVER_IS_OURS,
        "The address belongs to the bank or to a customer's wallet; pay the wallet instead.",
    )
