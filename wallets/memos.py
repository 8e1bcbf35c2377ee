"""Memos: a line beside a payment that payer and payee can read, and nobody else.

Devices encrypt them (docs/api.md); here they are ciphertext of a few fixed sizes, so that
a length tells nothing. A memo's row is an intent: it is written before its payment's
transfers are submitted. The payment's transfer carries the memo's mark, which is the
beginning of its SHA-256, in ``user_data_64``: so the ledger itself refuses the same id with
another memo, with one where there was none and with none where there was one, and whoever
reads a transfer knows without a question whether there is a memo to be read.

A row whose payment does not exist, or was made without this memo, is shown to nobody:
memos are read for transfers that a party was shown, never by themselves.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from foundation.clock import Clock
from foundation.database import Database
from foundation.errors import Refusal
from wallets.errors import WalletCode
from wallets.memo_errors import MemoCode
from wallets.memo_models import MemoRow

MEMO_BYTES: Final = (384, 768, 1152)
"""Sizes of a memo's ciphertext. In base64url the largest one leaves an answer with a single
payment below the step to which answers in a session are padded."""

SHA256_BYTES: Final = 32


def memo_mark(sha256: bytes) -> int:
    """What the payment's transfer carries of its memo: 64 bits of its hash, never 0, which is none."""
    return int.from_bytes(sha256[:8], "big") or 1


@dataclass(frozen=True, slots=True)
class Memo:
    """A memo as it is kept: ciphertext, and its SHA-256."""

    ciphertext: bytes
    sha256: bytes

    @property
    def mark(self) -> int:
        """What its payment's transfer carries of it."""
        return memo_mark(self.sha256)

    @property
    def text(self) -> str:
        """As it is sent: base64url without padding."""
        return unpadded(self.ciphertext)


def parse_memo(text: str) -> Memo:
    """A memo that a payer sends; refused as ``memo_malformed``."""
    raw = parse_unpadded(text)
    if raw is None or len(raw) not in MEMO_BYTES:
        sizes = ", ".join(map(str, MEMO_BYTES))
        raise Refusal(
            MemoCode.MEMO_MALFORMED, f"A memo is base64url, without padding, of one of {sizes} bytes."
        )
    return Memo(raw, hashlib.sha256(raw).digest())


def parse_unpadded(text: str) -> bytes | None:
    """The bytes of base64url without padding, in the only form that we would write; None otherwise."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if unpadded(raw) == text else None


def unpadded(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Memos:
    """Keeps memos, and finds those of payments."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def keep(self, *, payment_id: UUID, payer_id: UUID, memo: Memo) -> None:
        """Write a memo for a payment that is about to be made; committed when this returns.

        A payment's id has one memo for ever: another one is refused as
        ``payment_id_used_differently`` with the field ``memo``, one of somebody else's
        payment as ``payment_id_taken``.
        """
        made = insert(MemoRow).values(
            payment_id=payment_id,
            payer_id=payer_id,
            sha256=memo.sha256,
            ciphertext=memo.ciphertext,
            created_at=self._clock.now(),
        )
        async with self._database.connection() as connection:
            # Somebody who writes the same id at this moment is waited for, and seen.
            if await connection.scalar(made.on_conflict_do_nothing().returning(MemoRow.payment_id)):
                return
            wanted = select(MemoRow.payer_id, MemoRow.sha256).where(MemoRow.payment_id == payment_id)
            kept = (await connection.execute(wanted)).one()
        if kept.payer_id != payer_id:
            raise Refusal(WalletCode.PAYMENT_ID_TAKEN, "This id is in use; make a new one.")
        if kept.sha256 != memo.sha256:
            raise memo_differs()

    async def of(self, marks: Mapping[UUID, int]) -> dict[UUID, Memo]:
        """Memos of payments by their ids, given what the ledger's transfers carry; 0 is none.

        The caller has seen to it that whoever asks is party to each. Without any mark the
        database is not asked.
        """
        wanted = [payment_id for payment_id, mark in marks.items() if mark]
        if not wanted:
            return {}
        columns = select(MemoRow.payment_id, MemoRow.ciphertext, MemoRow.sha256)
        async with self._database.connection() as connection:
            rows = (await connection.execute(columns.where(MemoRow.payment_id.in_(wanted)))).all()
        found = {row.payment_id: Memo(row.ciphertext, row.sha256) for row in rows}
        # A memo that was sent after the payment had been made without it is not the payment's.
        return {payment_id: memo for payment_id, memo in found.items() if memo.mark == marks[payment_id]}


def for_former_handle() -> Refusal:
    """The refusal of a memo beside a payment whose payee has another handle by now."""
    return Refusal(
        MemoCode.MEMO_FOR_FORMER_HANDLE,
        "The payee has another handle by now, and a memo is encrypted for one: look the handle up again.",
    )


def memo_differs() -> Refusal:
    """The refusal of a payment that is sent again with another memo."""
    return Refusal(
        WalletCode.PAYMENT_ID_USED_DIFFERENTLY,
        "This id was sent with another memo, or with none.",
        field="memo",
    )
