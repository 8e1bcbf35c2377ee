"""Endpoints: what a node says of its chain in one look, and a second one that must agree.

One endpoint can lie, or be on a fork of its own; a second one, run by others, makes
that visible. They are compared where nothing may change any more: both must have the
same block at the lower of their two finalized heights, and that block is what counts
as final. Above finality they may differ, as honest nodes do. A second endpoint that
does not answer agrees to nothing: then finality stands still, and with it crediting,
and the reason is told.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import cast

from chain.errors import FollowerStopCode, FollowerStopped, RPCError, RPCMalformed, RPCUnavailable
from chain.rpc import RPC, Call, Header, Quantity
from chain.windows import GET_BLOCK

NODE = "the node"
SECOND = "the second endpoint"


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a node said in one batch."""

    genesis: Header
    latest: Header
    finalized: Header | None
    """What counts as final; None if nothing does."""
    at_head: Header | None
    """Its block at the height that was asked about."""
    hold: str | None = None
    """Why nothing counts as final now, where the second endpoint is the reason."""

    @property
    def final_number(self) -> int:
        """Height of the final block; -1 without one."""
        return self.finalized.height if self.finalized else -1


async def look(
    rpc: RPC, *, chain_id: int, genesis_hash: str | None, number: int, name: str = NODE
) -> NodeView:
    """The node's chain id, block 0, tags and its block ``number``; refuses another chain.

    Raises ``FollowerStopped`` and the RPC's errors. ``genesis_hash`` is the block 0
    that it must have, None if any will do.
    """
    calls: list[Call] = [("eth_chainId", ())]
    calls += [(GET_BLOCK, (tag, False)) for tag in ("0x0", "latest", "finalized", hex(number))]
    kinds = cast("type[str | Header]", Quantity | Header)
    answered_id, *found = await rpc.find(calls, kinds)
    if not isinstance(answered_id, str):
        raise RPCMalformed("eth_chainId", "a chain id is a number")
    if int(answered_id, 16) != chain_id:
        raise FollowerStopped(
            FollowerStopCode.WRONG_CHAIN_ID,
            f"{name} is on chain {int(answered_id, 16)}, this installation is on {chain_id}",
            node=int(answered_id, 16),
            configured=chain_id,
        )
    if any(isinstance(header, str) for header in found):
        raise RPCMalformed(GET_BLOCK, "text where a block was expected")
    genesis, latest, finalized, at_head = cast("tuple[Header | None, ...]", tuple(found))
    # A node that starts, prunes or sits behind a load balancer may know no
    # block 0 or head for a moment; that is no answer yet.
    if genesis is None or latest is None:
        raise RPCUnavailable(GET_BLOCK, f"{name} has no block 0 or no head", outcome_unknown=False)
    if genesis_hash is not None and genesis.hash != genesis_hash:
        raise FollowerStopped(
            FollowerStopCode.WRONG_GENESIS,
            f"block 0 of {name} is {genesis.hash}, the mirror began with {genesis_hash}",
            node=genesis.hash,
            mirror=genesis_hash,
        )
    return NodeView(genesis, latest, finalized, at_head)


async def agreed(rpc: RPC, check: RPC, view: NodeView, *, chain_id: int) -> NodeView:
    """The view with nothing final but what the second endpoint has as final too.

    Raises ``FollowerStopped`` (endpoints_disagree, wrong_chain_id, wrong_genesis) when it
    says something else; where it says nothing, ``hold`` tells so. The first endpoint's
    own errors are raised.
    """
    if view.finalized is None:
        return view
    try:
        second = await look(
            check, chain_id=chain_id, genesis_hash=view.genesis.hash, number=view.final_number, name=SECOND
        )
        if second.finalized is None:
            return replace(view, finalized=None, hold=f"{SECOND} has nothing final")
        # Neither may be believed about what is final for the other only.
        number = min(view.final_number, second.final_number)
        theirs = second.finalized
        if number < second.final_number:
            (theirs,) = await check.read([(GET_BLOCK, (hex(number), False))], Header)
    except (RPCUnavailable, RPCError, RPCMalformed) as error:
        return replace(view, finalized=None, hold=f"{SECOND} does not answer: {error}"[:300])
    ours = view.finalized
    if number < view.final_number:
        (ours,) = await rpc.read([(GET_BLOCK, (hex(number), False))], Header)
    if (ours.height, theirs.height) != (number, number):
        raise RPCMalformed(GET_BLOCK, f"another block where {number} was asked for")
    if ours.hash != theirs.hash:
        raise FollowerStopped(
            FollowerStopCode.ENDPOINTS_DISAGREE,
            f"at final block {number} {NODE} has {ours.hash}, {SECOND} has {theirs.hash}",
            block_number=number,
            node=ours.hash,
            second=theirs.hash,
        )
    return replace(view, finalized=ours)


async def refuse_other_chains(rpc: RPC, check: RPC | None, *, chain_id: int, genesis_hash: str) -> None:
    """Refuse to start on another chain: ``FollowerStopped``, or the first endpoint's own errors.

    A second endpoint that does not answer is no reason not to start: nothing becomes
    final until it does.
    """
    await look(rpc, chain_id=chain_id, genesis_hash=genesis_hash, number=0)
    if check is not None:
        with contextlib.suppress(RPCUnavailable, RPCError, RPCMalformed):
            await look(check, chain_id=chain_id, genesis_hash=genesis_hash, number=0, name=SECOND)
