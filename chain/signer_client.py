"""The signer's client: asks the signer process over its Unix socket.

A connection a question, since signing is rare beside everything else. Asking the
same again gives the same answer, so a lost answer is no loss.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from chain.fees import Fees
from chain.signer_messages import (
    LINE_BYTES_MAX,
    Answer,
    CheckedAnswer,
    CheckRequest,
    IdentityAnswer,
    IdentityRequest,
    RecalledAnswer,
    RecallRequest,
    RefusedAnswer,
    Request,
    SignedAnswer,
    SignRequest,
    answer_decoder,
    encode_line,
)
from chain.transactions import SignedTransaction, transaction_hash
from foundation.errors import InvariantViolation, Unavailable

ANSWER_SECONDS_MAX = 10.0
"""How long the signer may take; it takes about 2 ms, most of it the disk."""


class SignerClient:
    """Asks the signer that listens on a socket."""

    def __init__(self, socket: Path, *, timeout_seconds: float = ANSWER_SECONDS_MAX) -> None:
        self._socket: Final = socket
        self._timeout_seconds: Final = timeout_seconds

    async def identity(self) -> IdentityAnswer:
        """Who the signer is. Raises ``Unavailable``."""
        answer = await self._ask(IdentityRequest())
        if not isinstance(answer, IdentityAnswer):
            raise _unavailable("it did not say who it is", outcome_unknown=False)
        return answer

    async def check(self, *, order_id: UUID, chain_id: int) -> bool:
        """Raise what the signer would refuse an order with now; nothing is signed or decided.

        True if something was ever signed for it. Raises ``Refusal`` as ``sign`` does, and ``Unavailable``.
        """
        answer = await self._ask(CheckRequest(order_id, chain_id))
        if isinstance(answer, RefusedAnswer):
            raise answer.refusal()
        if not isinstance(answer, CheckedAnswer):
            raise _unavailable(getattr(answer, "detail", "no answer"), outcome_unknown=False)
        return answer.signed_before

    async def recall(self, order_id: UUID) -> list[RecalledAnswer]:
        """What the signer's log has for an order, one answer for each signature, in their order.

        At least one: if it has no ``order``, nothing was ever signed for it, alone or in a
        batch. Raises ``Unavailable``.
        """
        answers: list[RecalledAnswer] = []
        while True:
            answer = await self._ask(RecallRequest(order_id, len(answers)))
            if not isinstance(answer, RecalledAnswer):
                raise _unavailable(getattr(answer, "detail", "no memory"), outcome_unknown=False)
            answers.append(answer)
            if answer.order is None or len(answers) >= answer.order.signatures:
                return answers

    async def sign(
        self, *, order_id: UUID, chain_id: int, nonce: int, fees: Fees, from_address: str | None = None
    ) -> SignedTransaction:
        """The signed transaction of an order, with a nonce of ``from_address``.

        Raises ``Refusal`` with a ``ChainCode``, whose ``signed_before`` tells whether
        anything was ever signed for the order; or ``Unavailable``, after which it may
        have been signed: ask again.
        """
        answer = await self._ask(
            SignRequest(
                order_id,
                chain_id,
                nonce,
                fees.max_fee_per_gas,
                fees.max_priority_fee_per_gas,
                from_address,
            )
        )
        if isinstance(answer, RefusedAnswer):
            raise answer.refusal()
        if not isinstance(answer, SignedAnswer):
            raise _unavailable(getattr(answer, "detail", "no signature"), outcome_unknown=False)
        if transaction_hash(answer.raw) != answer.tx_hash:
            raise InvariantViolation("the signer names another hash than that of its bytes")
        return SignedTransaction(answer.raw, answer.tx_hash)

    async def _ask(self, request: Request) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                reader, writer = await asyncio.open_unix_connection(self._socket, limit=LINE_BYTES_MAX)
        except (OSError, TimeoutError) as error:
            raise _unavailable("it does not listen", outcome_unknown=False) from error
        try:
            async with asyncio.timeout(self._timeout_seconds):
                writer.write(encode_line(request))
                await writer.drain()
                line = await reader.readline()
        # From the first byte sent on the signer may have signed: the outcome is unknown.
        except (OSError, TimeoutError, ValueError) as error:
            raise _unavailable("its answer did not arrive", outcome_unknown=True) from error
        finally:
            writer.close()
        try:
            return answer_decoder.decode(line)
        except msgspec.DecodeError as error:
            # An empty or broken line: the signer died before it had answered.
            raise _unavailable("its answer broke off", outcome_unknown=True) from error


def _unavailable(detail: str, *, outcome_unknown: bool) -> Unavailable:
    return Unavailable("signer_unavailable", f"The signer: {detail}.", outcome_unknown=outcome_unknown)
