"""Deposit addresses: each wallet's own place on chain to send tokens to.

An address is a CREATE2 clone whose only way out is the vault, computed without
asking the chain from a salt derived of the wallet's id. It takes every token of
ours; which asset a deposit is, is the token's to say. An address once given stays
valid for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.addresses import checksum, deposit_salt
from chain.addresses import deposit_address as clone_address
from foundation.assets import Asset
from foundation.clock import Clock
from foundation.database import Database
from treasury.custody import Custody
from treasury.models import TreasuryDepositAddress
from treasury.movements import write_earlier_arrivals

CURRENT_EPOCH = 0
"""Which of a wallet's addresses is given out."""


@dataclass(frozen=True, slots=True)
class DepositAddress:
    """Where a customer sends an asset to."""

    address: str
    """With EIP-55 checksum."""
    asset: Asset
    token: str
    """The token's contract, with EIP-55 checksum; other tokens sent here are not seen."""
    chain_id: int
    decimals: int
    """Decimals of the token."""


async def deposit_address(
    database: Database, clock: Clock, custody: Custody, *, wallet_id: UUID, asset: Asset
) -> DepositAddress:
    """The wallet's deposit address for an asset, always the same; noted before it is shown.

    Refused as ``asset_not_on_chain``. An address is written down in the same
    database transaction as what was already sent to it, so nothing that arrives
    before, while or after is missed.
    """
    token = custody.token_of(asset)
    salt = deposit_salt(wallet_id, CURRENT_EPOCH)
    address = clone_address(vault=custody.vault, implementation=custody.implementation, salt=salt)
    async with database.session() as session:
        if await session.get(TreasuryDepositAddress, address) is None:
            await _write(session, clock, custody, wallet_id, address, salt)
    return DepositAddress(checksum(address), asset, checksum(token.address), custody.chain_id, token.decimals)


async def _write(
    session: AsyncSession, clock: Clock, custody: Custody, wallet_id: UUID, address: str, salt: bytes
) -> None:
    made = await session.scalar(
        insert(TreasuryDepositAddress)
        .values(
            address=address,
            wallet_id=wallet_id,
            epoch=CURRENT_EPOCH,
            salt="0x" + salt.hex(),
            created_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(TreasuryDepositAddress.address)
    )
    if made is not None:
        await write_earlier_arrivals(session, clock, custody, address=address)


def wallet_addresses(wallet_id: UUID) -> Select[str]:
    """Query of a wallet's deposit addresses, of all epochs."""
    return select(TreasuryDepositAddress.address).where(TreasuryDepositAddress.wallet_id == wallet_id)
