"""A busy chain: an anvil of its own, with blocks full of Transfer events of one token.

The token is a dozen instructions that do nothing but write events, so that many of
them are made in a moment; to a follower they are as good as any others. What is made
is the same in every run.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from chain.transfer_columns import TRANSFER_TOPIC
from ops.node import anvil_program, free_port

START_SECONDS_MAX = 30.0
"""How long a node may take to answer."""
TOKEN = "0x" + "70" * 20
"""Where the token's code is put."""
CHAIN_ID = 31337

_LOOP = (
    "600035"  # PUSH1 0 CALLDATALOAD: how many events are left
    "5b"  # 3, the loop begins
    "8015604957"  # at 0 it ends
    "80600052"  # the value is how many are left
    "602035602052"  # the seed, from the second word of the call
    "6040600020"  # the receiver: the upper 160 bits of keccak(left, seed)
    "60601c"
    "81"  # the sender: how many are left
    f"7f{TRANSFER_TOPIC[2:]}"
    "60206000a3"  # LOG3 with the value as its data
    "600190036003565b00"  # one less, and again
)
"""The token: called with (count, seed) it writes so many Transfer events to receivers all different."""


@dataclass(frozen=True)
class Node:
    """A running node, spoken to without any of what is measured."""

    url: str
    connection: http.client.HTTPConnection

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call; an error of the node's is an error here."""
        answer = json.loads(self.post([{"jsonrpc": "2.0", "id": 0, "method": method, "params": params}]))[0]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def post(self, calls: list[dict[str, Any]]) -> bytes:
        """The bytes that answer a batch."""
        self.connection.request("POST", "/", json.dumps(calls), {"content-type": "application/json"})
        return self.connection.getresponse().read()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


@contextlib.contextmanager
def fresh_node(*, epoch_slots: int) -> Iterator[Node]:
    """An empty chain on a node that makes blocks when told to; what is 2 epochs behind the head is final."""
    port = free_port("127.0.0.1")
    command = [
        str(anvil_program()), "--port", str(port), "--silent", "--no-mining", "--chain-id", str(CHAIN_ID),
        "--slots-in-an-epoch", str(epoch_slots), "--gas-limit", str(10**10), "--block-base-fee-per-gas", "0",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            with contextlib.closing(_answering(process, f"http://127.0.0.1:{port}")) as node:
                yield node
        finally:
            process.kill()
            process.wait()


def _answering(process: subprocess.Popen[bytes], url: str) -> Node:
    deadline = time.monotonic() + START_SECONDS_MAX
    where = urlsplit(url)
    while True:
        node = Node(url, http.client.HTTPConnection(where.hostname or "", where.port, timeout=60))
        try:
            node.call("eth_chainId")
        except OSError:
            node.close()
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return node


def make_events(node: Node, *, blocks: int, each: int, report: Callable[[str], None]) -> None:
    """Mine so many blocks with so many events each."""
    node.call("anvil_setCode", TOKEN, "0x" + _LOOP)
    sender = node.call("eth_accounts")[0]
    gas = hex(200_000 + 3_000 * each)
    for block in range(blocks):
        data = f"0x{each:064x}{block:064x}"
        call = {"from": sender, "to": TOKEN, "data": data, "gas": gas, "gasPrice": "0x0"}
        node.call("eth_sendTransaction", call)
        node.call("evm_mine")
        if block % 500 == 0:
            report(f"making events: block {block:,} of {blocks:,}")
