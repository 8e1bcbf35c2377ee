"""Access to a till: by a device's signature, or by a key of the till."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from foundation.errors import FoundationCode
from foundation.ids import parse_id
from wallet_api.callers import key_shown, wallet_of
from wallet_api.connections import connections_of
from wallet_api.operations import OF_A_WALLET
from wallets.merchant_errors import MerchantCode
from wallets.till_keys import access_of_key
from wallets.till_rights import TillAccess, access_of_wallet

OF_A_TILL: Final = (
    *OF_A_WALLET,
    FoundationCode.ID_MALFORMED,
    MerchantCode.TILL_NOT_FOUND,
    MerchantCode.TILL_RIGHT_MISSING,
)
"""Problems of operations at a till."""

BY_KEY: Final = (*OF_A_TILL, MerchantCode.API_KEY_WRONG)
"""Problems of operations at a till that a key opens as well."""


async def till_of(request: Request, till_id: str) -> TillAccess:
    """What the person whose device signed the request may do at a till."""
    wallet = await wallet_of(request)
    books = connections_of(request).merchant_books()
    return await access_of_wallet(books, wallet=wallet, till_id=parse_id(till_id))


async def till_by_any(request: Request, till_id: str) -> TillAccess:
    """What the caller may do at a till: the holder of a key, or whose device signed the request."""
    key = key_shown(request)
    if key is None:
        return await till_of(request, till_id)
    books = connections_of(request).merchant_books()
    return await access_of_key(books, text=key, till_id=parse_id(till_id))
