"""Ancestry: the highest block that the mirror and the node's chain share."""

from __future__ import annotations

from chain.endpoints import NodeView
from chain.errors import FollowerStopCode, FollowerStopped, RPCUnavailable
from chain.mirror import Cursor, Mirror
from chain.rpc import RPC, Call, Header
from chain.windows import GET_BLOCK

REORG_BLOCKS_MAX = 128
"""Headers compared to find the common ancestor; a deeper reorg stops the follower."""


async def common_ancestor(mirror: Mirror, rpc: RPC, cursor: Cursor, view: NodeView) -> tuple[int, str] | None:
    """Number and hash of the block; None if the node only lags behind us.

    Raises ``FollowerStopped`` (reorg_too_deep) rather than guess, and the RPC's errors.
    """
    first = max(cursor.start_number, cursor.head_number - REORG_BLOCKS_MAX + 1)
    stored = await mirror.hashes(first, cursor.head_number)
    node_head = view.latest.height
    known = await mirror.hashes(node_head, node_head)
    # A shorter chain that agrees with ours where it ends is a node that lags, or
    # a fork that has not grown yet: nothing to take away on its word.
    if node_head < cursor.head_number and known.get(node_head) == view.latest.hash:
        return None
    numbers = [number for number in sorted(stored, reverse=True) if number <= node_head]
    calls: list[Call] = [(GET_BLOCK, (hex(number), False)) for number in numbers]
    theirs = await rpc.find(calls, Header)
    for number, header in zip(numbers, theirs, strict=True):
        if header is None:
            raise RPCUnavailable(GET_BLOCK, f"block {number} is missing", outcome_unknown=False)
        if header.hash == stored[number]:
            return number, stored[number]
    raise FollowerStopped(
        FollowerStopCode.REORG_TOO_DEEP,
        f"no common block from {first} to {cursor.head_number}",
        first=first,
        head=cursor.head_number,
    )
