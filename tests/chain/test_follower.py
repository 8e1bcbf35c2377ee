"""The follower: the mirror equals the chain through reorgs, restarts and rivals."""

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from chain.errors import FollowerStopCode, FollowerStopped, RPCUnavailable
from chain.follower import FollowerConfig, FollowReport, follow_once, follow_to_head
from chain.mirror import Mirror, MirrorMoved
from chain.models import ChainBlock, ChainOrphanedLog
from chain.observations import (
    mirror_heights,
    orphaned_transfers_into,
    transfers_into,
    transfers_out_of,
    watched_tokens,
)
from chain.rpc import RPC
from foundation.clock import SettableClock
from foundation.database import Database
from tests.chain.mirror_checks import CHAIN_ID, assert_mirror_is_the_chain, config_of, count
from tests.fixtures.anvil import Anvil, running_anvil
from tests.fixtures.lying_node import Silence, lying_node, truth
from tests.fixtures.token import TokenOnChain, wait_for_receipt


@pytest.fixture
def token(anvil: Anvil) -> TokenOnChain:
    return TokenOnChain(anvil)


async def random_life(
    database: Database,
    rpc: RPC,
    clock: SettableClock,
    token: TokenOnChain,
    seed: int,
    *,
    steps: int,
    depth: int,
) -> int:
    """Random transfers, reorgs and steps of the follower; how often it rewound."""
    draw = random.Random(seed)
    config = config_of(token, window_blocks=draw.choice([3, 17, 500]))
    rewinds = 0
    for _ in range(steps):
        move = draw.random()
        if move < 0.45:
            token.transfer(draw.choice(token.accounts), draw.choice(token.accounts), draw.randrange(1, 500))
        elif move < 0.55:
            token.node.mine(draw.randrange(1, 4))
        elif move < 0.75:
            token.node.reorg(min(draw.randint(1, depth), draw.randint(1, depth)))
        else:
            follow = draw.choice([follow_once, follow_to_head])
            rewinds += (await follow(database, rpc, config, clock)).rewound_to is not None
    await follow_to_head(database, rpc, config, clock)
    return rewinds


@pytest.mark.parametrize("seed", range(4))
async def test_follow_through_random_reorgs_gives_the_tokens_own_balances(
    database: Database, clock: SettableClock, tmp_path: Path, seed: int
) -> None:
    with running_anvil(tmp_path / "anvil.log", epoch_slots=32) as node:
        token = TokenOnChain(node)
        for account in token.accounts:
            token.mint(account, 1_000_000)
        node.mine(70)
        rpc = RPC(node.url)
        await follow_to_head(database, rpc, config_of(token), clock)
        rewinds = await random_life(database, rpc, clock, token, seed, steps=180, depth=64)
        await rpc.close()
        assert rewinds > 0, f"seed {seed} never rewound"
        await assert_mirror_is_the_chain(database, token)


async def test_follow_again_adds_nothing(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    token.mint(token.issuer, 5)
    await follow_to_head(database, rpc, config_of(token), clock)
    report = await follow_once(database, rpc, config_of(token), clock)
    assert (report.blocks_added, report.logs_added, report.caught_up) == (0, 0, True)
    await assert_mirror_is_the_chain(database, token)


async def test_finalized_follows_the_nodes_tag_and_never_moves_back(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    token.node.mine(5)
    report = await follow_to_head(database, rpc, config_of(token), clock)
    assert report.finalized == report.head - 2
    token.node.reorg(2)
    again = await follow_to_head(database, rpc, config_of(token), clock)
    assert again.rewound_to == report.head - 2
    assert again.finalized == report.finalized
    async with database.session() as session:
        heights = await mirror_heights(session, CHAIN_ID)
    assert heights is not None
    assert (heights.start, heights.head, heights.finalized) == (0, again.head, again.finalized)


async def test_reorg_takes_the_logs_away_and_leaves_orphans(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    receiver = token.accounts[5]
    token.node.mine(3)
    token.mint(receiver, 77)
    await follow_to_head(database, rpc, config_of(token), clock)
    async with database.session() as session:
        (seen,) = await transfers_into(session, CHAIN_ID, [receiver], first=0)
    assert seen.value == 77
    token.node.reorg(1)
    await follow_to_head(database, rpc, config_of(token), clock)
    async with database.session() as session:
        assert await transfers_into(session, CHAIN_ID, [receiver], first=0) == []
        (orphan,) = await orphaned_transfers_into(session, CHAIN_ID, [receiver])
    assert (orphan.tx_hash, orphan.value) == (seen.tx_hash, 77)


async def test_transfer_mined_again_after_a_reorg_is_no_orphan(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    receiver = token.accounts[5]
    token.node.mine(3)
    tx_hash = token.mint(receiver, 77)["transactionHash"]
    raw = token.node.call("eth_getRawTransactionByHash", tx_hash)
    await follow_to_head(database, rpc, config_of(token), clock)
    token.node.reorg(2, [(raw, 1)])
    token.node.mine(1)
    await follow_to_head(database, rpc, config_of(token), clock)
    async with database.session() as session:
        (seen,) = await transfers_into(session, CHAIN_ID, [receiver], first=0)
        assert await orphaned_transfers_into(session, CHAIN_ID, [receiver]) == []
    assert seen.tx_hash == tx_hash


async def test_follow_of_a_broken_finality_stops_and_changes_nothing(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    token.node.mine(8)
    await follow_to_head(database, rpc, config_of(token), clock)
    before = await Mirror(database, clock, CHAIN_ID).cursor()
    token.node.reorg(5)
    with pytest.raises(FollowerStopped) as caught:
        await follow_once(database, rpc, config_of(token), clock)
    assert caught.value.code is FollowerStopCode.FINALITY_BROKEN
    assert await Mirror(database, clock, CHAIN_ID).cursor() == before


async def test_follow_without_a_common_ancestor_stops_and_changes_nothing(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    with running_anvil(tmp_path / "anvil.log", epoch_slots=100) as node:
        token = TokenOnChain(node)
        rpc = RPC(node.url)
        node.mine(150)
        await follow_to_head(database, rpc, config_of(token), clock)
        before = await Mirror(database, clock, CHAIN_ID).cursor()
        node.reorg(129)
        with pytest.raises(FollowerStopped) as caught:
            await follow_once(database, rpc, config_of(token), clock)
        await rpc.close()
    assert caught.value.code is FollowerStopCode.REORG_TOO_DEEP
    assert await Mirror(database, clock, CHAIN_ID).cursor() == before


async def test_follow_of_another_chain_id_stops(
    database: Database, clock: SettableClock, rpc: RPC, token: TokenOnChain
) -> None:
    with pytest.raises(FollowerStopped) as caught:
        await follow_once(database, rpc, FollowerConfig(1, (token.address,)), clock)
    assert caught.value.code is FollowerStopCode.WRONG_CHAIN_ID
    assert await count(database, ChainBlock) == 0


async def test_follow_of_a_chain_with_another_genesis_stops(
    database: Database, clock: SettableClock, rpc: RPC, token: TokenOnChain, tmp_path: Path
) -> None:
    await follow_to_head(database, rpc, config_of(token), clock)
    mirrored = await count(database, ChainBlock)
    # Another block 0: the development chain takes its time from the machine's clock
    # or from the command line.
    with running_anvil(tmp_path / "other.log", "--timestamp", "1700000000") as other:
        other.mine(20)
        stranger = RPC(other.url)
        with pytest.raises(FollowerStopped) as caught:
            await follow_once(database, stranger, config_of(token), clock)
        await stranger.close()
    assert caught.value.code is FollowerStopCode.WRONG_GENESIS
    assert await count(database, ChainBlock) == mirrored


async def test_follow_goes_on_after_the_node_was_restarted(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    state = ("--state", str(tmp_path / "state.json"))
    with running_anvil(tmp_path / "first.log", *state) as node:
        token = TokenOnChain(node)
        token.mint(token.accounts[1], 10)
        node.mine(3)
        rpc = RPC(node.url)
        await follow_to_head(database, rpc, config_of(token), clock)
        node.process.send_signal(signal.SIGTERM)
        node.process.wait()
        with pytest.raises(RPCUnavailable):
            await follow_once(database, rpc, config_of(token), clock)
        await rpc.close()
    with running_anvil(tmp_path / "second.log", *state) as node:
        token.node = node
        token.mint(token.accounts[2], 20)
        rpc = RPC(node.url)
        report = await follow_to_head(database, rpc, config_of(token), clock)
        await rpc.close()
        assert report.rewound_to is None
        await assert_mirror_is_the_chain(database, token)


async def test_other_tokens_are_not_seen(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    fake = TokenOnChain(token.node)
    fake.mint(token.accounts[1], 1_000_000)
    token.mint(token.accounts[1], 3)
    await follow_to_head(database, rpc, config_of(token), clock)
    async with database.session() as session:
        seen = await transfers_into(session, CHAIN_ID, [token.accounts[1]], first=0)
    assert [(one.token, one.value) for one in seen] == [(token.address, 3)]


async def test_token_watched_later_gets_its_earlier_logs(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    late = TokenOnChain(token.node)
    late.mint(late.accounts[1], 5)
    late.node.mine(4)
    late.mint(late.accounts[1], 6)
    await follow_to_head(database, rpc, config_of(token), clock)
    await follow_to_head(database, rpc, config_of(token, late), clock)
    async with database.session() as session:
        seen = await transfers_into(session, CHAIN_ID, [late.accounts[1]], first=0, token=late.address)
        assert await watched_tokens(session, CHAIN_ID) == {token.address, late.address}
    assert [one.value for one in seen] == [5, 6]


async def test_followers_at_the_same_time_do_not_interleave(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    for units in range(1, 20):
        token.mint(token.accounts[1], units)
    config = config_of(token, window_blocks=2)

    async def follow() -> None:
        for _ in range(200):
            try:
                if (await follow_once(database, rpc, config, clock)).caught_up:
                    return
            except MirrorMoved:
                continue
        raise AssertionError("never caught up")

    await asyncio.gather(*(follow() for _ in range(4)))
    await assert_mirror_is_the_chain(database, token)


async def test_mirror_may_start_later_than_the_chain(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    token.node.mine(5)
    early = await follow_once(database, rpc, config_of(token, start_number=30), clock)
    assert (early.head, early.blocks_added) == (29, 0)
    token.node.mine(30)
    report = await follow_to_head(database, rpc, config_of(token, start_number=30), clock)
    assert report.head == token.node.block_number()
    assert await count(database, ChainBlock) == report.head - 29


async def test_transfers_out_of_leaves_out_named_receivers(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    sender, friend, stranger = token.accounts[1:4]
    token.mint(sender, 100)
    token.transfer(sender, friend, 1)
    token.transfer(sender, stranger, 2)
    await follow_to_head(database, rpc, config_of(token), clock)
    async with database.session() as session:
        out = await transfers_out_of(session, CHAIN_ID, [sender], first=0, not_to=[friend])
    assert [(one.to_address, one.value) for one in out] == [(stranger, 2)]


async def test_block_that_comes_and_goes_twice_leaves_its_orphans_once(
    database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain
) -> None:
    token.node.mine(3)
    for _ in range(2):
        snapshot = token.node.call("evm_snapshot")
        tx_hash = token.node.call(
            "eth_sendTransaction",
            {"from": token.accounts[1], "to": token.accounts[2], "value": "0x1"},
        )
        wait_for_receipt(token.node, tx_hash)
        token.mint(token.accounts[4], 4)
        await follow_to_head(database, rpc, config_of(token), clock)
        token.node.call("evm_revert", snapshot)
        token.node.mine(3)
        await follow_to_head(database, rpc, config_of(token), clock)
    await assert_mirror_is_the_chain(database, token)
    assert await count(database, ChainOrphanedLog) >= 1


async def test_backfill_tells_its_progress_and_resumes_where_a_lost_node_ended_it(
    database: Database, clock: SettableClock, anvil: Anvil, token: TokenOnChain
) -> None:
    token.node.mine(40)
    config = config_of(token, window_blocks=10)
    told: list[FollowReport] = []
    with lying_node(anvil.url) as node:

        def silent_after_thirty(_method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
            if params and params[0] == hex(35):
                raise Silence
            return answer

        node.rule = silent_after_thirty
        rpc = RPC(node.url)
        with pytest.raises(RPCUnavailable):
            await follow_to_head(database, rpc, config, clock, progress=told.append)
        cursor = await Mirror(database, clock, CHAIN_ID).cursor()
        assert cursor is not None
        assert [report.head for report in told] == [10, 20, 30]
        assert cursor.head_number == 30
        node.rule = truth
        report = await follow_to_head(database, rpc, config, clock, progress=told.append)
        await rpc.close()
    assert (report.blocks_added, report.windows) == (token.node.block_number() - 30, 2)
    await assert_mirror_is_the_chain(database, token)
