"""Reserves: what the bank holds on chain and owes in its ledger, as anybody may know it.

The newest reconciliation of each token, with the block that it was made at, so that
whoever has a node can add the balances up again. What explains a difference is told
as sums by kind: the single movements are customers' own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.breaker import BreakerTrip
from chain.observations import finality_hold
from treasury.breaker import breaker_trip
from treasury.cold_models import TreasuryColdAddress
from treasury.custody import Custody, CustodyToken
from treasury.models import TreasuryReconciliation
from treasury.reconciliation import ItemKind, Reconciliation, last_reconciliations


@dataclass(frozen=True, slots=True)
class Reserve:
    """One token's books at one final block. Units are the token's own."""

    token: CustodyToken
    books: Reconciliation
    created_at: datetime
    """When they were compared."""

    @property
    def explained(self) -> dict[ItemKind, int]:
        """Signed units that the chain has more than the ledger, by what explains them."""
        sums: Counter[ItemKind] = Counter()
        for item in self.books.items:
            sums[item.kind] += item.units
        return dict(sorted(sums.items()))


@dataclass(frozen=True, slots=True)
class Reserves:
    """All tokens' books, and whether money goes out."""

    chain_id: int
    vault: str
    cold_addresses: tuple[str, ...]
    """Where what lies cold is, oldest first; the vault's events name each of them."""
    reserves: tuple[Reserve, ...]
    trip: BreakerTrip | None
    """Why withdrawals are stopped, if they are."""
    hold: str | None
    """Why nothing is credited now, where the second endpoint is the reason."""


async def read_reserves(session: AsyncSession, custody: Custody) -> Reserves:
    """The newest books of each token that has been reconciled."""
    found = []
    for books in await last_reconciliations(session, custody):
        key = (custody.chain_id, books.block_number, books.asset.code)
        row = await session.get_one(TreasuryReconciliation, key)
        found.append(Reserve(custody.token_of(books.asset), books, row.created_at))
    known = (
        select(TreasuryColdAddress.address)
        .where(TreasuryColdAddress.chain_id == custody.chain_id)
        .order_by(TreasuryColdAddress.recorded_at)
    )
    return Reserves(
        custody.chain_id,
        custody.vault,
        tuple(await session.scalars(known)),
        tuple(found),
        await breaker_trip(session, custody.chain_id),
        await finality_hold(session, custody.chain_id),
    )
