"""Broken finality: what was final has been replaced, and the mirror goes back for it.

The follower never does this by itself. It stops (``FollowerStopped``), and its caller
first sees to it that nothing more leaves the bank; only then it calls
``leave_broken_finality``. The mirror goes back only to a chain that is final itself at
the height that was final before (for both endpoints, where there are two) and that
hangs together from the common ancestor on. Until then everything stands still. Each
time is recorded (``chain_finality_break``) in the database transaction that takes the
blocks away, so that whoever booked on them finds out.
"""

from __future__ import annotations

from sqlalchemy import select

from chain.ancestry import common_ancestor
from chain.broadcasts import broadcast
from chain.endpoints import NodeView, agreed, look
from chain.errors import FollowerStopCode, FollowerStopped
from chain.mirror import Cursor, FinalityBreak, Mirror
from chain.models import ChainAttempt
from chain.rpc import RPC, Header
from chain.windows import GET_BLOCK, check_links, fetch_headers
from foundation.clock import Clock
from foundation.database import Database


def broken(cursor: Cursor, *, ancestor: int, why: str = "") -> FollowerStopped:
    """The stop that tells that final blocks above ``ancestor`` are not the node's any more."""
    return FollowerStopped(
        FollowerStopCode.FINALITY_BROKEN,
        f"the node left our chain above {ancestor}, but {cursor.finalized_number} was final{why}",
        ancestor=ancestor,
        finalized=cursor.finalized_number,
    )


async def leave_broken_finality(
    database: Database, rpc: RPC, chain_id: int, clock: Clock, *, check: RPC | None = None
) -> FinalityBreak | None:
    """Take away the final blocks that the chain has replaced; None if there are none.

    Raises ``FollowerStopped`` while the new chain is not final itself, and the RPC's
    errors; then nothing was written. If we die before the commit nothing has happened;
    after it the mirror stands at the ancestor, and the break is on record.
    """
    mirror = Mirror(database, clock, chain_id)
    cursor = await mirror.cursor()
    if cursor is None:
        return None
    view = await look(rpc, chain_id=chain_id, genesis_hash=cursor.genesis_hash, number=cursor.head_number)
    if check is not None:
        view = await agreed(rpc, check, view, chain_id=chain_id)
    if view.at_head is not None and view.at_head.hash == cursor.head_hash:
        return None
    ancestor = await common_ancestor(mirror, rpc, cursor, view)
    if ancestor is None or ancestor[0] >= cursor.finalized_number:
        return None
    number, block_hash = ancestor
    found = await _final_replacement(rpc, cursor, view, number, block_hash)
    lost = (await mirror.hashes(cursor.finalized_number, cursor.finalized_number))[cursor.finalized_number]
    gone = FinalityBreak(number, cursor.finalized_number, lost, found.hash)
    await mirror.rewind(cursor, number=number, block_hash=block_hash, finality_break=gone)
    return gone


async def _final_replacement(
    rpc: RPC, cursor: Cursor, view: NodeView, ancestor: int, ancestor_hash: str
) -> Header:
    """The node's block at our final height, proven to lie between the ancestor and what is final now."""
    tag = view.finalized
    if tag is None or tag.height < cursor.finalized_number:
        why = view.hold or f"; its own chain is final up to {view.final_number} only"
        raise broken(cursor, ancestor=ancestor, why=why)
    headers = await fetch_headers(rpc, ancestor + 1, tag.height)
    check_links(ancestor_hash, headers)
    if headers[-1].hash != tag.hash:
        raise broken(cursor, ancestor=ancestor, why=f"; {GET_BLOCK} and its final block do not agree")
    return headers[cursor.finalized_number - ancestor - 1]


async def send_lost_again(database: Database, rpc: RPC) -> int:
    """Give the node again what we have signed and its chain does not have (any more); how many.

    A final tx of ours that was taken back leaves a gap that every later nonce waits
    behind. The bytes are the same, and a nonce is taken once, so this may be repeated at
    any time. Of several attempts at a nonce the newest is sent. Raises the RPC's errors.
    """
    async with database.session() as session:
        senders = (await session.scalars(select(ChainAttempt.from_address).distinct())).all()
    sent = 0
    for sender in senders:
        taken = int(await rpc.call("eth_getTransactionCount", sender, "latest"), 16)
        async with database.session() as session:
            attempts = await session.scalars(
                select(ChainAttempt)
                .where(ChainAttempt.from_address == sender, ChainAttempt.nonce >= taken)
                .order_by(ChainAttempt.nonce, ChainAttempt.max_fee_per_gas)
            )
            newest = {attempt.nonce: attempt.raw for attempt in attempts}
        for raw in newest.values():
            await broadcast(rpc, raw)
        sent += len(newest)
    return sent
