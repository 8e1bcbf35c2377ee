"""The development node: what was final is still there after a restart or a kill."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chain.errors import RPCUnavailable
from chain.rpc import RPC
from foundation.clock import SECOND_NS, SystemClock
from ops.errors import NodeError
from ops.node import DevelopmentNode, free_port, port_is_taken


@pytest.fixture
def url() -> str:
    return f"http://127.0.0.1:{free_port('127.0.0.1')}"


@asynccontextmanager
async def running(
    home: Path, url: str, end: Callable[[subprocess.Popen[bytes]], None]
) -> AsyncIterator[DevelopmentNode]:
    """A node of ``home``, ended in the given way."""
    node = DevelopmentNode(home, url, 31337, SystemClock())
    process = subprocess.Popen(node.command())
    growing = asyncio.create_task(asyncio.sleep(0))
    try:
        while not await node.is_ready():
            await asyncio.sleep(0.02)
        growing = asyncio.create_task(node.keep_growing(pytest.fail))
        yield node
    finally:
        growing.cancel()
        await asyncio.gather(growing, return_exceptions=True)
        end(process)
        process.wait()
        await node.close()


async def block(url: str, tag: str) -> dict[str, Any]:
    rpc = RPC(url)
    try:
        found: dict[str, Any] = await rpc.call("eth_getBlockByNumber", tag, False)
    finally:
        await rpc.close()
    return found


async def wait_for_block(url: str, number: int) -> None:
    async with asyncio.timeout(60):
        while int((await block(url, "latest"))["number"], 16) < number:
            await asyncio.sleep(0.1)


async def test_final_blocks_survive_an_orderly_end_and_a_kill(tmp_path: Path, url: str) -> None:
    async with running(tmp_path, url, subprocess.Popen.terminate) as node:
        genesis = (await block(url, "0x0"))["hash"]
        await wait_for_block(url, 3)
        await node.finish()
        last = await block(url, "latest")
    async with running(tmp_path, url, subprocess.Popen.kill):
        assert (await block(url, last["number"]))["hash"] == last["hash"]
        await wait_for_block(url, int(last["number"], 16) + 3)
        final = await block(url, "finalized")
    async with running(tmp_path, url, subprocess.Popen.terminate):
        assert (await block(url, final["number"]))["hash"] == final["hash"]
        assert (await block(url, "0x0"))["hash"] == genesis


async def test_node_killed_again_and_again_under_a_growing_chain_loses_nothing_final(
    tmp_path: Path, url: str
) -> None:
    node = DevelopmentNode(tmp_path, url, 31337, SystemClock())
    final: dict[str, Any] | None = None
    saves = [0]
    for life in range(8):
        process = subprocess.Popen(node.command())
        while not await node.is_ready():
            await asyncio.sleep(0.02)
        if final is not None:
            assert (await block(url, final["number"]))["hash"] == final["hash"]
        # Blocks as fast as they can be made, and a kill at another moment in each life.
        growing = asyncio.create_task(_grow_for_ever(node, saves))
        wanted = saves[0] + 5
        async with asyncio.timeout(60):
            while saves[0] < wanted:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.003 * life)
        seen = await block(url, "finalized")
        process.kill()
        process.wait()
        growing.cancel()
        await asyncio.gather(growing, return_exceptions=True)
        assert final is None or int(seen["number"], 16) > int(final["number"], 16)
        final = seen
    await node.close()


async def _grow_for_ever(node: DevelopmentNode, saves: list[int]) -> None:
    while True:
        await node.grow()
        saves[0] += 1


async def test_chain_that_cannot_be_saved_stands_still_until_it_can(tmp_path: Path, url: str) -> None:
    node = DevelopmentNode(tmp_path, url, 31337, SystemClock())
    process = subprocess.Popen(node.command())
    try:
        while not await node.is_ready():
            await asyncio.sleep(0.02)
        await node.grow()
        # A directory where the draft of the state is written: as good as a full disk.
        draft = tmp_path / "anvil" / "state.part"
        draft.mkdir()
        head = await block(url, "latest")
        with pytest.raises(IsADirectoryError):
            await node.grow()
        assert await block(url, "latest") == head
        draft.rmdir()
        await node.grow()
        assert int((await block(url, "latest"))["number"], 16) == int(head["number"], 16) + 1
    finally:
        process.kill()
        process.wait()
        await node.close()


async def test_blocks_made_by_hand_are_left_alone(tmp_path: Path, url: str) -> None:
    node = DevelopmentNode(tmp_path, url, 31337, SystemClock())
    process = subprocess.Popen(node.command())
    rpc = RPC(url)
    try:
        while not await node.is_ready():
            await asyncio.sleep(0.02)
        interval = await rpc.call("anvil_getIntervalMining")
        await rpc.call("evm_setIntervalMining", 0)
        head = await block(url, "latest")
        await node.grow()
        assert await block(url, "latest") == head
        await rpc.call("evm_setIntervalMining", interval)
        await node.grow()
        assert await block(url, "latest") != head
    finally:
        process.kill()
        process.wait()
        await rpc.close()
        await node.close()


async def test_state_written_in_part_by_a_killed_node_is_passed_over(tmp_path: Path, url: str) -> None:
    async with running(tmp_path, url, subprocess.Popen.kill) as node:
        await wait_for_block(url, 1)
        await node.save()
        last = await block(url, "latest")
    (tmp_path / "anvil" / "exit.json").write_text('{"best_block_number": 9')
    async with running(tmp_path, url, subprocess.Popen.kill):
        assert int((await block(url, "latest"))["number"], 16) >= 1
        assert int(last["number"], 16) >= 1


async def test_restarted_chain_goes_on_at_the_present_time(tmp_path: Path, url: str) -> None:
    tmp_path.joinpath("anvil").mkdir()
    (tmp_path / "anvil" / "genesis.json").write_text(
        json.dumps({"chain_id": 31337, "timestamp": 1_700_000_000})
    )
    async with running(tmp_path, url, subprocess.Popen.kill):
        assert int((await block(url, "0x0"))["timestamp"], 16) == 1_700_000_000
        await wait_for_block(url, 1)
        behind = SystemClock().now_ns() // SECOND_NS - int((await block(url, "latest"))["timestamp"], 16)
        assert abs(behind) < 30


def test_home_of_another_chain_is_refused(tmp_path: Path, url: str) -> None:
    DevelopmentNode(tmp_path, url, 31337, SystemClock()).command()
    with pytest.raises(NodeError, match="holds chain 31337"):
        DevelopmentNode(tmp_path, url, 5, SystemClock()).command()


async def test_node_of_another_chain_is_refused(tmp_path: Path, url: str) -> None:
    async with running(tmp_path, url, subprocess.Popen.kill):
        other = DevelopmentNode(tmp_path / "other", url, 5, SystemClock())
        with pytest.raises(NodeError, match="another chain than 5"):
            await other.is_ready()
        await other.close()


async def test_node_that_is_down_is_not_ready_and_not_saved(tmp_path: Path, url: str) -> None:
    node = DevelopmentNode(tmp_path, url, 31337, SystemClock())
    assert not await node.is_ready()
    await node.grow()
    await node.finish()
    with pytest.raises(RPCUnavailable):
        await node.save()
    await node.close()
    assert not port_is_taken("127.0.0.1", int(url.rsplit(":", 1)[1]))
    with pytest.raises(RPCUnavailable):
        await block(url, "latest")
