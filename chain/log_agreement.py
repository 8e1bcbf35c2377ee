"""Log agreement: the transfers of blocks that are about to be final, as both endpoints tell them.

A block's hash, on which both agree, says nothing about the logs that one of them tells
for it: a transfer may be invented, or hidden, in a block that is true. So before blocks
become final the mirror's transfers in them are compared with the second endpoint's, one
by one. Where they differ nobody knows who lies: the mirror forgets those blocks, so that
they are fetched anew, and the follower stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chain.errors import FollowerStopCode, FollowerStopped, RPCMalformed
from chain.mirror import Cursor, Mirror, Transfer
from chain.rpc import RPC, Header
from chain.transfer_columns import COLUMNS, TransferLogs
from chain.transfer_logs import prefetch_ranges, transfers_by_hash

COMPARED_BLOCKS = 500
"""Most blocks whose transfers are held in memory at a time."""


async def agree_on_transfers(
    mirror: Mirror,
    check: RPC,
    tokens: Sequence[str],
    cursor: Cursor,
    *,
    last: int,
    headers: Sequence[Header],
    logs: TransferLogs,
) -> None:
    """Compare the transfers of the blocks after the final one up to ``last``.

    ``headers`` and ``logs`` follow the mirror's head and are not written yet. Raises
    ``FollowerStopped`` (endpoints_disagree) where a transfer differs, when the mirror has gone
    back to before it; and the second endpoint's errors, with nothing changed.
    """
    coming = _told(logs, mirror.chain_id)
    for first in range(cursor.finalized_number + 1, last + 1, COMPARED_BLOCKS):
        end = min(first + COMPARED_BLOCKS - 1, last)
        ours = await mirror.transfers(first, end, tokens)
        ours |= {one for one in coming if first <= one.block_number <= end}
        theirs = _told(await prefetch_ranges(check, first, end, tokens), mirror.chain_id)
        differing = sorted(_numbers(ours ^ theirs))
        if not differing:
            continue
        # An answer to a range may come from a node that has not all of it; one to a hash is
        # of that block, or an error.
        hashes = await mirror.hashes(first, end) | {header.height: header.hash for header in headers}
        if strangers := [number for number in differing if number not in hashes]:
            raise RPCMalformed("eth_getLogs", f"a log of block {strangers[0]}, which was not asked for")
        asked = {number: hashes[number] for number in differing}
        told = _told(await transfers_by_hash(check, asked, tokens), mirror.chain_id)
        wrong = {one for one in ours if one.block_number in asked} ^ told
        if wrong:
            await _stop(mirror, cursor, min(_numbers(wrong)), ours, told)


async def agree_on_older_transfers(
    check: RPC, chain_id: int, tokens: Sequence[str], *, first: int, last: int, logs: TransferLogs
) -> None:
    """Compare transfers in blocks that are final already, of tokens that were not watched then.

    ``logs`` may have later blocks too. Raises as ``agree_on_transfers`` does, and changes nothing.
    """
    if first > last:
        return
    ours = {one for one in _told(logs, chain_id) if one.block_number <= last}
    wrong = ours ^ _told(await prefetch_ranges(check, first, last, tokens), chain_id)
    if wrong:
        raise _disagreement(min(_numbers(wrong)), ours, ours ^ wrong)


async def _stop(
    mirror: Mirror, cursor: Cursor, number: int, ours: set[Transfer], theirs: set[Transfer]
) -> None:
    stop = _disagreement(number, ours, theirs)
    before = await mirror.hashes(number - 1, number - 1)
    # What is not written yet needs no forgetting, and the mirror's first block cannot go. If we
    # die before the commit the next step finds the same again.
    if before and number <= cursor.head_number:
        cursor = await mirror.rewind(cursor, number=number - 1, block_hash=before[number - 1])
    await mirror.hold_finality(cursor, stop.detail)
    raise stop


def _disagreement(number: int, ours: set[Transfer], theirs: set[Transfer]) -> FollowerStopped:
    counts = [sum(one.block_number == number for one in told) for told in (ours, theirs)]
    return FollowerStopped(
        FollowerStopCode.ENDPOINTS_DISAGREE,
        f"in block {number} the node has told of {counts[0]} transfers, the second endpoint tells of "
        f"{counts[1]}, and they are not the same",
        block_number=number,
        node=counts[0],
        second=counts[1],
    )


def _told(logs: TransferLogs, chain_id: int) -> set[Transfer]:
    return {Transfer(*(row[name] for name in COLUMNS[1:])) for row in logs.fields(chain_id)}


def _numbers(transfers: Iterable[Transfer]) -> set[int]:
    return {one.block_number for one in transfers}
