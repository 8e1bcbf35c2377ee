"""Reconciliation of many deposit addresses: all their balances on chain, against the ledger.

The contracts are the real ones; that tokens lie at each address is written into the
token's storage, since that many transfers would take longer than all the rest. The
baseline is a bare fetch of the same balances.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eth_hash.auto import keccak
from sqlalchemy import insert

from benchmarks.chain.busy_chain import Node, fresh_node
from benchmarks.chain.sizes import Sizes
from benchmarks.laboratory import fresh_database
from chain.development import deploy
from chain.follower import FollowerConfig, follow_to_head
from chain.keystore import ADMINISTRATOR_KEY, SIGNER_KEY, development_key
from chain.rpc import RPC
from foundation.assets import USDT
from foundation.clock import Clock, SystemClock
from foundation.database import Database
from foundation.ids import uuid7
from ledger.chart import AccountCode, TransferCode, open_system_accounts, system_account_id
from ledger.contract import CreateTransferStatus, Transfer
from ledger.engine import LedgerEngine
from ledger.interface import Ledger
from ops.bench import Better, Options, Row, Target
from treasury.custody import Custody, custody_of
from treasury.custody_balances import BALANCE_OF
from treasury.deposits import book_deposits
from treasury.models import TreasuryDepositAddress
from treasury.reconciliation import reconcile

UNITS_EACH = 7_000_000
"""Token units at each address."""
WRITES_AT_ONCE = 500
"""Calls of a request that prepares the chain."""
SECONDS_MAX = 2.0


@dataclass(frozen=True)
class Bank:
    """What reconciliation takes."""

    node: Node
    database: Database
    ledger: Ledger
    rpc: RPC
    clock: Clock
    custody: Custody


async def measure(sizes: Sizes, options: Options) -> AsyncIterator[Row]:
    """The row, if it was asked for."""
    name = f"reconciliation of {sizes.addresses:,} deposit addresses, beside the bare balances"
    if not options.wants(name):
        return
    async with _bank() as bank:
        options.report(f"giving {sizes.addresses:,} addresses their tokens")
        addresses = await _fill(bank, sizes.addresses)
        seconds, bare = [], []
        for _ in range(sizes.rounds):
            bare.append(_bare_seconds(bank, addresses))
            seconds.append(await _reconcile(bank, sizes.addresses))
    target = Target(SECONDS_MAX, Better.LOWER)
    yield Row(name, statistics.median(seconds), "s", statistics.median(bare), target)


@contextlib.asynccontextmanager
async def _bank() -> AsyncIterator[Bank]:
    """An empty bank on a new chain with our contracts."""
    with (
        tempfile.TemporaryDirectory() as directory,
        fresh_node(epoch_slots=1) as node,
        fresh_database() as url,
    ):
        node.call("evm_setAutomine", True)
        home, clock = Path(directory), SystemClock()
        signer = development_key(home, SIGNER_KEY)
        administrator = development_key(home, ADMINISTRATOR_KEY)
        database, rpc = Database(url), RPC(node.url)
        ledger = await LedgerEngine.start(url, clock)
        try:
            await open_system_accounts(ledger)
            deployment = await deploy(rpc, home, administrator=administrator, withdrawer=signer.address)
            yield Bank(node, database, ledger, rpc, clock, custody_of(deployment))
        finally:
            await ledger.close()
            await rpc.close()
            await database.close()


async def _fill(bank: Bank, count: int) -> list[str]:
    """Tokens at so many deposit addresses, and the same in the ledger."""
    addresses = [f"0x{number + 2**100:040x}" for number in range(count)]
    token = bank.custody.token_of(USDT).address
    units = f"0x{UNITS_EACH:064x}"
    for first in range(0, count, WRITES_AT_ONCE):
        part = addresses[first : first + WRITES_AT_ONCE]
        bank.node.post(
            [
                {"jsonrpc": "2.0", "id": index, "method": "anvil_setStorageAt", "params": params}
                for index, params in enumerate([token, _balance_slot(address), units] for address in part)
            ]
        )
        async with bank.database.session() as session:
            await session.execute(
                insert(TreasuryDepositAddress),
                [
                    {
                        "address": address,
                        "wallet_id": uuid7(bank.clock),
                        "epoch": 0,
                        "salt": "0x" + "00" * 32,
                        "created_at": bank.clock.now(),
                    }
                    for address in part
                ],
            )
    (result,) = await bank.ledger.create_transfers(
        [
            Transfer(
                id=uuid7(bank.clock).int,
                debit_account_id=system_account_id(AccountCode.CUSTODY, USDT),
                credit_account_id=system_account_id(AccountCode.SUSPENSE, USDT),
                amount=count * UNITS_EACH,
                ledger=USDT.ledger,
                code=int(TransferCode.DEPOSIT),
            )
        ]
    )
    if result.status is not CreateTransferStatus.CREATED:
        raise AssertionError(result)
    return addresses


def _balance_slot(address: str) -> str:
    """Where the token keeps an address' balance: OpenZeppelin's first mapping, in slot 0."""
    return "0x" + keccak(bytes.fromhex(address[2:]).rjust(32, b"\0") + bytes(32)).hex()


async def _reconcile(bank: Bank, count: int) -> float:
    """Seconds of one reconciliation, at a block that has just become final."""
    bank.node.call("anvil_mine", hex(3))
    tokens = tuple(token.address for token in bank.custody.tokens)
    await follow_to_head(bank.database, bank.rpc, FollowerConfig(bank.custody.chain_id, tokens), bank.clock)
    await book_deposits(bank.database, bank.ledger, bank.clock, bank.custody)
    began = time.perf_counter()
    results = await reconcile(bank.database, bank.ledger, bank.rpc, bank.clock, bank.custody)
    seconds = time.perf_counter() - began
    usdt = next(result for result in results if result.asset == USDT)
    if not usdt.agrees or usdt.chain_units != count * UNITS_EACH:
        raise AssertionError(f"the books do not agree: {usdt}")
    return seconds


def _bare_seconds(bank: Bank, addresses: Sequence[str]) -> float:
    """Seconds of asking for the same balances of all tokens, and doing nothing with them."""
    tokens = [token.address for token in bank.custody.tokens]
    began = time.perf_counter()
    for token in tokens:
        for first in range(0, len(addresses), WRITES_AT_ONCE):
            calls = [
                {"to": token, "data": BALANCE_OF + each[2:]} for each in addresses[first:][:WRITES_AT_ONCE]
            ]
            bank.node.post(
                [
                    {"jsonrpc": "2.0", "id": index, "method": "eth_call", "params": [call, "latest"]}
                    for index, call in enumerate(calls)
                ]
            )
    return time.perf_counter() - began
