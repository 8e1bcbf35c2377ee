"""Contract reads: what our contracts answer, asked in one batch at one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chain.calldata import calldata, decoded, hexadecimal
from chain.rpc import RPC, Call


@dataclass(frozen=True, slots=True)
class ContractRead:
    """A view function to call: of ``contract``, with ``arguments``, answering one ``kind``."""

    contract: str
    signature: str
    kind: str
    arguments: tuple[Any, ...] = ()


async def read_contracts(rpc: RPC, reads: Sequence[ContractRead], *, block: str = "latest") -> list[Any]:
    """One decoded answer each, addresses in lower case; None where no contract answers.

    ``block`` is a tag or a number in hex. Raises the RPC's errors.
    """
    calls: list[Call] = [
        (
            "eth_call",
            ({"to": one.contract, "data": hexadecimal(calldata(one.signature, *one.arguments))}, block),
        )
        for one in reads
    ]
    answers = await rpc.read(calls, str)
    # A call to an address without code succeeds and answers nothing.
    return [
        None if answer == "0x" else decoded(one.kind, answer)
        for one, answer in zip(reads, answers, strict=True)
    ]
