"""Two endpoints: what is final for both counts, and a disagreement stops what depends on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.endpoints import refuse_other_chains
from chain.errors import FollowerStopCode, FollowerStopped, RPCUnavailable
from chain.follower import FollowReport, follow_to_head
from chain.mirror import Cursor, Mirror
from chain.rpc import RPC
from foundation.clock import SettableClock
from foundation.database import Database
from tests.chain.mirror_checks import CHAIN_ID, assert_mirror_is_the_chain, config_of
from tests.fixtures.anvil import Anvil, running_anvil
from tests.fixtures.lying_node import LyingNode, Silence, lying_node, truth
from tests.fixtures.token import TokenOnChain


@pytest.fixture
def token(anvil: Anvil) -> TokenOnChain:
    return TokenOnChain(anvil)


@pytest.fixture
def second(anvil: Anvil) -> Iterator[LyingNode]:
    """The second endpoint: another way to the same node, honest until told otherwise."""
    with lying_node(anvil.url) as node:
        yield node


@pytest.fixture
async def check(second: LyingNode) -> AsyncIterator[RPC]:
    client = RPC(second.url)
    yield client
    await client.close()


@pytest.fixture
def follow(database: Database, rpc: RPC, clock: SettableClock, token: TokenOnChain, check: RPC) -> Any:
    async def follow() -> FollowReport:
        return await follow_to_head(database, rpc, config_of(token), clock, check=check)

    return follow


async def cursor_of(database: Database, clock: SettableClock) -> Cursor:
    cursor = await Mirror(database, clock, CHAIN_ID).cursor()
    assert cursor is not None
    return cursor


def another_block(number: int) -> Any:
    """A rule: the block of that height has another hash, under its number and as the final one."""

    def rule(method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        block = answer.get("result")
        if method == "eth_getBlockByNumber" and block and int(block["number"], 16) == number:
            block["hash"] = "0x" + "ab" * 32
        return answer

    return rule


def final_at(token: TokenOnChain, number: int) -> Any:
    """A rule: an older block is the final one."""
    old = token.node.call("eth_getBlockByNumber", hex(number), False)

    def rule(_method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"result": old} if params and params[0] == "finalized" else answer

    return rule


async def test_what_both_have_as_final_is_final(
    database: Database, clock: SettableClock, token: TokenOnChain, follow: Any
) -> None:
    token.node.mine(10)
    report = await follow()
    assert report.finalized == token.node.block_number() - 2
    assert report.hold is None
    await assert_mirror_is_the_chain(database, token)


async def test_lower_of_the_two_finalized_heights_counts(
    token: TokenOnChain, second: LyingNode, follow: Any
) -> None:
    token.node.mine(10)
    second.rule = final_at(token, 5)
    assert (await follow()).finalized == 5
    second.rule = truth
    assert (await follow()).finalized == token.node.block_number() - 2


async def test_disagreement_at_finality_stops_and_names_the_block_and_both_hashes(
    database: Database, clock: SettableClock, token: TokenOnChain, second: LyingNode, follow: Any
) -> None:
    token.node.mine(10)
    before = await follow()
    token.node.mine(5)
    number = token.node.block_number() - 2
    second.rule = another_block(number)
    with pytest.raises(FollowerStopped) as stopped:
        await follow()
    assert stopped.value.code is FollowerStopCode.ENDPOINTS_DISAGREE
    ours = token.node.call("eth_getBlockByNumber", hex(number), False)["hash"]
    assert stopped.value.data == {"block_number": number, "node": ours, "second": "0x" + "ab" * 32}
    cursor = await cursor_of(database, clock)
    assert cursor.finalized_number == before.finalized
    assert cursor.finality_hold is not None
    assert ours in cursor.finality_hold
    second.rule = truth
    assert (await follow()).finalized == number
    assert (await cursor_of(database, clock)).finality_hold is None


async def test_disagreement_below_both_heights_is_found_at_the_lower_one(
    token: TokenOnChain, second: LyingNode, follow: Any
) -> None:
    token.node.mine(10)
    older, lie = final_at(token, 5), another_block(5)
    second.rule = lambda method, params, answer: lie(method, params, older(method, params, answer))
    with pytest.raises(FollowerStopped) as stopped:
        await follow()
    assert stopped.value.data["block_number"] == 5


async def test_second_endpoint_that_is_away_holds_finality_and_not_the_head(
    database: Database, clock: SettableClock, token: TokenOnChain, second: LyingNode, follow: Any
) -> None:
    token.node.mine(10)
    before = await follow()
    token.mint(token.accounts[3], 9)
    token.node.mine(5)

    def silence(_method: str, _params: list[Any], _answer: dict[str, Any]) -> dict[str, Any]:
        raise Silence

    second.rule = silence
    report = await follow()
    assert report.head == token.node.block_number()
    assert report.finalized == before.finalized
    assert report.hold is not None
    assert "does not answer" in report.hold
    assert (await cursor_of(database, clock)).finality_hold == report.hold
    second.rule = truth
    assert (await follow()).finalized == token.node.block_number() - 2
    await assert_mirror_is_the_chain(database, token)


async def test_second_endpoint_that_lags_behind_everything_holds_finality(
    token: TokenOnChain, second: LyingNode, follow: Any
) -> None:
    token.node.mine(10)
    second.rule = lambda _method, params, answer: (
        answer | {"result": None} if params and params[0] == "finalized" else answer
    )
    await follow()
    report = await follow()
    assert report.finalized == -1
    assert report.hold == "the second endpoint has nothing final"


async def test_second_endpoint_on_another_chain_refuses_to_start_and_to_follow(
    rpc: RPC, anvil: Anvil, token: TokenOnChain, database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    genesis = anvil.call("eth_getBlockByNumber", "0x0", False)["hash"]
    for arguments, code in (
        (("--chain-id", "1"), FollowerStopCode.WRONG_CHAIN_ID),
        (("--timestamp", "1700000000"), FollowerStopCode.WRONG_GENESIS),
    ):
        with running_anvil(tmp_path / f"{code}.log", *arguments) as other:
            check = RPC(other.url)
            for attempt in (
                refuse_other_chains(rpc, check, chain_id=CHAIN_ID, genesis_hash=genesis),
                follow_to_head(database, rpc, config_of(token), clock, check=check),
            ):
                with pytest.raises(FollowerStopped) as stopped:
                    await attempt
                assert stopped.value.code is code
            await check.close()


async def test_start_goes_on_without_the_second_endpoint_and_not_without_the_first(
    rpc: RPC, anvil: Anvil
) -> None:
    genesis = anvil.call("eth_getBlockByNumber", "0x0", False)["hash"]
    nobody = RPC("http://127.0.0.1:9")
    await refuse_other_chains(rpc, nobody, chain_id=CHAIN_ID, genesis_hash=genesis)
    with pytest.raises(RPCUnavailable):
        await refuse_other_chains(nobody, rpc, chain_id=CHAIN_ID, genesis_hash=genesis)
    await nobody.close()
