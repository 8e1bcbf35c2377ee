"""Signer messages: what goes over the signer's socket, one JSON object a line.

A request names an order, never what to sign: the signer reads that itself. Fees
are wei per unit of gas, ids and hashes text, signed bytes base64.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec

from chain.errors import ChainCode
from foundation.errors import Refusal, Retryable

LINE_BYTES_MAX = 64 * 1024
"""Longest line of either side; our longest is a signed batch of 50, about 7 kB."""

Wei = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A fee per gas; 2**62 wei is four ether for one unit of gas."""

Nonce = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A transaction's number at its sender; EIP-2681 ends below 2**64."""


class SignRequest(msgspec.Struct, frozen=True, tag="sign", forbid_unknown_fields=True):
    """Sign the transaction of an order, with this nonce and these fees."""

    order_id: UUID
    chain_id: int
    """The chain that the asker believes it is on; the signer knows its own."""
    nonce: Nonce
    max_fee_per_gas: Wei
    max_priority_fee_per_gas: Wei

    from_address: str | None = None
    """Whose nonce it is; a signer that has another key by now refuses. None asks for the key of now."""


class CheckRequest(msgspec.Struct, frozen=True, tag="check", forbid_unknown_fields=True):
    """Say whether an order would be signed now, without signing it."""

    order_id: UUID
    chain_id: int


class RecallRequest(msgspec.Struct, frozen=True, tag="recall", forbid_unknown_fields=True):
    """Say what was signed for an order, or for the batch that it was signed in; decides nothing."""

    order_id: UUID
    position: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Which of its signatures, from the first."""


class IdentityRequest(msgspec.Struct, frozen=True, tag="identity", forbid_unknown_fields=True):
    """Say who you are."""


class SignedAnswer(msgspec.Struct, frozen=True, tag="signed"):
    """Signed; it is in the signer's log, and its amount counts."""

    raw: bytes
    tx_hash: str


class CheckedAnswer(msgspec.Struct, frozen=True, tag="checked"):
    """It would be signed, or has been; nothing was decided."""

    signed_before: bool = False
    """Whether the signer has ever signed something for this order."""


class RecalledOrder(msgspec.Struct, frozen=True):
    """What the log says of an order that was signed. Amount in token units."""

    id: UUID
    """The order, or the batch that it was signed in."""
    kind: str
    token: str
    to_address: str
    amount: str
    salt: str | None
    from_address: str
    nonce: int
    member_ids: tuple[UUID, ...]
    """Of a batch, in order."""
    signatures: int
    """How many there are."""


class RecalledAnswer(msgspec.Struct, frozen=True, tag="recalled"):
    """What the log says; without ``order`` nothing was ever signed for it."""

    next_nonce: int
    """The key of now has signed none from here on."""
    order: RecalledOrder | None = None
    raw: bytes = b""
    """The signature that was asked for; empty where its line is older than the bytes' being kept."""
    tx_hash: str = ""
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0


class RefusedAnswer(msgspec.Struct, frozen=True, tag="refused"):
    """Not signed, and why."""

    code: str
    detail: str
    retryable: str
    why: str
    signed_before: bool
    """Whether the signer has ever signed something for this order."""

    def refusal(self) -> Refusal:
        """The same as an exception."""
        return Refusal(
            ChainCode(self.code),
            self.detail,
            retryable=Retryable(self.retryable),
            why=self.why,
            signed_before=self.signed_before,
        )


class UnavailableAnswer(msgspec.Struct, frozen=True, tag="unavailable"):
    """Nothing was decided: what the signer needs to read did not answer, or the line was no request."""

    detail: str


class IdentityAnswer(msgspec.Struct, frozen=True, tag="identity"):
    """Who the signer is and what it signs for."""

    address: str
    chain_id: int
    genesis_hash: str
    vault: str
    policy: str = ""
    """Hash of the policy that it decides by."""


Request = SignRequest | CheckRequest | RecallRequest | IdentityRequest
"""What may be asked."""

Answer = SignedAnswer | CheckedAnswer | RecalledAnswer | RefusedAnswer | UnavailableAnswer | IdentityAnswer
"""What may be answered."""

request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
"""Reads a line of the asker."""

answer_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
"""Reads a line of the signer."""


def encode_line(message: Request | Answer) -> bytes:
    """A message with its line's end."""
    return msgspec.json.encode(message) + b"\n"
