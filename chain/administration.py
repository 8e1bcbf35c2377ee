"""Administration: transactions of operators' keys, outside the lanes of orders.

Deploying, granting roles, issuing development tokens. They move no customer's
money, are sent in order with consecutive nonces, and are waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from chain.calldata import hexadecimal
from chain.errors import RPCUnavailable
from chain.fees import suggested_fees
from chain.keystore import SigningKey
from chain.rpc import RPC, Receipt
from chain.transactions import Transaction
from foundation.errors import NUGPayError

RECEIPT_SECONDS_MAX = 60.0
"""How long a batch may take to be mined."""

POLL_SECONDS = 0.02
"""Between two questions for receipts."""

PREDECESSOR_SECONDS_MAX = 0.5
"""How long a transaction waits for the one before it to be mined, before it is sent anyway."""


@dataclass(frozen=True, slots=True)
class AdministrativeCall:
    """A call to make: ``to`` is None where ``data`` creates a contract."""

    to: str | None
    data: bytes
    gas_limit: int


class AdministrationFailed(NUGPayError):
    """A transaction of the batch was mined and reverted."""

    def __init__(self, receipt: Receipt, position: int) -> None:
        super().__init__(f"call {position} of the batch reverted in {receipt.transaction_hash}")
        self.receipt = receipt
        self.position = position


async def execute(
    rpc: RPC, key: SigningKey, calls: Sequence[AdministrativeCall], *, chain_id: int, first_nonce: int
) -> list[Receipt]:
    """Send the calls in order, with nonces from ``first_nonce``, and wait until all are mined.

    Raises ``AdministrationFailed`` if one reverted, and the RPC's errors. A batch
    that was cut off may be mined in part: callers look before they repeat it.
    """
    fees = await suggested_fees(rpc)
    signed = [
        key.sign(
            Transaction(
                chain_id=chain_id,
                nonce=first_nonce + position,
                max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
                max_fee_per_gas=fees.max_fee_per_gas,
                gas_limit=call.gas_limit,
                to=call.to,
                data=call.data,
            )
        )
        for position, call in enumerate(calls)
    ]
    await _send(rpc, [(one.tx_hash, one.raw) for one in signed])
    receipts = await _receipts(rpc, [one.tx_hash for one in signed])
    for position, receipt in enumerate(receipts):
        if not receipt.succeeded:
            raise AdministrationFailed(receipt, position)
    return receipts


async def next_nonce(rpc: RPC, address: str) -> int:
    """The first nonce that no transaction of the address has, mined or waiting."""
    return int((await rpc.read([("eth_getTransactionCount", (address, "pending"))], str))[0], 16)


async def _send(rpc: RPC, signed: Sequence[tuple[str, bytes]]) -> None:
    # One after the other: a node may take the parts of one request in any order. And where the
    # node mines at once, each after its predecessor's receipt: anvil 1.7.1 puts a transaction that
    # arrives while its predecessor becomes a block among those that wait for it, and as it has
    # been mined already, that one and all after it wait for ever. Where the first is not mined
    # within moments, blocks have their own time, and the rest is not held up for them.
    mines_at_once = True
    for position, (tx_hash, raw) in enumerate(signed):
        await rpc.call("eth_sendRawTransaction", hexadecimal(raw))
        if mines_at_once and position < len(signed) - 1:
            mines_at_once = await _mined_soon(rpc, tx_hash)


async def _mined_soon(rpc: RPC, tx_hash: str) -> bool:
    deadline = time.monotonic() + PREDECESSOR_SECONDS_MAX
    while (await rpc.find([("eth_getTransactionReceipt", (tx_hash,))], Receipt))[0] is None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


async def _receipts(rpc: RPC, hashes: Sequence[str]) -> list[Receipt]:
    deadline = time.monotonic() + RECEIPT_SECONDS_MAX
    while True:
        found = await rpc.find([("eth_getTransactionReceipt", (one,)) for one in hashes], Receipt)
        receipts = [receipt for receipt in found if receipt is not None]
        if len(receipts) == len(hashes):
            return receipts
        if time.monotonic() > deadline:
            missing = len(hashes) - len(receipts)
            detail = f"{missing} transactions are not mined after {RECEIPT_SECONDS_MAX:.0f} s"
            raise RPCUnavailable("eth_sendRawTransaction", detail, outcome_unknown=True)
        await asyncio.sleep(POLL_SECONDS)
