"""Rights at a till: the owner has all, others those that the owner gave them.

Others are people who were asked to work there and have accepted, and servers that hold a
key of the till. Whoever has no right at a till hears that it is not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from foundation.errors import Refusal
from wallets.merchant_errors import MerchantCode
from wallets.merchant_models import TillStaffRow
from wallets.merchants import MerchantBooks, Till, till_by_id, till_not_found
from wallets.wallets import Wallet


class TillRight(StrEnum):
    """What somebody may do at a till."""

    SEE = "see"
    """See the till, its invoices and what was paid there; whoever may do anything may do this."""
    CHARGE = "charge"
    """Make invoices."""
    REFUND = "refund"
    """Give back what was paid at the till: money leaves the business' wallet."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts at a till: a person, or the holder of a key; one of both."""

    wallet_id: UUID | None = None
    key_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class TillAccess:
    """A till, and what the caller may do there."""

    till: Till
    actor: Actor
    rights: frozenset[TillRight]
    is_owner: bool = False

    def needs(self, right: TillRight) -> None:
        """Refuse as ``till_right_missing`` whoever does not have a right."""
        if right not in self.rights:
            raise Refusal(
                MerchantCode.TILL_RIGHT_MISSING,
                f"This needs the right to {right.value} at the till.",
                right=right.value,
            )

    def needs_owner(self) -> None:
        """Refuse everybody but the owner, as ``till_right_missing``."""
        if not self.is_owner:
            raise Refusal(
                MerchantCode.TILL_RIGHT_MISSING, "Only the owner of the till may do this.", right="own"
            )


async def access_of_wallet(books: MerchantBooks, *, wallet: Wallet, till_id: UUID) -> TillAccess:
    """What a wallet's person may do at a till; refused as ``till_not_found`` when nothing."""
    till = await till_by_id(books, till_id)
    if till is None:
        raise till_not_found()
    if till.merchant.wallet.id == wallet.id:
        return TillAccess(till, Actor(wallet_id=wallet.id), frozenset(TillRight), is_owner=True)
    async with books.database.session() as session:
        row = await session.get(TillStaffRow, (till_id, wallet.id))
    if row is None or row.accepted_at is None:
        raise till_not_found()
    return TillAccess(till, Actor(wallet_id=wallet.id), frozenset(map(TillRight, row.rights)))


def stored_rights(rights: Iterable[TillRight]) -> list[str]:
    """Rights as a row keeps them: in their order, and with ``see``, which every other one needs."""
    wanted = {*rights, TillRight.SEE}
    return [right.value for right in TillRight if right in wanted]
