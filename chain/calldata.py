"""Calldata: the calls to our contracts, as bytes, and the answers, read.

Everything that the project says to its contracts is listed here; a test holds
each signature against the committed ABI, so a contract cannot change unnoticed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.grammar import TupleType, parse
from eth_hash.auto import keccak

DEPOSIT_WITH_AUTHORIZATION = (
    "depositWithAuthorization(address,bytes32,"
    "(address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32))"
)
"""Token, salt, and the holder's authorization: from, value, validity, nonce and signature (EIP-3009)."""

SIGNATURES = {
    "Vault": (
        "withdraw(address,address,uint256,bytes32)",
        "withdrawBatch(address,(address,uint256,bytes32)[])",
        "approveWithdrawal(address,address,uint256,bytes32)",
        "approvedUntil(address,address,uint256,bytes32)",
        "moveToCold(address,uint256,bytes32)",
        DEPOSIT_WITH_AUTHORIZATION,
        "sweep(address,bytes32[])",
        "setRateLimit(address,uint208,uint48)",
        "setColdAddress(address)",
        "grantRole(bytes32,address)",
        "revokeRole(bytes32,address)",
        "pause()",
        "unpause()",
        "hasRole(bytes32,address)",
        "paid(bytes32)",
        "moved(bytes32)",
        "coldAddress()",
        "depositAddress(bytes32)",
        "withdrawable(address)",
        "IMPLEMENTATION()",
    ),
    "StableToken": (
        "mint(address,uint256)",
        "configureMinter(address,uint256)",
        "isMinter(address)",
        "transfer(address,uint256)",
        "grantRole(bytes32,address)",
        "hasRole(bytes32,address)",
        "balanceOf(address)",
        "decimals()",
        "symbol()",
        "freeze(address)",
        "unfreeze(address)",
        "pause()",
        "unpause()",
    ),
}
"""The functions that this project calls, contract by contract."""

EVENTS = {
    "Vault": (
        "Withdrawn(bytes32,address,address,uint256)",
        "WithdrawalRefused(bytes32,address,address,uint256,bytes)",
        "WithdrawalRepeated(bytes32,address,address,uint256)",
        "MovedToCold(bytes32,address,address,uint256,address)",
        "DepositReceived(address,address,bytes32,address,uint256,bytes32)",
        "Swept(address,address,bytes32,uint256)",
    ),
}
"""The events that tell what became of a call, contract by contract."""


def calldata(signature: str, *arguments: Any) -> bytes:
    """A call as bytes. Addresses are text, 32-byte words are bytes, numbers are int, structs are tuples."""
    selector, kinds = _selector(signature)
    return selector + encode(kinds, arguments)


def creation_data(creation_code: bytes, kinds: Sequence[str], *arguments: Any) -> bytes:
    """What a contract-creating tx carries: the code and the constructor's arguments."""
    return creation_code + encode(kinds, arguments)


def decoded(kind: str, answer: str) -> Any:
    """The one value of ``kind`` that an ``eth_call`` answered as 0x hex; addresses in lower case."""
    return decode([kind], bytes.fromhex(answer.removeprefix("0x")))[0]


def topic(event: str) -> str:
    """The first topic of an event's logs, as the node writes it."""
    return hexadecimal(keccak(event.encode()))


def role(name: str) -> bytes:
    """The 32-byte identifier of a role such as ``WITHDRAWER_ROLE``."""
    return keccak(name.encode())


def hexadecimal(data: bytes) -> str:
    """Bytes as JSON-RPC takes them."""
    return "0x" + data.hex()


@functools.cache
def _selector(signature: str) -> tuple[bytes, tuple[str, ...]]:
    selector, arguments = keccak(signature.encode())[:4], signature[signature.index("(") :]
    if arguments == "()":
        return selector, ()
    kinds = parse(arguments)
    assert isinstance(kinds, TupleType), "a signature's arguments stand in brackets"
    return selector, tuple(kind.to_type_str() for kind in kinds.components)
