"""Signer's recall: what the signing log has for an order, told to whoever may ask for signatures.

A database that was restored from a backup knows nothing of what was signed since, and
may not sign it again: the log has it, byte by byte. Whoever asks gets no more than was
given away before.
"""

from __future__ import annotations

import base64
from uuid import UUID

from chain.signer_messages import RecalledAnswer, RecalledOrder, RecallRequest
from chain.signing_log import SigningLog


def recalled(log: SigningLog, request: RecallRequest, *, address: str) -> RecalledAnswer:
    """The answer; ``address`` is the key of now, whose nonce comes next."""
    highest = log.nonce_max()
    next_nonce = 0 if highest is None else highest + 1
    signed_as: UUID = log.batch_of(request.order_id) or request.order_id
    signed = log.signed(signed_as)
    if signed is None:
        return RecalledAnswer(next_nonce)
    first, lines = signed.first, list(signed.lines.values())
    order = RecalledOrder(
        signed_as,
        first.kind,
        first.token,
        first.to_address,
        first.amount,
        first.salt,
        signed.from_address or address,
        first.nonce,
        tuple(member.order_id for member in first.members),
        len(lines),
    )
    if request.position >= len(lines):
        return RecalledAnswer(next_nonce, order)
    entry = log.entry(lines[request.position])
    return RecalledAnswer(
        next_nonce,
        order,
        base64.b64decode(entry.raw),
        entry.tx_hash,
        entry.max_fee_per_gas,
        entry.max_priority_fee_per_gas,
    )
