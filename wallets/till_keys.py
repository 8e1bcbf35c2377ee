"""Keys of a till: by one of them a shop's server acts there, without a device's key.

A key works at its one till, on routes of businesses alone, and does what it was given the
right to. None of them moves the business' money but to give back what was paid at the till.
The key is shown once; kept is a hash, by which it is found. It has 256 random bits, so the
search in an index tells nobody who watches its time anything that helps to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update

from foundation.errors import Refusal
from foundation.ids import uuid7
from wallets.merchant_errors import MerchantCode
from wallets.merchant_models import TillKeyRow, TillRow
from wallets.merchants import MerchantBooks, list_full, till_by_id, till_not_found
from wallets.till_rights import Actor, TillAccess, TillRight, stored_rights

KEY_BEGIN: Final = "nugpay_till_"
"""How a key begins, so that people and scanners of source code know one when they see it."""

KEYS_MAX: Final = 20
"""Most keys of a till that are not revoked."""


@dataclass(frozen=True, slots=True)
class TillKey:
    """A key of a till, without what makes it one."""

    id: UUID
    name: str
    last_four: str
    rights: tuple[TillRight, ...]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewTillKey:
    """A key that was just made; its text is nowhere else."""

    key: TillKey
    text: str


async def make_till_key(
    books: MerchantBooks, access: TillAccess, *, name: str, rights: Iterable[TillRight]
) -> NewTillKey:
    """Make a key; refused as ``till_right_missing`` or ``merchant_list_full``.

    If the answer is lost, there is a key that nobody has: the list shows it, to be revoked.
    """
    access.needs_owner()
    text = KEY_BEGIN + secrets.token_urlsafe(32)
    async with books.database.session() as session:
        # One after the other, or two at once would both be the last.
        await session.execute(select(TillRow.id).where(TillRow.id == access.till.id).with_for_update())
        count = await session.scalar(
            select(func.count())
            .select_from(TillKeyRow)
            .where(TillKeyRow.till_id == access.till.id, TillKeyRow.revoked_at.is_(None))
        )
        if (count or 0) >= KEYS_MAX:
            raise list_full(KEYS_MAX)
        row = TillKeyRow(
            id=uuid7(books.clock),
            till_id=access.till.id,
            name=name,
            digest=_digest(text),
            last_four=text[-4:],
            rights=stored_rights(rights),
            created_at=books.clock.now(),
            revoked_at=None,
        )
        session.add(row)
    return NewTillKey(_key(row), text)


async def till_keys_of(books: MerchantBooks, access: TillAccess) -> list[TillKey]:
    """A till's keys, the oldest first, revoked ones as well; only the owner sees them."""
    access.needs_owner()
    async with books.database.session() as session:
        rows = await session.scalars(
            select(TillKeyRow)
            .where(TillKeyRow.till_id == access.till.id)
            .order_by(TillKeyRow.created_at, TillKeyRow.id)
        )
        return [_key(row) for row in rows]


async def revoke_till_key(books: MerchantBooks, access: TillAccess, *, key_id: UUID) -> TillKey:
    """End a key, from the next request on; again is as good as once. Refused as ``till_key_not_found``."""
    access.needs_owner()
    async with books.database.session() as session:
        row = await session.scalar(
            update(TillKeyRow)
            .where(TillKeyRow.id == key_id, TillKeyRow.till_id == access.till.id)
            .values(revoked_at=func.coalesce(TillKeyRow.revoked_at, books.clock.now()))
            .returning(TillKeyRow)
        )
        if row is None:
            raise Refusal(MerchantCode.TILL_KEY_NOT_FOUND, "This till has no key with this id.")
        return _key(row)


async def access_of_key(books: MerchantBooks, *, text: str, till_id: UUID) -> TillAccess:
    """What the holder of a key may do at a till.

    Refused as ``api_key_wrong``; at every till but the key's own as ``till_not_found``.
    """
    digest = _digest(text)
    async with books.database.session() as session:
        row = await session.scalar(
            select(TillKeyRow).where(TillKeyRow.digest == digest, TillKeyRow.revoked_at.is_(None))
        )
    if row is None or not hmac.compare_digest(row.digest, digest):
        raise Refusal(MerchantCode.API_KEY_WRONG, "This is no key of a till, or it was revoked.")
    till = await till_by_id(books, till_id) if row.till_id == till_id else None
    if till is None:
        raise till_not_found()
    return TillAccess(till, Actor(key_id=row.id), frozenset(map(TillRight, row.rights)))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _key(row: TillKeyRow) -> TillKey:
    return TillKey(
        row.id, row.name, row.last_four, tuple(map(TillRight, row.rights)), row.created_at, row.revoked_at
    )
