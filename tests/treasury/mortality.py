"""Death on demand: a process that ends right after its n-th effect on the world.

The use cases get a database, ledger, signer and node that do what they are asked,
and then, at the chosen one, raise ``Died``. What was done stays done, and nothing
after it happens, as when a process is killed there. Reads of the node and the
ledger have no effect and are not counted.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chain.fees import Fees
from chain.rpc import RPC
from chain.signer_client import SignerClient
from chain.signer_messages import RecalledAnswer
from chain.transactions import SignedTransaction
from foundation.database import Database
from ledger.contract import CreateTransferResult, Transfer
from ledger.engine import LedgerEngine


class Died(BaseException):
    """The process is gone. No code of ours catches it."""


class Fate:
    """Counts effects and ends the process after a chosen one."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self.last = last
        self.what: list[str] = []

    def after(self, what: str) -> None:
        """An effect has happened."""
        self.count += 1
        self.what.append(what)
        if self.count == self.last:
            raise Died(what)


class MortalDatabase(Database):
    """A database whose committed transactions count as effects."""

    def __init__(self, database: Database, fate: Fate) -> None:
        self.url = database.url
        self.engine = database.engine
        self._real = database
        self._fate = fate

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        async with self._real.session() as session:
            yield session
        self._fate.after("commit")


class MortalLedger:
    """A ledger whose created transfers count as effects; everything else is the engine's."""

    def __init__(self, ledger: LedgerEngine, fate: Fate) -> None:
        self._ledger = ledger
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]:
        results = await self._ledger.create_transfers(transfers)
        self._fate.after("transfers")
        return results


class MortalSigner(SignerClient):
    """A signer whose signatures count as effects."""

    def __init__(self, signer: SignerClient, fate: Fate) -> None:
        self._real = signer
        self._fate = fate

    async def identity(self) -> Any:
        return await self._real.identity()

    async def check(self, *, order_id: UUID, chain_id: int) -> bool:
        return await self._real.check(order_id=order_id, chain_id=chain_id)

    async def recall(self, order_id: UUID) -> list[RecalledAnswer]:
        return await self._real.recall(order_id)

    async def sign(
        self, *, order_id: UUID, chain_id: int, nonce: int, fees: Fees, from_address: str | None = None
    ) -> SignedTransaction:
        signed = await self._real.sign(
            order_id=order_id, chain_id=chain_id, nonce=nonce, fees=fees, from_address=from_address
        )
        self._fate.after("signature")
        return signed


class MortalRPC(RPC):
    """A node to which what was sent counts as an effect."""

    def __init__(self, url: str, fate: Fate) -> None:
        super().__init__(url)
        self._fate = fate

    async def call(self, method: str, *params: Any) -> Any:
        result = await super().call(method, *params)
        if method == "eth_sendRawTransaction":
            self._fate.after("broadcast")
        return result
