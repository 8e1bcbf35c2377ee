"""The development node: an anvil of ours, whose chain survives restarts.

anvil keeps its chain in memory. While it runs, its state is saved about once a
second, whole or not at all, so that even a node that was killed comes back with
every block that was final. Block 0 carries the time of the home's first start
(``genesis.json``), since anvil would otherwise make a new one at every start and
nobody could tell one chain from another. The block two behind the head is final.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import platform
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from chain.errors import RPCUnavailable
from chain.rpc import RPC
from foundation.clock import SECOND_NS, Clock
from ops.errors import NodeError

ROOT = Path(__file__).parents[1]
"""The clone's root, where node_modules is."""

BLOCK_SECONDS = 1
"""Time between two blocks."""

SAVE_SECONDS = 1.0
"""Least time between two saves."""

SAVE_SHARE = 20
"""Rest after a save, in times its own length: a large chain is saved more rarely."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts on which a development node may be started."""


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
        self._saved_block = -1

    def command(self) -> list[str]:
        """The command line that starts the node with the newest state there is."""
        parts = urlsplit(self.rpc_url)
        command = [
            str(anvil_program()),
            *("--host", parts.hostname or LOOPBACK[0]),
            *("--port", str(parts.port or 8545)),
            *("--chain-id", str(self.chain_id)),
            *("--timestamp", str(self._genesis().timestamp)),
            *("--block-time", str(BLOCK_SECONDS)),
            *("--slots-in-an-epoch", "1"),
            *("--dump-state", str(self._at_exit)),
            "--silent",
        ]
        state = self._newest_state()
        self._saved_block = -1
        return command if state is None else [*command, "--load-state", str(state)]

    def _genesis(self) -> Genesis:
        path = self.directory / "genesis.json"
        try:
            genesis = msgspec.json.decode(path.read_bytes(), type=Genesis)
        except (FileNotFoundError, msgspec.DecodeError):
            genesis = Genesis(self.chain_id, self._clock.now_ns() // SECOND_NS)
            self.directory.mkdir(parents=True, exist_ok=True)
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
        return True

    async def keep_saving(self) -> None:
        """Save the chain as long as this task lives."""
        while True:
            began = time.monotonic()
            await self.save()
            await asyncio.sleep(max(SAVE_SECONDS, SAVE_SHARE * (time.monotonic() - began)))

    async def save(self) -> None:
        """Save the chain, unless nothing happened since the last time or the node is down."""
        try:
            block = int(await self._rpc.call("eth_blockNumber"), 16)
            if block == self._saved_block:
                return
            answer: str = await self._rpc.call("anvil_dumpState")
        except RPCUnavailable:
            return
        await asyncio.to_thread(_save_state, self._saved, answer)
        self._saved_block = block

    async def finish(self) -> None:
        """Stop making blocks and save the last of them, before the node is ended."""
        try:
            await self._rpc.call("evm_setIntervalMining", 0)
        except RPCUnavailable:
            return
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
