"""What an endpoint says that lies or lags: rules for the proxy, each the same lie to every question.

A rule asks the true node what it needs to keep its story straight, so that what it
tells cannot be told from the truth by anybody who has no second source.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from chain.transfer_columns import TRANSFER_TOPIC
from tests.fixtures.anvil import Anvil, AnvilError
from tests.fixtures.lying_node import Rule, Silence
from treasury.custody_balances import BALANCE_OF

Answer = dict[str, Any]

GET_BLOCK = "eth_getBlockByNumber"
FULL_BLOOM = "0x" + "ff" * 256
"""A bloom filter that excludes nothing."""
NOBODY = "0x" + "de" * 20
"""Who is said to have paid."""


def forged(word: str) -> str:
    """Another hash; of that one the first again."""
    return "0x" + bytes(byte ^ 0xFF for byte in bytes.fromhex(word[2:])).hex()


@dataclass(frozen=True)
class FalseTransfer:
    """A Transfer that never was: so many units to a customer's address, in a block."""

    token: str
    to: str
    units: int
    number: int

    def log(self, block_hash: str) -> Answer:
        """As a node would tell it."""
        return {
            "address": self.token,
            "topics": [TRANSFER_TOPIC, *("0x" + one[2:].rjust(64, "0") for one in (NOBODY, self.to))],
            "data": f"0x{self.units:064x}",
            "blockHash": block_hash,
            "blockNumber": hex(self.number),
            "transactionHash": f"0x{self.units:064x}",
            "transactionIndex": "0x0",
            "logIndex": "0x63",
            "removed": False,
        }


@dataclass
class Fork:
    """A fork of the liar's own: from the transfer's block on every block has another hash."""

    node: Anvil
    transfer: FalseTransfer
    says_final: bool
    """Whether it calls its whole fork final."""

    def __call__(self, method: str, params: list[Any], answer: Answer) -> Answer:
        if method == GET_BLOCK:
            return self._block(params, answer)
        if method == "eth_getLogs":
            return answer | {"result": self._logs(params[0], answer)}
        if method == "eth_getTransactionReceipt" and answer.get("result"):
            return answer | {"result": self._moved(answer["result"])}
        return answer

    def _block(self, params: list[Any], answer: Answer) -> Answer:
        block = answer.get("result")
        if params[0] == "finalized" and self.says_final:
            block = self.node.call(GET_BLOCK, "latest", False)
        if block is None or int(block["number"], 16) < self.transfer.number:
            return answer | {"result": block}
        ours = {"hash": forged(block["hash"]), "logsBloom": FULL_BLOOM}
        if int(block["number"], 16) > self.transfer.number:
            ours["parentHash"] = forged(block["parentHash"])
        return answer | {"result": block | ours}

    def _logs(self, query: Answer, answer: Answer) -> list[Answer]:
        if "blockHash" not in query:
            first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
            logs = [self._moved(log) for log in answer["result"]]
            return logs + self._invented(first, last)
        if "result" in answer:
            return [self._moved(log) for log in answer["result"]]
        true_hash = forged(query["blockHash"])
        logs = self.node.call("eth_getLogs", query | {"blockHash": true_hash})
        number = int(self.node.call("eth_getBlockByHash", true_hash, False)["number"], 16)
        return [self._moved(log) for log in logs] + self._invented(number, number)

    def _moved(self, found: Answer) -> Answer:
        """A log or a receipt in the block of the fork."""
        if int(found["blockNumber"], 16) < self.transfer.number:
            return found
        return found | {"blockHash": forged(found["blockHash"])}

    def _invented(self, first: int, last: int) -> list[Answer]:
        number = self.transfer.number
        if not first <= number <= last:
            return []
        return [self.transfer.log(forged(self.node.call(GET_BLOCK, hex(number), False)["hash"]))]


@dataclass
class FalseLog:
    """The true chain, and in one of its blocks a Transfer that never was."""

    node: Anvil
    transfer: FalseTransfer

    def __call__(self, method: str, params: list[Any], answer: Answer) -> Answer:
        result = answer.get("result")
        if method == GET_BLOCK and result and int(result["number"], 16) == self.transfer.number:
            return answer | {"result": result | {"logsBloom": FULL_BLOOM}}
        if method != "eth_getLogs" or result is None:
            return answer
        block_hash = self.node.call(GET_BLOCK, hex(self.transfer.number), False)["hash"]
        query = params[0]
        if "blockHash" in query:
            is_asked = query["blockHash"] == block_hash
        else:
            is_asked = int(query["fromBlock"], 16) <= self.transfer.number <= int(query["toBlock"], 16)
        return answer | {"result": [*result, self.transfer.log(block_hash)]} if is_asked else answer


@dataclass
class FalseReceipts:
    """The true chain, all of it said to be final, in which nothing that was sent has had an effect."""

    node: Anvil

    def __call__(self, method: str, params: list[Any], answer: Answer) -> Answer:
        if method == GET_BLOCK and params[0] == "finalized":
            return answer | {"result": self.node.call(GET_BLOCK, "latest", False)}
        if method == "eth_getTransactionReceipt" and answer.get("result"):
            return answer | {"result": answer["result"] | {"status": "0x0"}}
        return answer


@dataclass
class FalseBalances:
    """Each custody address is said to hold a unit more than it does."""

    def __call__(self, method: str, params: list[Any], answer: Answer) -> Answer:
        if method == "eth_call" and params[0]["data"].startswith(BALANCE_OF) and answer.get("result"):
            return answer | {"result": f"0x{int(answer['result'], 16) + 1:064x}"}
        return answer


@dataclass
class Lag:
    """A node that has not heard of the newest blocks; it passes on what it is given to send."""

    node: Anvil
    seen: int
    """Its head."""
    final: int
    """What is final for it."""

    def __call__(self, method: str, params: list[Any], answer: Answer) -> Answer:
        if method == GET_BLOCK:
            tags = {"latest": self.seen, "finalized": self.final}
            if params[0] in tags:
                return answer | {"result": self.node.call(GET_BLOCK, hex(tags[params[0]]), False)}
            return answer | {"result": None} if int(params[0], 16) > self.seen else answer
        if method in {"eth_getTransactionReceipt", "eth_getTransactionByHash"} and answer.get("result"):
            number = answer["result"]["blockNumber"]
            is_newer = number is not None and int(number, 16) > self.seen
            return answer | {"result": None} if is_newer else answer
        if method in {"eth_call", "eth_getTransactionCount"} and params[1] == "latest":
            return self._as_of_then(method, params, answer)
        return answer

    def _as_of_then(self, method: str, params: list[Any], answer: Answer) -> Answer:
        try:
            return {"id": answer["id"], "result": self.node.call(method, params[0], hex(self.seen))}
        except AnvilError as error:
            return {"id": answer["id"], "error": {"code": error.code, "message": error.message}}


@dataclass
class Nonsense:
    """A node that now and then says nothing, or null."""

    draw: random.Random = field(default_factory=random.Random)

    def __call__(self, _method: str, _params: list[Any], answer: Answer) -> Answer:
        if self.draw.random() < 0.1:
            raise Silence
        return answer | {"result": None} if self.draw.random() < 0.1 else answer


def is_a_lie(rule: Rule) -> bool:
    """Whether the rule may stop withdrawals: what only lags or fails must not."""
    return not isinstance(rule, (Lag, Nonsense))
