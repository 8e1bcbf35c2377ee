"""The development node: an anvil of ours, whose chain survives restarts.

anvil keeps its chain in memory, and the block two behind its head is final. So
anvil makes no block by itself: we have it make each one, and only once the chain
as it stands is saved on disk. However long a save takes and whenever the node is
killed, what was final is in the newest save, with a block to spare. Block 0
carries the time of the home's first start (``genesis.json``), since anvil would
otherwise make a new one at every start and nobody could tell one chain from another.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import platform
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from chain.errors import RPCError, RPCUnavailable
from chain.rpc import RPC
from foundation.clock import SECOND_NS, Clock
from ops.errors import NodeError

ROOT = Path(__file__).parents[1]
"""The clone's root, where node_modules is."""

BLOCK_SECONDS = 1.0
"""Time between two blocks, unless a save takes longer."""

IDLE_SHARE = 20
"""Rest after a block when nobody waits for one, in times the length of its save: a large chain, whose
saves are long, grows more rarely. A save costs about 40 ms for each thousand blocks."""

POLL_SECONDS = 0.1
"""Between two looks whether somebody waits for a block."""

FINAL_AFTER_BLOCKS = 2
"""Blocks after a transaction's own that make it final."""

NEVER_SECONDS = 1_000_000_000
"""anvil's own time between blocks: it makes none by itself. Whoever sets another one
(``evm_setIntervalMining``, 0 for none) has stopped us from making them, until it is set back."""

STATES_MAX = 400
"""States of blocks that the node keeps, some 0.8 MB each; without a bound it writes every older one
into the home of whoever runs it, under `.foundry`, and leaves them there when it is killed."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts on which a development node may be started."""

_NO_ANSWER = (RPCError, RPCUnavailable)


class Genesis(msgspec.Struct, frozen=True):
    """What makes this home's chain the same at every start."""

    chain_id: int
    timestamp: int
    """Seconds since 1970 of block 0."""


class SavedChain(msgspec.Struct):
    """The part of anvil's state file that says how far it goes."""

    best_block_number: int


class DevelopmentNode:
    """One home's anvil: how it is started, saved and set to the time."""

    def __init__(self, home: Path, rpc_url: str, chain_id: int, clock: Clock) -> None:
        self.directory = home / "anvil"
        self.rpc_url = rpc_url
        self.chain_id = chain_id
        self._clock = clock
        self._rpc = RPC(rpc_url)
        self._saved = self.directory / "state.json"
        self._at_exit = self.directory / "exit.json"
        self._saving = asyncio.Lock()
        self._saved_head = ""
        self._answered = False
        self._waited_for = 0
        """Blocks that somebody still waits for."""
        self._finishing = False

    def command(self) -> list[str]:
        """The command line that starts the node with the newest state there is."""
        parts = urlsplit(self.rpc_url)
        command = [
            str(anvil_program()),
            *("--host", parts.hostname or LOOPBACK[0]),
            *("--port", str(parts.port or 8545)),
            *("--chain-id", str(self.chain_id)),
            *("--timestamp", str(self._genesis().timestamp)),
            *("--block-time", str(NEVER_SECONDS)),
            *("--slots-in-an-epoch", "1"),
            *("--prune-history", str(STATES_MAX)),
            *("--dump-state", str(self._at_exit)),
            "--silent",
        ]
        state = self._newest_state()
        # The new process may know less than the old one did: it makes no block before it was saved itself.
        self._saved_head, self._answered = "", False
        return command if state is None else [*command, "--load-state", str(state)]

    def _genesis(self) -> Genesis:
        path = self.directory / "genesis.json"
        try:
            genesis = msgspec.json.decode(path.read_bytes(), type=Genesis)
        except (FileNotFoundError, msgspec.DecodeError):
            genesis = Genesis(self.chain_id, self._clock.now_ns() // SECOND_NS)
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _replace(path, msgspec.json.encode(genesis))
        if genesis.chain_id != self.chain_id:
            raise NodeError(
                f"{self.directory} holds chain {genesis.chain_id}, the settings say {self.chain_id}",
                "Set NUGPAY_CHAIN_ID back, or choose another NUGPAY_HOME.",
            )
        return genesis

    def _newest_state(self) -> Path | None:
        """The saved state that goes furthest; what a killed anvil wrote in part is passed over."""
        found: list[tuple[int, Path]] = []
        for path in (self._saved, self._at_exit):
            try:
                found.append(
                    (msgspec.json.decode(path.read_bytes(), type=SavedChain).best_block_number, path)
                )
            except (FileNotFoundError, msgspec.DecodeError):
                continue
        return max(found)[1] if found else None

    async def is_ready(self) -> bool:
        """Whether it answers, as the right chain; sets it to the present time when it does."""
        try:
            if int(await self._rpc.call("eth_chainId"), 16) != self.chain_id:
                raise NodeError(
                    f"The node at {self.rpc_url} is another chain than {self.chain_id}",
                    "Set NUGPAY_RPC_URL to a free port, or NUGPAY_CHAIN_ID to that node's chain.",
                )
            # Its clock stood still while it was down, and began at block 0's time.
            await self._rpc.call("evm_setTime", self._clock.now_ns() // SECOND_NS)
        except RPCUnavailable:
            return False
        self._answered = True
        return True

    async def keep_growing(self, say: Callable[[str], None]) -> None:
        """Make blocks, and save each, as long as this task lives."""
        troubled = False
        while True:
            began = time.monotonic()
            try:
                await self.grow()
                troubled = False
            except OSError as error:
                if not troubled:
                    say(f"the chain stands still, since it cannot be saved: {error}")
                troubled = True
            except _NO_ANSWER:
                # It is down, or on its way up or down.
                pass
            await self._rest(began, time.monotonic() - began)

    async def grow(self) -> None:
        """Save the chain, then make one block, unless somebody else makes them at the moment.

        Raises ``OSError`` when the chain cannot be saved, and the RPC's errors; then no block is made.
        """
        if not self._answered:
            return
        # In this order: the new block makes the one before the saved head final, never more than that.
        # If the node dies after the save it comes back with the saved head; if it dies before, no block
        # became final since the last save.
        await self.save()
        if not self._finishing and await self._rpc.call("anvil_getIntervalMining") == NEVER_SECONDS:
            await self._rpc.call("evm_mine")
            made = await self._rpc.call("eth_getBlockByNumber", "latest", False)
            self._waited_for = FINAL_AFTER_BLOCKS if made["transactions"] else max(self._waited_for - 1, 0)

    async def _somebody_waits(self) -> bool:
        return int((await self._rpc.call("txpool_status"))["pending"], 16) > 0

    async def _rest(self, began: float, took: float) -> None:
        """Wait until the next block is due: at once after a second if somebody waits for it."""
        await asyncio.sleep(max(BLOCK_SECONDS - took, POLL_SECONDS))
        while self._waited_for == 0 and time.monotonic() - began < IDLE_SHARE * took:
            with contextlib.suppress(*_NO_ANSWER):
                if await self._somebody_waits():
                    return
            await asyncio.sleep(POLL_SECONDS)

    async def save(self) -> None:
        """Save the chain, unless its head is the saved one. Raises the RPC's errors, and ``OSError``."""
        async with self._saving:
            await self._save()

    async def _save(self) -> None:
        head: str = (await self._rpc.call("eth_getBlockByNumber", "latest", False))["hash"]
        if head == self._saved_head:
            return
        answer: str = await self._rpc.call("anvil_dumpState")
        await asyncio.to_thread(_save_state, self._saved, answer)
        self._saved_head = head

    async def finish(self) -> None:
        """Stop making blocks and save the last of them, before the node is ended."""
        self._finishing = True
        with contextlib.suppress(*_NO_ANSWER):
            await self.save()

    async def close(self) -> None:
        """Close the connections to the node."""
        await self._rpc.close()


def anvil_program() -> Path:
    """The native anvil that npm brought for this machine."""
    system = {"darwin": "darwin"}.get(sys.platform, "linux")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    path = ROOT / "node_modules" / "@foundry-rs" / f"anvil-{system}-{machine}" / "bin" / "anvil"
    if not path.is_file():
        raise NodeError(
            "anvil is not installed",
            "Run ./nugpay, which fetches it, or set NUGPAY_RPC_URL to a node of yours.",
        )
    return path


def port_is_taken(host: str, port: int) -> bool:
    """Whether somebody listens there already."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def free_port(host: str) -> int:
    """A port nobody listens on at the moment."""
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _save_state(path: Path, answer: str) -> None:
    # anvil_dumpState answers the gzipped state in hex; the state file is the same unzipped.
    _replace(path, gzip.decompress(bytes.fromhex(answer.removeprefix("0x"))))


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, safe on disk when this returns."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    # The name too must be on disk: after a power cut an older state would miss what was final.
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
