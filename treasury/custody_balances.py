"""Custody balances: what the chain itself says lies in custody, at one block.

Each custody address is asked for its balance of each token at a block named by its
hash, all in batches, so that the sum is of one state and of no other fork.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chain.rpc import RPC, Call, Word

BALANCE_OF = "0x70a08231" + "0" * 24
"""Selector of ``balanceOf(address)`` and the padding of its argument."""


async def units_at(rpc: RPC, *, token: str, addresses: Sequence[str], block_hash: str) -> list[int]:
    """Units of ``token`` that each of ``addresses`` (lower case) holds at a block.

    Raises ``RPCMalformed`` if the token does not answer like one, and the RPC's
    errors; a node without the state of that block answers an ``RPCError``.
    """
    calls: list[Call] = [
        ("eth_call", ({"to": token, "data": BALANCE_OF + address[2:]}, {"blockHash": block_hash}))
        for address in addresses
    ]
    # No code at the token's address answers "0x", which is no word: that is an error
    # and no balance of zero.
    return [int(answer, 16) for answer in await rpc.read(calls, Word)]


@dataclass(frozen=True, slots=True)
class UnitsByPlace:
    """Units of a token by how soon a customer can be paid with them."""

    hot: int
    """In the vault, and at the addresses of keys: payable now."""
    deposit: int
    """At deposit addresses: payable once swept."""
    cold: int
    """At cold addresses: payable once people have brought them back."""


def by_place(
    addresses: Sequence[str], units: Sequence[int], *, hot: Collection[str], cold: Collection[str]
) -> UnitsByPlace:
    """The units that lie at ``addresses``, place by place; what is neither hot nor cold is a deposit's."""
    sums = {"hot": 0, "deposit": 0, "cold": 0}
    for address, held in zip(addresses, units, strict=True):
        sums["cold" if address in cold else "hot" if address in hot else "deposit"] += held
    return UnitsByPlace(**sums)
