"""TigerBeetle behind its own Python client, in the contract's records.

The client is an optional extra (``pip install 'nugpay[tigerbeetle]'``). It reads
the fields of whatever it is given by name, and ours have its names, so that
requests go to it as they are; what comes back is turned into our records.
Change events are not in its Python client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any, TypeVar

from ledger.contract import (
    Account,
    AccountBalance,
    AccountFilter,
    CreateAccountResult,
    CreateAccountStatus,
    CreateTransferResult,
    CreateTransferStatus,
    QueryFilter,
    Transfer,
)
from ops.errors import OperationError

Record = TypeVar("Record", Account, Transfer, AccountBalance)

CONNECT_SECONDS = 10
"""How long a server may take to answer; the client itself would wait for ever."""


class TigerBeetle:
    """A running TigerBeetle; the names are those of :class:`ledger.interface.Ledger`."""

    def __init__(self, client: Any) -> None:
        self.client = client
        """``tigerbeetle.ClientAsync``, for callers that prepare its records themselves."""

    @classmethod
    async def connect(cls, address: str, cluster: int = 0) -> TigerBeetle:
        """Reach the server at ``host:port`` (or a port alone); ``OperationError`` when it is not there."""
        try:
            package = import_module("tigerbeetle")
        except ImportError:
            raise OperationError(
                "TigerBeetle's Python client is not installed",
                "Install it beside the project: .venv/bin/pip install tigerbeetle",
            ) from None
        client = package.ClientAsync(cluster_id=cluster, replica_addresses=address)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.lookup_accounts([1])
        except TimeoutError:
            # Not closed: its close would wait for the look-up, which still waits for a server.
            raise OperationError(
                f"No TigerBeetle answers at {address}", "Start one, or give the address that it listens on."
            ) from None
        return cls(client)

    async def close(self) -> None:
        """Let go of the connection."""
        await self.client.close()

    async def create_accounts(self, accounts: Sequence[Account]) -> list[CreateAccountResult]:
        """One result each, in order."""
        results = await self.client.create_accounts(accounts)
        return [CreateAccountResult(r.timestamp, CreateAccountStatus(int(r.status))) for r in results]

    async def create_transfers(self, transfers: Sequence[Transfer]) -> list[CreateTransferResult]:
        """One result each, in order."""
        results = await self.client.create_transfers(transfers)
        return [CreateTransferResult(r.timestamp, CreateTransferStatus(int(r.status))) for r in results]

    async def lookup_accounts(self, ids: Sequence[int]) -> list[Account]:
        """The accounts that exist, in the order asked."""
        return _records(Account, await self.client.lookup_accounts(ids))

    async def lookup_transfers(self, ids: Sequence[int]) -> list[Transfer]:
        """The transfers that exist, in the order asked."""
        return _records(Transfer, await self.client.lookup_transfers(ids))

    async def get_account_transfers(self, filter: AccountFilter) -> list[Transfer]:
        """Transfers of one account."""
        return _records(Transfer, await self.client.get_account_transfers(filter))

    async def get_account_balances(self, filter: AccountFilter) -> list[AccountBalance]:
        """Counters after each of those transfers."""
        return _records(AccountBalance, await self.client.get_account_balances(filter))

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        """Accounts by their fields."""
        return _records(Account, await self.client.query_accounts(filter))

    async def query_transfers(self, filter: QueryFilter) -> list[Transfer]:
        """Transfers by their fields."""
        return _records(Transfer, await self.client.query_transfers(filter))


def _records(kind: type[Record], found: Sequence[Any]) -> list[Record]:
    """The client's records as ours; a field that it does not show (``reserved``) is 0."""
    names = [field.name for field in fields(kind)]
    return [kind(*(int(getattr(each, name, 0)) for name in names)) for each in found]
