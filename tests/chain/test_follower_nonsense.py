"""The follower before answers that no honest node gives: each is refused, and nothing is written."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chain.errors import RPCError, RPCMalformed, RPCUnavailable
from chain.follower import follow_once, follow_to_head
from chain.mirror import Mirror
from chain.models import ChainBlock, ChainTransferLog
from chain.observations import watched_tokens
from chain.rpc import RPC
from chain.transfer_columns import TRANSFER_TOPIC
from foundation.clock import SettableClock
from foundation.database import Database
from tests.chain.mirror_checks import CHAIN_ID, config_of, count
from tests.fixtures.anvil import Anvil
from tests.fixtures.lying_node import LyingNode, Rule, lying_node
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


def altered(method: str, **fields: Any) -> Rule:
    """A rule that changes fields of every result of a method, blocks and logs alike."""

    def rule(asked: str, _params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if asked == method and answer.get("result"):
            found = answer["result"]
            for one in found if isinstance(found, list) else [found]:
                one.update(fields)
        return answer

    return rule


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("eth_getBlockByNumber", {"hash": "0x" + "ab" * 31 + "\t1"}),
        ("eth_getBlockByNumber", {"hash": "0x" + "AB" * 32}),
        ("eth_getBlockByNumber", {"parentHash": "0x12"}),
        ("eth_getBlockByNumber", {"number": "7"}),
        ("eth_getBlockByNumber", {"number": "0x7_0"}),
        ("eth_getBlockByNumber", {"number": None}),
        ("eth_getBlockByNumber", {"timestamp": "-0x1"}),
        ("eth_getBlockByNumber", {"logsBloom": "0xzz"}),
        ("eth_getLogs", {"transactionHash": "0x" + "ab" * 31 + "\n1"}),
        ("eth_getLogs", {"transactionHash": None}),
        ("eth_getLogs", {"logIndex": "0x"}),
        ("eth_getLogs", {"data": "-0x" + "1" * 63}),
        ("eth_getLogs", {"blockNumber": None}),
        ("eth_getLogs", {"logIndex": "-0x1"}),
        ("eth_getLogs", {"transactionHash": "0x12"}),
        ("eth_getLogs", {"topics": [TRANSFER_TOPIC, "0x12", "0x" + "00" * 32]}),
        ("eth_getLogs", {"topics": [TRANSFER_TOPIC, "0x" + "00" * 31 + "\\.", "0x" + "00" * 32]}),
    ],
)
async def test_answer_that_is_not_what_it_should_be_is_refused_and_nothing_is_written(
    database: Database,
    clock: SettableClock,
    token: TokenOnChain,
    liar: LyingNode,
    liar_rpc: RPC,
    method: str,
    fields: dict[str, Any],
) -> None:
    token.node.mine(2)
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    before = await Mirror(database, clock, CHAIN_ID).cursor()
    token.mint(token.accounts[3], 9)
    liar.rule = altered(method, **fields)
    with pytest.raises(RPCMalformed):
        await follow_once(database, liar_rpc, config_of(token), clock)
    assert await Mirror(database, clock, CHAIN_ID).cursor() == before
    assert await count(database, ChainTransferLog) == 0


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"data": "0x"}, 0),
        ({"data": "0x" + "00" * 64}, 0),
        ({"topics": [TRANSFER_TOPIC, "0x" + "00" * 32, "0x" + "00" * 32, "0x" + "00" * 32]}, 0),
        ({"topics": ["0x" + "11" * 32, "0x" + "00" * 32, "0x" + "00" * 32]}, 0),
        ({"topics": []}, 0),
        ({"topics": [TRANSFER_TOPIC, "0x" + "00" * 32, "0x" + "00" * 32]}, 1),
    ],
)
async def test_log_that_is_no_transfer_of_a_token_is_left_out(
    database: Database,
    clock: SettableClock,
    token: TokenOnChain,
    liar: LyingNode,
    liar_rpc: RPC,
    fields: dict[str, Any],
    seen: int,
) -> None:
    token.mint(token.accounts[3], 9)
    liar.rule = altered("eth_getLogs", **fields)
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    assert await count(database, ChainTransferLog) == seen


async def test_topic_that_is_no_address_is_refused(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.mint(token.accounts[3], 9)
    liar.rule = altered("eth_getLogs", topics=[TRANSFER_TOPIC, "0x" + "11" * 32, "0x" + "00" * 32])
    with pytest.raises(RPCMalformed):
        await follow_to_head(database, liar_rpc, config_of(token), clock)


@pytest.mark.parametrize(
    ("asked", "answer", "error"),
    [
        ("eth_chainId", {"number": "0x1"}, RPCMalformed),
        ("eth_chainId", None, RPCMalformed),
        ("0x0", "0x1", RPCMalformed),
        ("0x0", None, RPCUnavailable),
        ("latest", None, RPCUnavailable),
        ("latest", "0x5", RPCMalformed),
    ],
)
async def test_node_that_does_not_say_where_it_is_is_not_followed(
    database: Database,
    clock: SettableClock,
    token: TokenOnChain,
    liar: LyingNode,
    liar_rpc: RPC,
    asked: str,
    answer: Any,
    error: type[Exception],
) -> None:
    def rule(method: str, params: list[Any], true: dict[str, Any]) -> dict[str, Any]:
        return true | {"result": answer} if asked in {method, *map(str, params)} else true

    liar.rule = rule
    with pytest.raises(error):
        await follow_once(database, liar_rpc, config_of(token), clock)
    assert await count(database, ChainBlock) == 0


async def test_block_of_another_number_than_asked_for_is_refused(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    token.node.mine(3)
    wanted = hex(token.node.block_number() - 1)

    def other(_method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if params and params[0] == wanted:
            answer["result"]["number"] = "0x1"
        return answer

    liar.rule = other
    with pytest.raises(RPCMalformed):
        await follow_once(database, liar_rpc, config_of(token), clock)


async def test_header_that_is_missing_in_a_reorg_is_waited_for(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.node.mine(8)
    await follow_to_head(database, liar_rpc, config_of(token), clock)
    before = await Mirror(database, clock, CHAIN_ID).cursor()
    token.node.reorg(1)
    token.mint(token.accounts[1], 1)
    assert before is not None

    def missing(_method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"result": None} if params and params[0] == hex(before.head_number - 1) else answer

    liar.rule = missing
    with pytest.raises(RPCUnavailable):
        await follow_once(database, liar_rpc, config_of(token), clock)
    assert await Mirror(database, clock, CHAIN_ID).cursor() == before


async def test_range_of_one_block_that_is_refused_is_an_error(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.mint(token.accounts[3], 1)
    token.node.mine(5)

    def no_ranges(method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            return {"id": answer["id"], "error": {"code": -32005, "message": "too many results"}}
        return answer

    liar.rule = no_ranges
    with pytest.raises(RPCError):
        await follow_to_head(database, liar_rpc, config_of(token), clock)


async def test_chain_that_changes_while_a_new_token_is_read_adds_nothing(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    late = TokenOnChain(token.node)
    late.mint(late.accounts[1], 5)
    late.node.mine(4)
    await follow_to_head(database, liar_rpc, config_of(token), clock)

    def changed(method: str, params: list[Any], answer: dict[str, Any]) -> dict[str, Any]:
        if method == "eth_getBlockByNumber" and params[0] == "0x2":
            answer["result"]["hash"] = "0x" + "cd" * 32
        return answer

    liar.rule = changed
    with pytest.raises(RPCUnavailable):
        await follow_once(database, liar_rpc, config_of(token, late), clock)
    async with database.session() as session:
        assert await watched_tokens(session, CHAIN_ID) == {token.address}


async def test_mirror_without_tokens_has_blocks_and_no_logs(
    database: Database, clock: SettableClock, token: TokenOnChain, liar: LyingNode, liar_rpc: RPC
) -> None:
    token.mint(token.accounts[3], 1)
    report = await follow_to_head(database, liar_rpc, config_of(), clock)
    assert report.caught_up
    assert "eth_getLogs" not in liar.calls
    assert await count(database, ChainBlock) == report.head + 1


async def test_steps_may_be_bounded(
    database: Database, clock: SettableClock, token: TokenOnChain, liar_rpc: RPC
) -> None:
    token.node.mine(30)
    config = config_of(token, window_blocks=2)
    report = await follow_to_head(database, liar_rpc, config, clock, steps_max=3)
    assert (report.head, report.caught_up) == (4, False)
