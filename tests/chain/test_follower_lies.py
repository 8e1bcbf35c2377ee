"""The follower before a node that lags, forgets or lies: it waits or refuses, and never believes."""

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chain.errors import RPCMalformed, RPCUnavailable
from chain.follower import follow_once, follow_to_head
from chain.mirror import Mirror
from chain.models import ChainBlock, ChainTransferLog
from chain.rpc import RPC
from foundation.clock import SettableClock
from foundation.database import Database
from tests.chain.mirror_checks import CHAIN_ID, assert_mirror_is_the_chain, config_of, count
from tests.fixtures.anvil import Anvil
from tests.fixtures.lying_node import LyingNode, lying_node
from tests.fixtures.token import TokenOnChain


@pytest.fixture
def token(anvil: Anvil) -> TokenOnChain:
    return TokenOnChain(anvil)


@pytest.fixture
def liar(anvil: Anvil) -> Iterator[LyingNode]:
    with lying_node(anvil.url) as node:
        yield node


@pytest.fixture
async def liar_rpc(liar: LyingNode) -> AsyncIterator[RPC]:
    client = RPC(liar.url)
    yield client
    await client.close()


async def test_node_that_lags_takes_nothing_away(
    database: Database, clock: SettableClock, rpc: RPC, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.node.mine(10)
    await follow_to_head(database, rpc, config_of(token), clock)
    before = await Mirror(database, clock, CHAIN_ID).cursor()
    assert before is not None
    old = token.node.call("eth_getBlockByNumber", hex(before.head_number - 4), False)

    def lag(_method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if params and params[0] == "latest":
            return answer | {"result": old}
        if params and params[0] == hex(before.head_number):
            return answer | {"result": None}
        return answer

    liar.rule = lag
    report = await follow_once(database, liar_rpc, config_of(token), clock)
    assert report.rewound_to is None
    assert await Mirror(database, clock, CHAIN_ID).cursor() == before


async def test_null_answers_are_asked_again(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.mint(token.accounts[3], 9)
    draw = random.Random(7)

    def forgetful(method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        forgets = method == "eth_getLogs" or (params and params[0] in ("finalized", hex(1), hex(3)))
        return answer | {"result": None} if forgets and draw.random() < 0.4 else answer

    liar.rule = forgetful
    for _ in range(50):
        try:
            report = await follow_to_head(database, liar_rpc, config_of(token), clock)
        except RPCUnavailable:
            continue
        if report.finalized == report.head - 2:
            break
    await assert_mirror_is_the_chain(database, token)


async def test_log_of_another_block_than_its_header_is_refused_and_nothing_is_written(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    before = await Mirror(database, clock, CHAIN_ID).cursor()
    token.mint(token.accounts[3], 9)

    def other_fork(method: str, _params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getLogs":
            for log in answer["result"]:
                log["blockHash"] = "0x" + "ab" * 32
        return answer

    liar.rule = other_fork
    with pytest.raises(RPCMalformed):
        await follow_once(database, liar_rpc, config_of(token), clock)
    assert await Mirror(database, clock, CHAIN_ID).cursor() == before
    assert await count(database, ChainTransferLog) == 0


async def test_log_that_the_bloom_filter_excludes_is_refused(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.mint(token.accounts[3], 9)

    def empty_bloom(method: str, _params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getBlockByNumber" and answer["result"]:
            answer["result"]["logsBloom"] = "0x" + "00" * 256
        return answer

    liar.rule = empty_bloom
    with pytest.raises(RPCMalformed):
        await follow_to_head(database, liar_rpc, config_of(token), clock)


async def test_range_answer_that_lacks_logs_is_found_out_by_the_bloom_filter(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.mint(token.accounts[3], 9)
    token.node.mine(5)

    def silent_ranges(method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"result": []} if method == "eth_getLogs" and "fromBlock" in params[0] else answer

    liar.rule = silent_ranges
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    await assert_mirror_is_the_chain(database, token)


async def test_range_that_the_node_refuses_is_halved(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    for units in range(1, 6):
        token.mint(token.accounts[3], units)
    token.node.mine(5)

    def small_ranges_only(method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            asked = params[0]
            if int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) > 2:
                return {"id": answer["id"], "error": {"code": -32005, "message": "too many results"}}
        return answer

    liar.rule = small_ranges_only
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    await assert_mirror_is_the_chain(database, token)


async def test_headers_that_do_not_link_are_not_taken(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    token.node.mine(3)
    bad = hex(token.node.block_number() - 1)

    def other_parent(method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getBlockByNumber" and params[0] == bad:
            answer["result"]["parentHash"] = "0x" + "cd" * 32
        return answer

    before = await count(database, ChainBlock)
    liar.rule = other_parent
    with pytest.raises(RPCUnavailable):
        await follow_once(database, liar_rpc, config_of(token), clock)
    assert await count(database, ChainBlock) == before


async def test_finalized_block_of_another_fork_finalizes_nothing(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    before = await Mirror(database, clock, CHAIN_ID).cursor()
    token.node.mine(5)

    def other_finality(_method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if params and params[0] == "finalized":
            answer["result"]["hash"] = "0x" + "ef" * 32
        return answer

    liar.rule = other_finality
    with pytest.raises(RPCUnavailable):
        await follow_once(database, liar_rpc, config_of(token), clock)
    assert await Mirror(database, clock, CHAIN_ID).cursor() == before


async def test_node_that_ignores_the_filter_adds_no_other_tokens(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.mint(token.accounts[1], 3)

    def renamed(method: str, _params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getLogs":
            extra = [log | {"address": "0x" + "99" * 20, "logIndex": "0x63"} for log in answer["result"]]
            answer["result"] += extra
        return answer

    liar.rule = renamed
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    assert await count(database, ChainTransferLog) == 1


async def test_node_that_starts_over_from_far_behind_takes_nothing_away(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.node.mine(200)
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    before = await Mirror(database, clock, CHAIN_ID).cursor()
    old = token.node.call("eth_getBlockByNumber", "0x5", False)

    def behind(_method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if params and params[0] == "latest":
            return answer | {"result": old}
        known = not params or params[0] == "finalized" or int(str(params[0]), 16) <= 5
        return answer if known else answer | {"result": None}

    liar.rule = behind
    report = await follow_once(database, liar_rpc, config_of(token), clock)
    assert (report.blocks_added, report.rewound_to) == (0, None)
    assert await Mirror(database, clock, CHAIN_ID).cursor() == before
