"""The block follower: keeps the mirror equal to the chain, through reorgs and crashes.

One step looks at the node, takes away what a reorg made untrue, and adds the next
window of blocks with their logs in one database transaction. What it guarantees:
each mirrored block's parent is the mirrored block before it; each log belongs to
its block's hash; blocks, logs and cursor never disagree; ``finalized_number``
moves only to a block whose hash the node names as finalized. It never reads
``removed`` flags: hashes alone say what is true. Where it would have to guess it
stops (``FollowerStopped``) and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from chain.errors import FollowerStopCode, FollowerStopped, RPCMalformed, RPCUnavailable
from chain.mirror import Cursor, Mirror, MirrorBlock
from chain.rpc import RPC, Call, Header, Quantity
from chain.transfer_logs import block_key, fetch_transfer_logs
from foundation.clock import Clock
from foundation.database import Database

REORG_BLOCKS_MAX = 128
"""Headers compared to find the common ancestor; a deeper reorg stops the follower."""
WINDOW_BLOCKS = 500
"""Most blocks added in one step."""
BACKFILL_BLOCKS = 500
"""Blocks a step when a token is watched later than its chain."""

_HEADER = "eth_getBlockByNumber"


@dataclass(frozen=True, slots=True)
class FollowerConfig:
    """What to follow: the chain that the node must be on, and the tokens' addresses."""

    chain_id: int
    tokens: tuple[str, ...]
    start_number: int = 0
    """First block of the mirror; later changes of it have no effect."""
    window_blocks: int = WINDOW_BLOCKS

    def watched(self) -> tuple[str, ...]:
        """The tokens as the tables hold them, each once."""
        return tuple(sorted({token.lower() for token in self.tokens}))


@dataclass(frozen=True, slots=True)
class FollowReport:
    """What one step did. Heights are block numbers."""

    head: int
    """The mirror's head after the step; ``start_number - 1`` before the first block."""
    finalized: int
    """The mirror's finalized block after the step."""
    node_head: int
    """The node's head when the step looked."""
    blocks_added: int = 0
    logs_added: int = 0
    rewound_to: int | None = None
    """The common ancestor, if a reorg took blocks away."""

    @property
    def caught_up(self) -> bool:
        """Whether the node had no block more than the mirror."""
        return self.head >= self.node_head


@dataclass(frozen=True, slots=True)
class _View:
    """What the node said in one batch."""

    genesis: Header
    latest: Header
    finalized: Header | None
    at_head: Header | None
    """Its block at the height of the mirror's head."""


async def follow_once(database: Database, rpc: RPC, config: FollowerConfig, clock: Clock) -> FollowReport:
    """One step towards the node's head; ``caught_up`` says whether another is due.

    Raises ``FollowerStopped`` (a person must look), ``RPCUnavailable``,
    ``RPCMalformed`` or ``MirrorMoved`` (nothing was written; a later step tries
    again). Safe to kill anywhere: every write is one database transaction.
    """
    mirror = Mirror(database, clock, config.chain_id)
    cursor = await mirror.cursor()
    view = await _look(rpc, config, cursor)
    if cursor is None:
        return await _begin(mirror, rpc, config, view)
    rewound_to = None
    if view.at_head is None or view.at_head.hash != cursor.head_hash:
        ancestor = await _common_ancestor(mirror, rpc, cursor, view)
        if ancestor is None:
            return _report(cursor, view)
        rewound_to, ancestor_hash = ancestor
        cursor = await mirror.rewind(cursor, number=rewound_to, block_hash=ancestor_hash)
    await _watch_new_tokens(mirror, rpc, config, cursor, view)
    return await _add_window(mirror, rpc, config, cursor, view, rewound_to)


async def follow_to_head(
    database: Database, rpc: RPC, config: FollowerConfig, clock: Clock, *, steps_max: int = 1_000_000
) -> FollowReport:
    """Steps until the mirror has the node's head; the last step's report."""
    report = await follow_once(database, rpc, config, clock)
    while not report.caught_up and steps_max > 1:
        report = await follow_once(database, rpc, config, clock)
        steps_max -= 1
    return report


async def _look(rpc: RPC, config: FollowerConfig, cursor: Cursor | None) -> _View:
    """The node's chain id, block 0, tags and its block at our head; refuses another chain."""
    head = hex(cursor.head_number if cursor else 0)
    calls: list[Call] = [("eth_chainId", ())]
    calls += [(_HEADER, (tag, False)) for tag in ("0x0", "latest", "finalized", head)]
    kinds = cast("type[str | Header]", Quantity | Header)
    chain_id, genesis, latest, finalized, at_head = await rpc.find(calls, kinds)
    if not isinstance(chain_id, str):
        raise RPCMalformed("eth_chainId", "a chain id is a number")
    if int(chain_id, 16) != config.chain_id:
        raise FollowerStopped(
            FollowerStopCode.WRONG_CHAIN_ID,
            f"the node is on chain {int(chain_id, 16)}, this installation is on {config.chain_id}",
            node=int(chain_id, 16),
            configured=config.chain_id,
        )
    headers = (genesis, latest, finalized, at_head)
    if any(isinstance(header, str) for header in headers):
        raise RPCMalformed(_HEADER, "text where a block was expected")
    genesis, latest, finalized, at_head = cast("tuple[Header | None, ...]", headers)
    # A node that starts, prunes or sits behind a load balancer may know no
    # block 0 or head for a moment; that is no answer yet.
    if genesis is None or latest is None:
        raise RPCUnavailable(_HEADER, "the node has no block 0 or no head", outcome_unknown=False)
    if cursor is not None and genesis.hash != cursor.genesis_hash:
        raise FollowerStopped(
            FollowerStopCode.WRONG_GENESIS,
            f"block 0 of the node is {genesis.hash}, the mirror began with {cursor.genesis_hash}",
            node=genesis.hash,
            mirror=cursor.genesis_hash,
        )
    return _View(genesis, latest, finalized, at_head)


async def _begin(mirror: Mirror, rpc: RPC, config: FollowerConfig, view: _View) -> FollowReport:
    """The first block of the mirror; the rest follows in later steps."""
    number = config.start_number
    if view.latest.height < number:
        return FollowReport(number - 1, number - 1, view.latest.height)
    tokens = config.watched()
    (header,) = await _headers(rpc, number, number)
    logs = await fetch_transfer_logs(rpc, [block_key(header)], tokens, -1)
    cursor = await mirror.begin(view.genesis.hash, tokens, _mirror_block(header), logs)
    return FollowReport(cursor.head_number, cursor.finalized_number, view.latest.height, 1, len(logs))


async def _common_ancestor(mirror: Mirror, rpc: RPC, cursor: Cursor, view: _View) -> tuple[int, str] | None:
    """The highest block that mirror and node share; None if the node only lags behind us."""
    first = max(cursor.start_number, cursor.head_number - REORG_BLOCKS_MAX + 1)
    stored = await mirror.hashes(first, cursor.head_number)
    node_head = view.latest.height
    known = await mirror.hashes(node_head, node_head)
    # A shorter chain that agrees with ours where it ends is a node that lags, or
    # a fork that has not grown yet: nothing to take away on its word.
    if node_head < cursor.head_number and known.get(node_head) == view.latest.hash:
        return None
    numbers = [number for number in sorted(stored, reverse=True) if number <= node_head]
    calls: list[Call] = [(_HEADER, (hex(number), False)) for number in numbers]
    theirs = await rpc.find(calls, Header)
    for number, header in zip(numbers, theirs, strict=True):
        if header is None:
            raise RPCUnavailable(_HEADER, f"block {number} is missing", outcome_unknown=False)
        if header.hash == stored[number]:
            _refuse_broken_finality(cursor, ancestor=number)
            return number, stored[number]
    raise FollowerStopped(
        FollowerStopCode.REORG_TOO_DEEP,
        f"no common block from {first} to {cursor.head_number}",
        first=first,
        head=cursor.head_number,
    )


def _refuse_broken_finality(cursor: Cursor, *, ancestor: int) -> None:
    """What was final must not be taken away by a machine: money was credited on it."""
    if ancestor < cursor.finalized_number:
        raise FollowerStopped(
            FollowerStopCode.FINALITY_BROKEN,
            f"the node left our chain above {ancestor}, but {cursor.finalized_number} was final",
            ancestor=ancestor,
            finalized=cursor.finalized_number,
        )


async def _add_window(
    mirror: Mirror, rpc: RPC, config: FollowerConfig, cursor: Cursor, view: _View, rewound_to: int | None
) -> FollowReport:
    """The next blocks, linked to our head, with their logs; and finality, where it is proven."""
    last = min(view.latest.height, cursor.head_number + config.window_blocks)
    headers = await _headers(rpc, cursor.head_number + 1, last)
    _check_links(cursor, headers)
    tag = view.finalized
    logs = await fetch_transfer_logs(
        rpc, [block_key(header) for header in headers], config.watched(), tag.height if tag else -1
    )
    head = headers[-1].height if headers else cursor.head_number
    finalized = cursor.finalized_number
    if tag is not None and finalized < tag.height <= head:
        await _check_finalized(mirror, tag, headers)
        finalized = tag.height
    if not headers and finalized == cursor.finalized_number:
        return _report(cursor, view, rewound_to=rewound_to)
    moved = await mirror.append(cursor, [_mirror_block(header) for header in headers], logs, finalized)
    return _report(moved, view, blocks=len(headers), logs=len(logs), rewound_to=rewound_to)


async def _headers(rpc: RPC, first: int, last: int) -> list[Header]:
    """Headers by number, all of them; a null is retried and then unavailable."""
    numbers = range(first, last + 1)
    calls: list[Call] = [(_HEADER, (hex(number), False)) for number in numbers]
    headers = await rpc.read(calls, Header)
    for number, header in zip(numbers, headers, strict=True):
        if header.height != number:
            raise RPCMalformed(_HEADER, f"block {header.height} where {number} was asked for")
    return headers


def _check_links(cursor: Cursor, headers: list[Header]) -> None:
    """Each header's parent is the one before it, the first one's our head."""
    parent = cursor.head_hash
    for header in headers:
        if header.parent_hash != parent:
            # The chain changed between the look and the fetch, or two nodes
            # answered: the next step compares again from the start.
            raise RPCUnavailable(_HEADER, f"block {header.height} does not follow", outcome_unknown=False)
        parent = header.hash


async def _check_finalized(mirror: Mirror, tag: Header, headers: list[Header]) -> None:
    """The node's finalized block must be the one that we hold at its height."""
    held = {header.height: header.hash for header in headers}
    if tag.height not in held:
        held = await mirror.hashes(tag.height, tag.height)
    if held.get(tag.height) != tag.hash:
        raise RPCUnavailable(
            _HEADER, f"finalized block {tag.height} is not on the node's own chain", outcome_unknown=False
        )


async def _watch_new_tokens(
    mirror: Mirror, rpc: RPC, config: FollowerConfig, cursor: Cursor, view: _View
) -> None:
    """Logs of tokens that are watched since now, from the mirror's start to its head.

    A token counts as watched only with the last write, so a crash before it
    repeats the reading and leaves nothing half known.
    """
    new = sorted(set(config.watched()) - await mirror.watched_tokens())
    if not new:
        return
    final = view.finalized.height if view.finalized else -1
    for first in range(cursor.start_number, cursor.head_number + 1, BACKFILL_BLOCKS):
        last = min(first + BACKFILL_BLOCKS - 1, cursor.head_number)
        headers = await _headers(rpc, first, last)
        hashes = await mirror.hashes(first, last)
        if {header.height: header.hash for header in headers} != hashes:
            raise RPCUnavailable(_HEADER, "the chain changed while it was read", outcome_unknown=False)
        logs = await fetch_transfer_logs(
            rpc, [block_key(header) for header in headers], new, min(final, cursor.finalized_number)
        )
        await mirror.add_logs(cursor, logs, complete=new if last == cursor.head_number else ())


def _mirror_block(header: Header) -> MirrorBlock:
    return MirrorBlock(header.height, header.hash, header.parent_hash, int(header.timestamp, 16))


def _report(
    cursor: Cursor, view: _View, *, blocks: int = 0, logs: int = 0, rewound_to: int | None = None
) -> FollowReport:
    return FollowReport(
        cursor.head_number, cursor.finalized_number, view.latest.height, blocks, logs, rewound_to
    )
