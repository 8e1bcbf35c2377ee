"""Errors of the chain: what a node may answer, and what the chain refuses.

NUGPayError
├── Refusal(ChainCode)     an order, address or key that is not acceptable
├── RPCError               the node answered with an error; it did decide
├── Unavailable
│   └── RPCUnavailable     no answer, or one that means nothing yet
├── RPCMalformed           an answer that is not what JSON-RPC or the EVM allow
└── FollowerStopped        the mirror cannot go on without a person
"""

from __future__ import annotations

from typing import Final

from foundation.errors import NUGPayError, RefusalCode, Unavailable


class ChainCode(RefusalCode):
    """Refusals of the chain room: addresses, and what the signer will not sign."""

    ADDRESS_MALFORMED = "address_malformed"
    """The text is not 0x and 40 hex digits."""
    ADDRESS_CHECKSUM_MISMATCH = "address_checksum_mismatch"
    """The address has mixed case, and it is not that of its EIP-55 checksum."""
    DEPLOYMENT_NOT_FOUND = "deployment_not_found"
    """No contracts are recorded as deployed on this chain."""
    DEPLOYMENT_MISMATCH = "deployment_mismatch"
    """The contracts recorded are not those that the chain has."""
    ORDER_NOT_FOUND = "order_not_found"
    """There is no order with that id."""
    ORDER_NOT_APPROVED = "order_not_approved"
    """The order has not been approved."""
    ORDER_REVOKED = "order_revoked"
    """The order was revoked and is never signed again."""
    ORDER_IN_BATCH = "order_in_batch"
    """The order goes with others in a batch, and is neither signed alone nor in another."""
    ORDER_UNEXPLAINED = "order_unexplained"
    """The signer cannot explain what it is asked to sign: unknown kind, token, address or field."""
    CONTRACT_NOT_ALLOWED = "contract_not_allowed"
    """The signer's allow-list does not hold the token or contract."""
    CAP_PER_TRANSACTION_EXCEEDED = "cap_per_transaction_exceeded"
    """More than the signer's cap for one payment, alone or in a batch."""
    RECEIVER_BLOCKED_BY_SIGNER = "receiver_blocked_by_signer"
    """The signer's policy names the receiver as one that is never paid."""
    CAP_PER_HOUR_EXCEEDED = "cap_per_hour_exceeded"
    """More than the signer's cap for an hour; time gives the room back."""
    CAP_PER_DAY_EXCEEDED = "cap_per_day_exceeded"
    """More than the signer's cap for a day; time gives the room back."""
    RECEIVER_NOT_ALLOWED = "receiver_not_allowed"
    """More than the signer pays to a receiver that is not on its allow-list."""
    APPROVALS_MISSING = "approvals_missing"
    """Fewer than two officers of the signer's policy approved this order, to the letter and in time."""
    NONCE_MISMATCH = "nonce_mismatch"
    """The nonce is not the one that the order was given for ever."""
    FEE_ABOVE_CAP = "fee_above_cap"
    """The fee per gas is above what the signer accepts."""
    FEES_PER_DAY_EXCEEDED = "fees_per_day_exceeded"
    """More wei than the signer's cap for a day might be burned in fees; time gives the room back."""
    SIGNING_STOPPED = "signing_stopped"
    """The breaker has tripped, and two officers of the signer's policy have not signed its release."""


class RPCError(NUGPayError):
    """The node answered a call with an error of its own."""

    def __init__(self, method: str, code: int, message: str, data: str | None = None) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.method: Final = method
        self.code: Final = code
        self.message: Final = message
        self.data: Final = data


class RPCUnavailable(Unavailable):
    """The node did not answer, or not yet with what it must have.

    ``outcome_unknown`` is true where the call may have had its effect: a tx sent
    is then looked up by its hash, never signed again.
    """

    def __init__(self, method: str, detail: str, *, outcome_unknown: bool) -> None:
        super().__init__("chain_unavailable", f"{method}: {detail}", outcome_unknown=outcome_unknown)
        self.method: Final = method


class RPCMalformed(NUGPayError):
    """The node answered something that no honest node answers; nothing of it was used."""

    def __init__(self, method: str, detail: str) -> None:
        super().__init__(f"{method}: {detail}")
        self.method: Final = method


class FollowerStopCode(RefusalCode):
    """Why the mirror stands still until a person has looked."""

    WRONG_CHAIN_ID = "wrong_chain_id"
    """The node is on another chain than the one configured."""
    WRONG_GENESIS = "wrong_genesis"
    """The node's block 0 is not the one that the mirror began with."""
    REORG_TOO_DEEP = "reorg_too_deep"
    """No common ancestor within the headers that are compared."""
    ENDPOINTS_DISAGREE = "endpoints_disagree"
    """The two endpoints have different blocks, or different transfers, where both say it is final."""
    FINALITY_BROKEN = "finality_broken"
    """The node has another block at a height that was final."""


class FollowerStopped(NUGPayError):
    """The follower refuses to guess; ``code`` says why, ``data`` what it saw."""

    def __init__(self, code: FollowerStopCode, detail: str, **data: str | int | None) -> None:
        super().__init__(f"{code.value}: {detail}")
        self.code: Final = code
        self.detail: Final = detail
        self.data: Final = data
