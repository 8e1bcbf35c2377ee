"""The transfers of blocks that become final are the same for both endpoints, or nothing becomes final."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chain.errors import FollowerStopCode, FollowerStopped
from chain.follower import FollowerConfig, FollowReport, follow_to_head
from chain.log_agreement import COMPARED_BLOCKS
from chain.mirror import Mirror
from chain.rpc import RPC
from foundation.clock import SettableClock
from foundation.database import Database
from tests.chain.mirror_checks import CHAIN_ID, assert_mirror_is_the_chain, config_of
from tests.fixtures.anvil import Anvil
from tests.fixtures.lying_node import LyingNode, Rule, lying_node, truth
from tests.fixtures.token import TokenOnChain
from tests.treasury.lies import FalseLog, FalseTransfer

CUSTOMER = "0x00000000000000000000000000000000000c0ffe"


@pytest.fixture
def token(anvil: Anvil) -> TokenOnChain:
    return TokenOnChain(anvil)


@pytest.fixture
def liar(anvil: Anvil) -> Iterator[LyingNode]:
    """One way to the node, honest until told otherwise."""
    with lying_node(anvil.url) as node:
        yield node


@pytest.fixture
async def told(liar: LyingNode) -> AsyncIterator[RPC]:
    client = RPC(liar.url)
    yield client
    await client.close()


@pytest.fixture
def mirror(database: Database, clock: SettableClock) -> Mirror:
    return Mirror(database, clock, CHAIN_ID)


async def follow(
    database: Database, clock: SettableClock, config: FollowerConfig, rpc: RPC, check: RPC
) -> FollowReport:
    return await follow_to_head(database, rpc, config, clock, check=check)


def invented(token: TokenOnChain, number: int) -> Rule:
    return FalseLog(token.node, FalseTransfer(token.address, CUSTOMER, 777, number))


async def finalized(mirror: Mirror) -> int:
    cursor = await mirror.cursor()
    assert cursor is not None
    return cursor.finalized_number


async def test_transfers_that_both_tell_become_final(
    database: Database, clock: SettableClock, rpc: RPC, token: TokenOnChain, told: RPC, mirror: Mirror
) -> None:
    for units in range(1, 5):
        token.mint(CUSTOMER, units)
    token.node.mine(5)
    report = await follow(database, clock, config_of(token), rpc, told)
    assert report.finalized == token.node.block_number() - 2
    assert len(await mirror.transfers(0, report.head, [token.address])) == 4
    await assert_mirror_is_the_chain(database, token)


@pytest.mark.parametrize("lies_first", [True, False])
@pytest.mark.parametrize("back", [0, COMPARED_BLOCKS - 1])
async def test_transfer_that_one_endpoint_invents_stops_the_follower_and_leaves_the_mirror_below_it(
    database: Database,
    clock: SettableClock,
    rpc: RPC,
    token: TokenOnChain,
    liar: LyingNode,
    told: RPC,
    mirror: Mirror,
    *,
    lies_first: bool,
    back: int,
) -> None:
    first, second = (told, rpc) if lies_first else (rpc, told)
    config = config_of(token)
    token.node.mine(COMPARED_BLOCKS + 100)
    await follow(database, clock, config, rpc, rpc)
    before = await finalized(mirror)
    # The next block is mirrored with its false transfer long before it is to be final.
    number = token.node.mine(1)
    liar.rule = invented(token, number)
    await follow(database, clock, config, first, second)
    assert await finalized(mirror) == before + 1
    token.node.mine(2 + back)
    with pytest.raises(FollowerStopped) as stopped:
        await follow(database, clock, config, first, second)
    assert stopped.value.code is FollowerStopCode.ENDPOINTS_DISAGREE
    counts = {"node": int(lies_first), "second": int(not lies_first)}
    assert stopped.value.data == {"block_number": number} | counts
    cursor = await mirror.cursor()
    assert cursor is not None
    assert (cursor.head_number, cursor.finalized_number) == (number - 1, before + 1)
    assert cursor.finality_hold == stopped.value.detail
    assert await mirror.transfers(number, number + 1, [token.address]) == set()
    liar.rule = truth
    report = await follow(database, clock, config, first, second)
    assert (report.finalized, report.hold) == (token.node.block_number() - 2, None)
    await assert_mirror_is_the_chain(database, token)


async def test_transfer_of_another_amount_is_another_transfer(
    database: Database, clock: SettableClock, rpc: RPC, token: TokenOnChain, liar: LyingNode, told: RPC
) -> None:
    token.mint(CUSTOMER, 9)
    token.node.mine(3)

    def more(method: str, _params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getLogs":
            for log in answer["result"]:
                log["data"] = f"0x{9_000:064x}"
        return answer

    liar.rule = more
    with pytest.raises(FollowerStopped) as stopped:
        await follow(database, clock, config_of(token), told, rpc)
    assert (stopped.value.data["node"], stopped.value.data["second"]) == (1, 1)


async def test_second_endpoint_whose_range_lacks_a_transfer_is_asked_again_by_hash(
    database: Database, clock: SettableClock, rpc: RPC, token: TokenOnChain, liar: LyingNode, told: RPC
) -> None:
    token.mint(CUSTOMER, 9)
    token.node.mine(3)
    liar.rule = lambda method, params, answer: (
        answer | {"result": []} if method == "eth_getLogs" and "fromBlock" in params[0] else answer
    )
    report = await follow(database, clock, config_of(token), rpc, told)
    assert (report.finalized, report.hold) == (token.node.block_number() - 2, None)
    await assert_mirror_is_the_chain(database, token)


async def test_second_endpoint_that_tells_of_blocks_which_nobody_asked_for_holds_finality(
    database: Database, clock: SettableClock, rpc: RPC, token: TokenOnChain, liar: LyingNode, told: RPC
) -> None:
    token.node.mine(3)
    stray = FalseTransfer(token.address, CUSTOMER, 777, 10**6).log("0x" + "ab" * 32)
    liar.rule = lambda method, _params, answer: (
        answer | {"result": [*answer["result"], stray]} if method == "eth_getLogs" else answer
    )
    report = await follow(database, clock, config_of(token), rpc, told)
    assert (report.head, report.finalized) == (token.node.block_number(), -1)
    assert "was not asked for" in (report.hold or "")


async def test_false_transfer_in_the_mirrors_first_block_never_becomes_final(
    database: Database,
    clock: SettableClock,
    rpc: RPC,
    token: TokenOnChain,
    liar: LyingNode,
    told: RPC,
    mirror: Mirror,
) -> None:
    config = config_of(token, start_number=token.node.block_number())
    liar.rule = invented(token, config.start_number)
    token.node.mine(5)
    for _ in range(2):
        with pytest.raises(FollowerStopped):
            await follow(database, clock, config, told, rpc)
    assert await finalized(mirror) == config.start_number - 1


async def test_token_watched_later_is_not_watched_while_the_endpoints_tell_other_transfers_of_it(
    database: Database,
    clock: SettableClock,
    rpc: RPC,
    token: TokenOnChain,
    liar: LyingNode,
    told: RPC,
    mirror: Mirror,
) -> None:
    late = TokenOnChain(token.node)
    late.mint(CUSTOMER, 5)
    token.node.mine(4)
    await follow(database, clock, config_of(token), told, rpc)
    liar.rule = invented(late, token.node.block_number() - 4)
    with pytest.raises(FollowerStopped) as stopped:
        await follow(database, clock, config_of(token, late), told, rpc)
    assert stopped.value.data == {"block_number": token.node.block_number() - 4, "node": 2, "second": 1}
    assert await mirror.watched_tokens() == {token.address}
    liar.rule = truth
    await follow(database, clock, config_of(token, late), told, rpc)
    assert await mirror.watched_tokens() == {token.address, late.address}
    seen = await mirror.transfers(0, token.node.block_number(), [late.address])
    assert [one.value for one in seen] == [5]
