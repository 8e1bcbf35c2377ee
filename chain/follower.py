"""The block follower: keeps the mirror equal to the chain, through reorgs and crashes.

One step looks at the node, takes away what a reorg made untrue, and adds the next
window of blocks with their logs in one database transaction. What it guarantees:
each mirrored block's parent is the mirrored block before it; each log belongs to
its block's hash; blocks, logs and cursor never disagree; ``finalized_number``
moves only to a block whose hash the node names as finalized, and where there is a
second endpoint only if it tells of the same transfers up to there. It never reads
``removed`` flags: hashes alone say what is true. Where it would have to guess it
stops (``FollowerStopped``) and changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from chain.ancestry import common_ancestor
from chain.endpoints import SECOND, NodeView, agreed, look
from chain.errors import FollowerStopCode, FollowerStopped, RPCError, RPCMalformed, RPCUnavailable
from chain.finality import broken
from chain.log_agreement import agree_on_older_transfers, agree_on_transfers
from chain.mirror import Cursor, Mirror, MirrorBlock
from chain.rpc import RPC, Header
from chain.transfer_columns import NO_LOGS
from chain.transfer_logs import block_key, fetch_transfer_logs
from chain.windows import GET_BLOCK, Window, fetch_headers, linked_windows
from foundation.clock import Clock
from foundation.database import Database

WINDOW_BLOCKS = 500
"""Most blocks added in one step."""
BACKFILL_BLOCKS = 500
"""Blocks a step when a token is watched later than its chain."""
STEPS_MAX = 1_000_000
"""Windows of one call, where it is not told otherwise."""


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
    """The lowest common ancestor, if reorgs took blocks away."""
    windows: int = 0
    """Windows of blocks written."""
    hold: str | None = None
    """Why no block becomes final, where the second endpoint is the reason."""

    def after(self, earlier: FollowReport) -> FollowReport:
        """What ``earlier`` and this, which came after it, did together."""
        rewound = [one.rewound_to for one in (earlier, self) if one.rewound_to is not None]
        return FollowReport(
            self.head,
            self.finalized,
            self.node_head,
            earlier.blocks_added + self.blocks_added,
            earlier.logs_added + self.logs_added,
            min(rewound, default=None),
            earlier.windows + self.windows,
            self.hold,
        )

    @property
    def caught_up(self) -> bool:
        """Whether the node had no block more than the mirror."""
        return self.head >= self.node_head


Progress = Callable[[FollowReport], None]
"""Told after each window what was done so far."""


def _keep_quiet(_report: FollowReport) -> None:
    """Nobody watches."""


async def follow_once(
    database: Database, rpc: RPC, config: FollowerConfig, clock: Clock, *, check: RPC | None = None
) -> FollowReport:
    """One step towards the node's head; ``caught_up`` says whether another is due.

    Raises ``FollowerStopped`` (a person must look), ``RPCUnavailable``,
    ``RPCMalformed`` or ``MirrorMoved`` (nothing was written; a later step tries
    again). Safe to kill anywhere: every write is one database transaction.
    """
    return await follow_to_head(database, rpc, config, clock, check=check, steps_max=1)


async def follow_to_head(
    database: Database,
    rpc: RPC,
    config: FollowerConfig,
    clock: Clock,
    *,
    check: RPC | None = None,
    steps_max: int = STEPS_MAX,
    progress: Progress = _keep_quiet,
) -> FollowReport:
    """Steps of one window each until the mirror has the node's head; what they did together.

    ``check`` is a second endpoint, which must agree to what is final. The next windows
    are fetched while one is written. ``progress`` is told what was done after each. A
    process that dies in a long backfill goes on from the last one written. Raises as
    ``follow_once`` does, after the windows before were written.
    """
    mirror = Mirror(database, clock, config.chain_id)
    report = await _advance(mirror, rpc, check, config, steps_max, progress)
    done, total = report.windows, report
    while not report.caught_up and done < steps_max:
        report = await _advance(mirror, rpc, check, config, steps_max - done, progress)
        done += max(report.windows, 1)
        total = report.after(total)
    return total


async def _advance(
    mirror: Mirror, rpc: RPC, check: RPC | None, config: FollowerConfig, windows_max: int, progress: Progress
) -> FollowReport:
    """Look at the node once, take away what is not its chain any more, and add windows up to its head."""
    cursor = await mirror.cursor()
    try:
        view = await _look(rpc, check, config, cursor)
    except FollowerStopped as stop:
        if cursor is not None and stop.code is FollowerStopCode.ENDPOINTS_DISAGREE:
            await mirror.hold_finality(cursor, stop.detail)
        raise
    if cursor is None:
        return await _begin(mirror, rpc, config, view)
    cursor = await mirror.hold_finality(cursor, view.hold)
    rewound_to = None
    if view.at_head is None or view.at_head.hash != cursor.head_hash:
        ancestor = await common_ancestor(mirror, rpc, cursor, view)
        if ancestor is None:
            return _report(cursor, view)
        rewound_to, ancestor_hash = ancestor
        if rewound_to < cursor.finalized_number:
            # Money was credited on what was final: not for a follower to take away.
            raise broken(cursor, ancestor=rewound_to)
        cursor = await mirror.rewind(cursor, number=rewound_to, block_hash=ancestor_hash)
    await _watch_new_tokens(mirror, rpc, check, config, cursor, view)
    report = _report(cursor, view, rewound_to=rewound_to)
    async with aclosing(_windows(mirror, rpc, check, config, cursor, view, windows_max)) as steps:
        async for step in steps:
            report = step.after(report)
            progress(report)
    return report


async def _look(rpc: RPC, check: RPC | None, config: FollowerConfig, cursor: Cursor | None) -> NodeView:
    """What the node says, with nothing final but what the second endpoint agrees to."""
    genesis_hash = cursor.genesis_hash if cursor else None
    number = cursor.head_number if cursor else 0
    view = await look(rpc, chain_id=config.chain_id, genesis_hash=genesis_hash, number=number)
    return view if check is None else await agreed(rpc, check, view, chain_id=config.chain_id)


async def _begin(mirror: Mirror, rpc: RPC, config: FollowerConfig, view: NodeView) -> FollowReport:
    """The first block of the mirror; the rest follows in later steps."""
    number = config.start_number
    if view.latest.height < number:
        return FollowReport(number - 1, number - 1, view.latest.height)
    tokens = config.watched()
    (header,) = await fetch_headers(rpc, number, number)
    logs = await fetch_transfer_logs(rpc, [block_key(header)], tokens, -1)
    cursor = await mirror.begin(view.genesis.hash, tokens, _mirror_block(header), logs)
    return FollowReport(
        cursor.head_number, cursor.finalized_number, view.latest.height, 1, len(logs), windows=1
    )


async def _windows(
    mirror: Mirror,
    rpc: RPC,
    check: RPC | None,
    config: FollowerConfig,
    cursor: Cursor,
    view: NodeView,
    windows_max: int,
) -> AsyncGenerator[FollowReport]:
    """Add window after window; each report is of one that is committed.

    If we die between two commits, or the fetch of the next fails, those before stand.
    """
    windows = linked_windows(
        rpc,
        config.watched(),
        head=(cursor.head_number, cursor.head_hash),
        last=min(view.latest.height, cursor.head_number + windows_max * config.window_blocks),
        final_number=view.final_number,
        window_blocks=config.window_blocks,
    )
    async with aclosing(windows):
        async for window in windows:
            cursor = await _append(mirror, check, config, cursor, view, window)
            yield _report(cursor, view, blocks=len(window.headers), logs=len(window.logs), windows=1)
    # With nothing to add, the block that is final may still have become another one.
    moved = await _append(mirror, check, config, cursor, view, Window([], NO_LOGS))
    if moved != cursor:
        yield _report(moved, view)


async def _append(
    mirror: Mirror,
    check: RPC | None,
    config: FollowerConfig,
    cursor: Cursor,
    view: NodeView,
    window: Window,
) -> Cursor:
    """Write a window, and finality with it where that is proven."""
    head = window.headers[-1].height if window.headers else cursor.head_number
    finalized = cursor.finalized_number
    tag = view.finalized
    if tag is not None and finalized < tag.height <= head:
        await _check_finalized(mirror, tag, window.headers)
        cursor = await _agreed_up_to(mirror, check, config, cursor, tag, window)
        # Without the second endpoint's word on the transfers nothing more becomes final.
        finalized = tag.height if cursor.finality_hold is None else finalized
    if not window.headers and finalized == cursor.finalized_number:
        return cursor
    blocks = [_mirror_block(header) for header in window.headers]
    return await mirror.append(cursor, blocks, window.logs, finalized)


async def _agreed_up_to(
    mirror: Mirror,
    check: RPC | None,
    config: FollowerConfig,
    cursor: Cursor,
    tag: Header,
    window: Window,
) -> Cursor:
    """The cursor, with finality held if the second endpoint does not answer what lies up to ``tag``."""
    if check is None:
        return cursor
    try:
        await agree_on_transfers(
            mirror,
            check,
            config.watched(),
            cursor,
            last=tag.height,
            headers=window.headers,
            logs=window.logs,
        )
    except (RPCUnavailable, RPCError, RPCMalformed) as error:
        return await mirror.hold_finality(cursor, f"{SECOND} does not answer: {error}"[:300])
    return cursor


async def _check_finalized(mirror: Mirror, tag: Header, headers: list[Header]) -> None:
    """The node's finalized block must be the one that we hold at its height."""
    held = {header.height: header.hash for header in headers}
    if tag.height not in held:
        held = await mirror.hashes(tag.height, tag.height)
    if held.get(tag.height) != tag.hash:
        raise RPCUnavailable(
            GET_BLOCK, f"finalized block {tag.height} is not on the node's own chain", outcome_unknown=False
        )


async def _watch_new_tokens(
    mirror: Mirror,
    rpc: RPC,
    check: RPC | None,
    config: FollowerConfig,
    cursor: Cursor,
    view: NodeView,
) -> None:
    """Logs of tokens that are watched since now, from the mirror's start to its head.

    A token counts as watched only with the last write, so a crash before it
    repeats the reading and leaves nothing half known.
    """
    new = sorted(set(config.watched()) - await mirror.watched_tokens())
    if not new:
        return
    for first in range(cursor.start_number, cursor.head_number + 1, BACKFILL_BLOCKS):
        last = min(first + BACKFILL_BLOCKS - 1, cursor.head_number)
        headers = await fetch_headers(rpc, first, last)
        hashes = await mirror.hashes(first, last)
        if {header.height: header.hash for header in headers} != hashes:
            raise RPCUnavailable(GET_BLOCK, "the chain changed while it was read", outcome_unknown=False)
        logs = await fetch_transfer_logs(
            rpc,
            [block_key(header) for header in headers],
            new,
            min(view.final_number, cursor.finalized_number),
        )
        if check is not None:
            final = min(last, cursor.finalized_number)
            await agree_on_older_transfers(check, config.chain_id, new, first=first, last=final, logs=logs)
        await mirror.add_logs(cursor, logs, complete=new if last == cursor.head_number else ())


def _mirror_block(header: Header) -> MirrorBlock:
    return MirrorBlock(header.height, header.hash, header.parent_hash, int(header.timestamp, 16))


def _report(
    cursor: Cursor,
    view: NodeView,
    *,
    blocks: int = 0,
    logs: int = 0,
    rewound_to: int | None = None,
    windows: int = 0,
) -> FollowReport:
    return FollowReport(
        cursor.head_number,
        cursor.finalized_number,
        view.latest.height,
        blocks,
        logs,
        rewound_to,
        windows,
        cursor.finality_hold,
    )
