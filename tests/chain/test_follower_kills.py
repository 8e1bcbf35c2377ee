"""The follower killed with SIGKILL at each numbered step: just before and just after each commit."""

import asyncio
import signal
import subprocess
import sys

import pytest

from chain.follower import follow_to_head
from chain.rpc import RPC
from foundation.clock import SettableClock
from foundation.database import Database
from tests.chain.mirror_checks import assert_mirror_is_the_chain, config_of
from tests.fixtures.anvil import ROOT, Anvil, die_with_parent
from tests.fixtures.token import TokenOnChain

PROGRAM = """
import asyncio, os, signal, sys
from contextlib import asynccontextmanager
from chain.follower import FollowerConfig, follow_to_head
from chain.rpc import RPC
from foundation.clock import SettableClock
from foundation.database import Database

url, node, token, step, when = sys.argv[1:]
count = 0

class Mortal(Database):
    @asynccontextmanager
    async def session(self):
        global count
        async with super().session() as session:
            yield session
            count += 1
            if (count, when) == (int(step), "before"):
                await session.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        if (count, when) == (int(step), "after"):
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    database, rpc = Mortal(url), RPC(node)
    config = FollowerConfig(31337, (token,), window_blocks=7)
    await follow_to_head(database, rpc, config, SettableClock())
    await rpc.close()
    await database.close()

asyncio.run(main())
"""
"""A follower that dies at the commit of a number, before it or after it."""


async def follow_and_die(database: Database, node: Anvil, token: TokenOnChain, step: int, when: str) -> bool:
    """Whether it died of it; else it had fewer steps, and has come to its end."""
    arguments = [database.url, node.url, token.address, str(step), when]
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        preexec_fn=die_with_parent(),
        check=False,
    )
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.timeout(600)
async def test_follower_killed_at_every_step_leaves_a_mirror_that_is_the_chain_in_the_end(
    database: Database, rpc: RPC, clock: SettableClock, anvil: Anvil, when: str
) -> None:
    token = TokenOnChain(anvil)
    receivers = token.accounts[1:5]
    for receiver in receivers:
        token.mint(receiver, 100)
    died = 0
    for step in range(1, 13):
        # A reorg and many windows before each life, so that a step may be a look, a rewind or a window.
        anvil.mine(30)
        anvil.reorg(2)
        token.mint(receivers[step % 4], step)
        died += await follow_and_die(database, anvil, token, step, when)
    assert died >= 8
    await follow_to_head(database, rpc, config_of(token), clock)
    await assert_mirror_is_the_chain(database, token)
