"""Cold addresses: where tokens lie that no key of this machine can move.

The vault names one cold address, by a delayed change of its administrator. It counts as
custody from the moment that people record it here, and for ever: tokens may lie at every
one the vault ever had. Both are needed. Would what the vault's events say be enough,
whoever has stolen the administrator's key and waited out the delay would have tokens in
an own pocket counted as the bank's; would the record be enough, a mistyped address would.
Until an address is recorded, what goes there has left custody: the breaker trips.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import exists, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.addresses import ZERO_ADDRESS, checksum, parse_address
from chain.contract_reads import ContractRead, read_contracts
from chain.errors import RPCUnavailable
from chain.lanes import is_signed
from chain.models import ChainBlock
from chain.observations import mirror_heights, transfers_into, transfers_out_of
from chain.rpc import RPC
from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal, Retryable
from treasury.cold_models import TreasuryColdAddress
from treasury.custody import Custody
from treasury.custody_balances import units_at
from treasury.errors import TreasuryCode
from treasury.models import TreasuryWithdrawal
from treasury.movements import write_earlier_arrivals


async def vaults_cold_address(rpc: RPC, custody: Custody, *, block: str = "latest") -> str | None:
    """The vault's cold address in lower case, None while it has none. Raises the RPC's errors."""
    [address] = await read_contracts(
        rpc, [ContractRead(custody.vault, "coldAddress()", "address")], block=block
    )
    # A node that lags may not have the vault yet: that is no word about its cold address.
    if address is None:
        raise RPCUnavailable("eth_call", "the vault does not answer", outcome_unknown=False)
    return None if address == ZERO_ADDRESS else str(address)


async def recorded_cold_addresses(session: AsyncSession, custody: Custody) -> Sequence[TreasuryColdAddress]:
    """Every cold address that counts as custody, oldest first."""
    rows = await session.scalars(
        select(TreasuryColdAddress)
        .where(TreasuryColdAddress.chain_id == custody.chain_id)
        .order_by(TreasuryColdAddress.recorded_at)
    )
    return rows.all()


async def record_cold_address(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    *,
    address: str,
    recorded_by: str,
    block: str = "finalized",
) -> bool:
    """Count the vault's cold address as custody from now on; false if it is recorded already.

    What came to it before is written down in the same database transaction, so nothing is
    counted that has no entry. ``block`` is the tag of the block in which the vault is asked
    for its cold address. Refused as ``cold_address_not_the_vaults`` where the vault
    names another or none there, and as ``cold_address_not_fresh`` where it has
    paid anybody before, holds what our books never saw, or a withdrawal is or was paid
    to it. Raises the RPC's errors.
    """
    wanted = parse_address(address)
    if await vaults_cold_address(rpc, custody, block=block) != wanted:
        raise Refusal(
            TreasuryCode.COLD_ADDRESS_NOT_THE_VAULTS,
            f"In the {block} block {checksum(wanted)} is not the vault's cold address.",
            retryable=Retryable.YES,
        )
    async with database.session() as session:
        made = await session.scalar(
            insert(TreasuryColdAddress)
            .values(
                chain_id=custody.chain_id, address=wanted, recorded_by=recorded_by, recorded_at=clock.now()
            )
            .on_conflict_do_nothing()
            .returning(TreasuryColdAddress.address)
        )
        if made is None:
            return False
        await _refuse_used(session, rpc, custody, wanted)
        await _refuse_customers_own(session, wanted)
        await write_earlier_arrivals(session, clock, custody, address=wanted)
        # Dies here: nothing is recorded, and whatever goes there counts as gone.
    return True


async def _refuse_used(session: AsyncSession, rpc: RPC, custody: Custody, address: str) -> None:
    """Refuse an address whose balance is not exactly what our mirror saw coming to it."""
    # Held, so that no block is mirrored between this look and the entry's commit.
    heights = await mirror_heights(session, custody.chain_id, hold=True)
    block_hash, number = "", -1
    if heights is not None:
        number = heights.head
        block_hash = (await session.get_one(ChainBlock, (custody.chain_id, number))).hash
    for token in custody.tokens:
        if heights is None:
            reads = [ContractRead(token.address, "balanceOf(address)", "uint256", (address,))]
            [held] = await read_contracts(rpc, reads)
            seen, paid = 0, False
        else:
            [held] = await units_at(rpc, token=token.address, addresses=[address], block_hash=block_hash)
            came = await transfers_into(
                session, custody.chain_id, [address], first=heights.start, last=number, token=token.address
            )
            went = await transfers_out_of(
                session, custody.chain_id, [address], first=heights.start, last=number, token=token.address
            )
            paid = bool(went)
            seen = sum(one.value for one in came)
        if paid or held != seen:
            raise Refusal(
                TreasuryCode.COLD_ADDRESS_NOT_FRESH,
                f"{checksum(address)} has paid before, or holds {token.asset.code} that our books never saw.",
            )


async def _refuse_customers_own(session: AsyncSession, address: str) -> None:
    """Refuse an address that a withdrawal was signed for, or may still be.

    Its payment would lie in custody and be out of the ledger's: a difference that nothing
    ever explains, and one that is on its way would never leave a departure.
    """
    # Until this transaction ends no withdrawal is written: what was being written is seen
    # now, and what comes afterwards finds the address recorded before it is sent
    # (treasury.payouts), though its request may have looked before.
    await session.execute(text("LOCK TABLE treasury_withdrawal IN SHARE ROW EXCLUSIVE MODE"))
    paid = exists().where(
        TreasuryWithdrawal.to_address == address,
        TreasuryWithdrawal.closed_at.is_(None) | is_signed(TreasuryWithdrawal.id),
    )
    if await session.scalar(select(paid)):
        raise Refusal(
            TreasuryCode.COLD_ADDRESS_NOT_FRESH, f"A withdrawal is or was paid to {checksum(address)}."
        )
