"""Broadcasts: giving signed bytes to a node, and understanding its answer.

The same bytes may be sent any number of times: the chain takes a nonce once. So
every doubt is resolved by sending them again or by looking their hash up, never
by signing something else. Nodes speak free text; the tables below hold what
geth, erigon, nethermind, besu, reth and anvil say.
"""

from __future__ import annotations

from enum import StrEnum

from chain.calldata import hexadecimal
from chain.errors import RPCError, RPCMalformed, RPCUnavailable
from chain.rpc import RPC


class Outcome(StrEnum):
    """What a node made of signed bytes."""

    ACCEPTED = "accepted"
    """It is in the node's pool."""
    LOOK_UP = "look_up"
    """The node knows the bytes, or another transaction with their nonce: the hash tells."""
    UNDERPRICED = "underpriced"
    """The pool wants a higher fee, now; the same bytes may do later."""
    RETRY = "retry"
    """Not now, for a reason that passes: gas money, a full pool, an overloaded node."""
    FINAL = "final"
    """No node will ever take these bytes."""
    UNKNOWN = "unknown"
    """No answer, or one that nobody has listed: they may be in a pool."""


_ANSWERS: tuple[tuple[Outcome, tuple[str, ...]], ...] = (
    (
        Outcome.LOOK_UP,
        (
            "already known",
            "already imported",
            "alreadyknown",
            "nonce too low",
            "nonce is too low",
            "oldnonce",
        ),
    ),
    (
        Outcome.UNDERPRICED,
        (
            "underpriced",
            "less than block base fee",
            "fee cap less than",
            "feetoolow",
            "gas price too low",
            "max fee per gas less than",
        ),
    ),
    (
        Outcome.RETRY,
        (
            "insufficient funds",
            "insufficientfunds",
            "upfront cost exceeds account balance",
            "txpool is full",
            "pool is full",
            "account limit exceeded",
            "nonce too high",
            "too many requests",
            "limit exceeded",
        ),
    ),
    (
        Outcome.FINAL,
        (
            "intrinsic gas too low",
            "intrinsic gas too high",
            "intrinsic gas exceeds gas limit",
            "exceeds block gas limit",
            "exceeds maximum per-transaction",
            "transaction gas limit too high",
            "invalid sender",
            "invalid signature",
            "invalid chain id",
            "invalid chainid",
            "wrong chain id",
            "rlp:",
            "failed to decode",
            "transaction type not supported",
            "oversized data",
        ),
    ),
)
"""Parts of answers in lower case; the first that is found decides."""


def classified(error: RPCError) -> Outcome:
    """What an error answer to a broadcast means."""
    said = error.message.lower()
    for outcome, parts in _ANSWERS:
        if any(part in said for part in parts):
            return outcome
    # An answer that is not listed decides nothing: the bytes may be in a pool, so
    # the order stays open until the chain itself tells.
    return Outcome.UNKNOWN


async def broadcast(rpc: RPC, raw: bytes) -> tuple[Outcome, str | None]:
    """Send signed bytes, stored before; the outcome, and what the node said against them."""
    try:
        await rpc.call("eth_sendRawTransaction", hexadecimal(raw))
    except RPCError as error:
        return classified(error), error.message
    except (RPCUnavailable, RPCMalformed) as error:
        return Outcome.UNKNOWN, str(error)
    return Outcome.ACCEPTED, None
