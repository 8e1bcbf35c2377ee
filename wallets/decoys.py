"""Decoys: the wallet that a duress PIN opens. It is a wallet like any other."""

from __future__ import annotations

from uuid import UUID

from foundation.clock import Clock
from foundation.database import Database
from identity.decoys import enrol_decoy
from ledger.interface import Ledger
from wallets.wallets import Wallet, open_wallet


async def open_decoy(
    database: Database, ledger: Ledger, clock: Clock, *, person_id: UUID, handle: str
) -> Wallet:
    """Open a decoy's wallet under a handle; the same handle again gives the same wallet.

    Refused as ``open_wallet`` refuses. Its owner fills it by paying it; it has accounts,
    limits and a history of its own, and no money of the real one can be reached from it.
    If the process dies after the first commit, a person without a wallet is left, and
    the same request goes on from there.
    """
    async with database.session() as session:
        await enrol_decoy(session, person_id)
    return await open_wallet(database, ledger, clock, person_id=person_id, handle=handle)
