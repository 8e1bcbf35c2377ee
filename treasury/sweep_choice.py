"""Sweep choice: which deposit addresses are worth the gas of a sweep at its price of now.

Too little is never swept and waits for more to come. Enough is swept while the base fee
is at or below a ceiling. Above it a sweep waits for cheaper gas, unless the address
holds much, has waited long, or the vault needs tokens for withdrawals that are open: a
customer never waits for the price of gas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from chain.contract_reads import ContractRead, read_contracts
from chain.fees import base_fee
from chain.rpc import RPC
from foundation.assets import DMMK, THB, USDC, USDT, XAU
from foundation.clock import Clock
from foundation.database import Database
from treasury.custody import Custody, CustodyToken
from treasury.models import TreasuryWithdrawal

SWEEP_AMOUNTS_MIN: Final[Mapping[str, int]] = {
    USDT.code: 1_000_000,
    USDC.code: 1_000_000,
    DMMK.code: 200_000,
    THB.code: 3_500,
    XAU.code: 100,
}
"""Least minor units that are worth the gas of a sweep; less waits for more to come."""

SWEEP_AMOUNTS_LARGE: Final[Mapping[str, int]] = {
    code: 1_000 * amount for code, amount in SWEEP_AMOUNTS_MIN.items()
}
"""Minor units that are swept whatever gas costs: tokens at rest in many places help nobody."""

SWEEP_BASE_FEE_MAX: Final = 20 * 10**9
"""Wei per unit of gas up to which everything that is enough is swept."""

SWEEP_SECONDS_MAX: Final = 86_400
"""How long an address waits for cheaper gas; then it is swept."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deposit address that a token came to."""

    address: str
    salt: str
    since: datetime | None
    """Since when it has waited; None for long."""
    goes_alone: bool = False
    """Whether its last sweep failed with others, so that it is tried by itself."""


async def worth_it_now(
    database: Database,
    rpc: RPC,
    clock: Clock,
    custody: Custody,
    token: CustodyToken,
    held: Mapping[Candidate, int],
    base_fee_max: int,
) -> list[Candidate]:
    """Of addresses that hold enough units of the token, those to be swept now. Raises the RPC's errors."""
    if await base_fee(rpc) <= base_fee_max or await _vault_needs(database, rpc, custody, token):
        return list(held)
    large = token.units_of(SWEEP_AMOUNTS_LARGE.get(token.asset.code, 0))
    long_ago = clock.now() - timedelta(seconds=SWEEP_SECONDS_MAX)
    return [
        one for one, units in held.items() if units >= large or one.since is None or one.since <= long_ago
    ]


async def _vault_needs(database: Database, rpc: RPC, custody: Custody, token: CustodyToken) -> bool:
    """Whether the vault holds less than what customers have asked for and not got."""
    async with database.session() as session:
        asked = await session.scalar(
            select(func.coalesce(func.sum(TreasuryWithdrawal.amount), 0)).where(
                TreasuryWithdrawal.asset == token.asset.code, TreasuryWithdrawal.closed_at.is_(None)
            )
        )
    if not asked:
        return False
    balance = ContractRead(token.address, "balanceOf(address)", "uint256", (custody.vault,))
    [held] = await read_contracts(rpc, [balance])
    return held is not None and int(held) < token.units_of(int(asked))
