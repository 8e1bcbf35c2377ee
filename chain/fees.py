"""Fees: what a transaction offers per unit of gas.

A transaction pays the block's base fee and a tip, both capped by what it offers.
We offer twice the present base fee plus the tip, so that it stays minable while
the base fee rises for six full blocks. A stuck transaction is replaced by one
that offers at least a fifth more on both fields: nodes refuse less than a tenth
(geth) or an eighth (others), and a development node refuses nothing, so the rule
is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from chain.rpc import RPC

BUMP_PERCENT = 20
"""How much more a replacement offers on each field, at least."""


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei per unit of gas: the most that is paid, and the tip within it."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int

    def bumped(self, now: Fees) -> Fees:
        """Fees that replace a transaction with these: a fifth more, or ``now`` where that is higher."""
        return Fees(
            max(_more(self.max_fee_per_gas), now.max_fee_per_gas),
            max(_more(self.max_priority_fee_per_gas), now.max_priority_fee_per_gas),
        )


class _BaseFee(msgspec.Struct, frozen=True, rename="camel"):
    base_fee_per_gas: str


async def base_fee(rpc: RPC) -> int:
    """What each unit of gas costs in the newest block, without a tip, in wei. Raises the RPC's errors."""
    head = (await rpc.read([("eth_getBlockByNumber", ("latest", False))], _BaseFee))[0]
    return int(head.base_fee_per_gas, 16)


async def suggested_fees(rpc: RPC) -> Fees:
    """What a transaction sent now should offer. Raises the RPC's errors."""
    base = await base_fee(rpc)
    tip = int((await rpc.read([("eth_maxPriorityFeePerGas", ())], str))[0], 16)
    return Fees(2 * base + tip, tip)


def _more(wei: int) -> int:
    # Rounded up, and at least one wei, so that even a tip of zero grows.
    return max(-(-wei * (100 + BUMP_PERCENT) // 100), wei + 1)
